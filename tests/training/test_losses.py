"""The losses against their formulas, sample by sample in Python floats."""

import math
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from holdfast.training.losses import criterion, cross_entropy, mse

ROWS = st.integers(1, 6)
COLUMNS = st.integers(1, 5)


def logits(n: int, k: int, seed: int) -> Tensor:
    draws = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(n, k, generator=draws, dtype=torch.float64)


def naive_cross_entropy(row: Sequence[float], y: int) -> float:
    top = max(row)
    return top + math.log(sum(math.exp(v - top) for v in row)) - row[y]


def naive_mse(row: Sequence[float], target: Sequence[float]) -> float:
    terms = [(f - y) ** 2 for f, y in zip(row, target, strict=True) if f != -math.inf]
    return sum(terms) / 2


@settings(max_examples=40, deadline=None)
@given(ROWS, COLUMNS, st.integers(0, 99), st.booleans())
def test_losses_match_their_formulas(n: int, k: int, seed: int, masked: bool) -> None:
    f = logits(n, k, seed)
    y = torch.arange(n) % k
    if masked and k > 1:
        f[:, k - 1] = -math.inf
        y = torch.arange(n) % (k - 1)
    rows, labels = f.tolist(), y.tolist()
    entropies = [naive_cross_entropy(r, c) for r, c in zip(rows, labels, strict=True)]
    squares = [
        naive_mse(r, [float(j == c) for j in range(k)]) for r, c in zip(rows, labels, strict=True)
    ]
    for loss, naive in ((cross_entropy, entropies), (mse, squares)):
        assert loss(f, y, "none").tolist() == pytest.approx(naive, rel=1e-12, abs=1e-12)
        assert loss(f, y).item() == pytest.approx(sum(naive) / n, rel=1e-12, abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(ROWS, COLUMNS, st.integers(0, 99))
def test_mse_of_targets(n: int, k: int, seed: int) -> None:
    f, y = logits(n, k, seed), logits(n, k, seed + 100)
    naive = [naive_mse(a, b) for a, b in zip(f.tolist(), y.tolist(), strict=True)]
    assert mse(f, y, "none").tolist() == pytest.approx(naive, rel=1e-12)
    # what the docstring says of torch's own
    assert functional.mse_loss(f, y).item() == pytest.approx(2 / k * mse(f, y).item(), rel=1e-12)


@pytest.mark.parametrize("loss", [cross_entropy, mse])
def test_no_gradient_passes_impossible_columns(loss: object) -> None:
    f = logits(4, 3, 0).requires_grad_()
    mask = torch.tensor([False, False, True]).expand(4, 3)
    loss(f.masked_fill(mask, -math.inf), torch.tensor([0, 1, 0, 1])).backward()
    assert f.grad is not None
    assert bool(torch.isfinite(f.grad).all())
    assert f.grad[:, 2].tolist() == [0.0] * 4
    assert bool(f.grad[:, :2].any())


def test_one_hot_follows_the_dtype_of_the_logits() -> None:
    assert mse(logits(2, 3, 0).float(), torch.tensor([0, 1])).dtype == torch.float32


def test_names() -> None:
    assert criterion("auto", False) is cross_entropy
    assert criterion("cross_entropy", False) is cross_entropy
    assert criterion("mse", False) is mse
    assert criterion("auto", True) is mse
    assert criterion("mse", True) is mse
    with pytest.raises(ValueError, match=r"training\.loss must be mse .* 'cross_entropy'"):
        criterion("cross_entropy", True)
