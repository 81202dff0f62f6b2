"""Units against loops over single activations."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from holdfast.probes import dead_units, dormancy, dormant_units, linearised_units, saturation
from holdfast.probes.saturation import saturated_shares
from holdfast.probes.units import magnitudes, nonzero_shares, shares_within

SHAPES = [(7, 5), (4, 3, 6), (3, 2, 5, 4), (1, 1)]


def drawn(shape: tuple[int, ...], seed: int = 0) -> Tensor:
    draws = torch.Generator().manual_seed(seed)
    h = torch.randn(shape, dtype=torch.float64, generator=draws).relu()
    h[..., 0] = 0
    return h


def naive(h: Tensor, of: object) -> list[float]:
    """The mean of a function over samples and positions, one activation at a time."""
    table = h.numpy().reshape(-1, h.shape[-1])
    return [
        math.fsum(float(of(float(table[row, unit]))) for row in range(len(table))) / len(table)
        for unit in range(table.shape[1])
    ]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_match_their_definitions(shape: tuple[int, ...]) -> None:
    h = drawn(shape)
    sizes = naive(h, abs)
    mean = sum(sizes) / len(sizes)
    scores = [size / (mean + 1e-9) for size in sizes]
    assert magnitudes(h).tolist() == pytest.approx(sizes, rel=1e-12)
    assert dormancy(h).tolist() == pytest.approx(scores, rel=1e-12)
    assert dormant_units(h, 0.9).tolist() == [score <= 0.9 for score in scores]
    assert nonzero_shares(h).tolist() == pytest.approx(naive(h, lambda a: a != 0))
    assert dead_units(h).tolist() == [share == 0 for share in naive(h, lambda a: a != 0)]
    assert shares_within(h, 0.2, 1.5).tolist() == pytest.approx(naive(h, lambda a: 0.2 < a < 1.5))
    z = h - 0.5
    low = naive(z, lambda a: -math.inf < a < 0)
    assert shares_within(z, -math.inf, 0.0).tolist() == pytest.approx(low)
    assert linearised_units(h, 0.4).tolist() == [s >= 0.4 for s in naive(h, lambda a: a > 0)]


def test_closed_forms() -> None:
    # one unit each: dead, alone on one of four samples, positive throughout, mean size 1
    h = torch.tensor([[0.0, 4.0, 1.0], [0.0, 0.0, 1.0], [0.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
    assert dormancy(h).tolist() == pytest.approx([0, 1.5, 1.5])
    assert dormant_units(h).tolist() == [True, False, False]
    assert dead_units(h).tolist() == [True, False, False]
    assert dead_units(h, share=0.25).tolist() == [True, True, False]
    assert linearised_units(h).tolist() == [False, False, True]
    assert linearised_units(h, share=0.25).tolist() == [False, True, True]
    assert dormancy(torch.zeros(3, 2)).tolist() == [0, 0]


def test_many_parts_are_one_whole() -> None:
    """More activations than are counted at a time."""
    h = torch.randn(600, 30, 20, generator=torch.Generator().manual_seed(0))
    assert torch.equal(shares_within(h, 0.0, math.inf), (h > 0).float().mean(dim=(0, 1)))
    maps = h.movedim(-1, 1).contiguous().movedim(1, -1)  # as convolutions lay them out
    assert torch.equal(nonzero_shares(maps), nonzero_shares(h))


@settings(max_examples=25)
@given(st.integers(0, 1000), st.floats(1e-3, 1e3))
def test_scores_do_not_feel_scale_order_or_positions(seed: int, scale: float) -> None:
    h = drawn((6, 4, 5), seed)
    scores = dormancy(h)
    torch.testing.assert_close(dormancy(scale * h), scores, rtol=1e-5, atol=0)
    torch.testing.assert_close(dormancy(h.flatten(0, 1)), scores)
    order = torch.randperm(5, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(dormancy(h[..., order]), scores[order])
    assert scores.mean().item() == pytest.approx(1, abs=1e-6)


def test_saturation_is_its_count() -> None:
    z = torch.randn(40, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 3
    tanh = z.tanh()
    assert saturation(tanh) == pytest.approx(np.mean(np.abs(tanh.numpy()) > 0.99))
    assert 0.1 < saturation(tanh, eps=0.05) < 0.9
    # sigmoid(2 z) = (1 + tanh z) / 2
    assert saturation((2 * z).sigmoid(), low=0.0, eps=0.05) == pytest.approx(
        saturation(tanh, eps=0.05)
    )
    by_unit = saturated_shares(tanh, -1.0, 1.0, 0.05)
    assert by_unit.tolist() == pytest.approx(naive(tanh, lambda a: abs(a) > 0.95))


def test_half_precision_is_summed_in_single() -> None:
    h = torch.full((3000, 2), 1.0, dtype=torch.bfloat16)
    assert magnitudes(h).tolist() == [1, 1]
    assert linearised_units(h).all()


def test_wrong_thresholds_are_refused() -> None:
    h = torch.ones(2, 2)
    with pytest.raises(ValueError, match=r"threshold must be 0 or more, got -0.1"):
        dormant_units(h, -0.1)
    with pytest.raises(ValueError, match=r"dead unit must lie in \[0, 1\), got 1"):
        dead_units(h, 1.0)
    with pytest.raises(ValueError, match=r"linearised unit must lie in \(0, 1\], got 0"):
        linearised_units(h, 0.0)
    with pytest.raises(ValueError, match="eps must lie between 0 and 1, got 1"):
        saturation(h, eps=1.0)
    with pytest.raises(ValueError, match=r"low must be below high, got 1.0 and -1.0"):
        saturation(h, 1.0, -1.0)
