import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from holdfast.nets.heads import SharedHead
from holdfast.nets.learner import Learner
from holdfast.probes import (
    FeatureMovement,
    Phase,
    cka,
    kernel_alignment,
    relative_movement,
    rms_movement,
)
from holdfast.probes.shown import evenly_spaced
from holdfast.streams.batches import Batch


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_movements_are_their_sums() -> None:
    before, after = drawn(0, 5, 3), drawn(1, 5, 3)
    moved = sum((b - a) ** 2 for a, b in zip(before.flatten(), after.flatten(), strict=True))
    length = sum(a**2 for a in before.flatten())
    assert relative_movement(before, after) == pytest.approx(float(moved / length) ** 0.5)
    assert rms_movement(before, after) == pytest.approx(float(moved / 15) ** 0.5)


@settings(max_examples=20)
@given(st.integers(0, 1000), st.floats(1e-3, 1e3))
def test_movements_turn_with_the_features(seed: int, scale: float) -> None:
    before, after = drawn(seed, 6, 4), drawn(seed + 1, 6, 4)
    turn = scale * torch.linalg.qr(drawn(seed + 2, 4, 4)).Q
    assert relative_movement(before @ turn, after @ turn) == pytest.approx(
        relative_movement(before, after)
    )
    assert rms_movement(before @ turn, after @ turn) == pytest.approx(
        scale * rms_movement(before, after)
    )
    twice = torch.cat([before, before], dim=1), torch.cat([after, after], dim=1)
    assert rms_movement(*twice) == pytest.approx(rms_movement(before, after))
    assert relative_movement(before, before) == rms_movement(before, before) == 0


def test_features_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match=r"same samples and width, got shapes \(2, 3\) and \(2, 4"):
        relative_movement(torch.ones(2, 3), torch.ones(2, 4))
    assert math.isinf(relative_movement(torch.zeros(2, 3), torch.ones(2, 3)))


def test_samples_are_spread() -> None:
    for count in (1, 2, 7, 512, 10_001):
        for most in (2, 3, 7, 600):
            chosen = evenly_spaced(count, most).tolist()
            assert len(set(chosen)) == len(chosen) == min(count, most)
            assert (chosen[0], chosen[-1]) == (0, count - 1)


class Turned(nn.Module):
    """Features x w."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight


def test_probe_measures_against_before_and_since_learned() -> None:
    """Two tasks by hand: weights a, then b after the first task, c after the second."""
    a, b, c = (drawn(seed, 4, 3) for seed in range(3))
    x, other = drawn(3, 12, 4), drawn(4, 12, 4)
    learner = Learner(Turned(a.clone()), SharedHead(3, 2))
    probe = FeatureMovement()
    y = torch.zeros(12, 2)
    first, second = Batch(x, y, 0), Batch(other, y, 1)

    def then(weight: Tensor) -> None:
        learner.backbone.weight.data.copy_(weight)

    probe.before(learner, first, Phase(0, {}))
    then(b)
    values = probe.measure(learner, first)
    assert values == {
        "moved": pytest.approx(1 - cka(x @ a, x @ b)),
        "kernel_moved": pytest.approx(1 - kernel_alignment(*(x @ w @ w.T @ x.T for w in (a, b)))),
        "relative": pytest.approx(relative_movement(x @ a, x @ b)),
        "rms": pytest.approx(rms_movement(x @ a, x @ b)),
        "drift": 0.0,
    }
    probe.before(learner, first, Phase(1, {}))
    probe.before(learner, second, Phase(1, {}))
    then(c)
    old, new = probe.measure(learner, first), probe.measure(learner, second)
    assert old["moved"] == old["drift"] == pytest.approx(1 - cka(x @ b, x @ c))
    assert new["moved"] == pytest.approx(1 - cka(other @ b, other @ c))
    assert new["drift"] == 0
    # back to where it was when the first task was learned: drift is since then
    probe.before(learner, first, Phase(2, {}))
    then(b)
    last = probe.measure(learner, first)
    assert last["drift"] == pytest.approx(0, abs=1e-14)
    assert last["moved"] == pytest.approx(1 - cka(x @ c, x @ b))


def test_probe_starts_anew_with_another_run() -> None:
    learner = Learner(Turned(drawn(0, 4, 3)), SharedHead(3, 2))
    probe, batch = FeatureMovement(), Batch(drawn(1, 5, 4), torch.zeros(5, 2), 0)
    probe.measure(learner, batch)
    learner.backbone.weight.data.copy_(drawn(2, 4, 3))
    assert probe.measure(learner, batch)["drift"] > 0
    probe.before(learner, batch, Phase(0, {}))
    assert probe.measure(learner, batch)["drift"] == 0


def test_without_before_or_with_another_width_nothing_is_known() -> None:
    probe, batch = FeatureMovement(), Batch(drawn(1, 5, 4), torch.zeros(5, 2), 0)
    values = probe.measure(Learner(nn.Identity(), SharedHead(4, 2)), batch)
    assert values.pop("drift") == 0
    assert np.isnan(list(values.values())).all()
    probe.before(Learner(nn.Identity(), SharedHead(4, 2)), batch, Phase(1, {}))
    wide = Learner(Turned(drawn(0, 4, 6)), SharedHead(6, 2))
    assert math.isnan(probe.measure(wide, batch)["moved"])
    assert probe.measure(wide, batch)["drift"] > 0


def test_wrong_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="samples must be 2 or more, got 1"):
        FeatureMovement(samples=1)
    mixed = Batch(torch.ones(2, 3), torch.zeros(2, 2), torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="batch must be of one task"):
        FeatureMovement().measure(Learner(nn.Identity(), SharedHead(3, 2)), mixed)
