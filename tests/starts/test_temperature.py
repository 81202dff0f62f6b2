import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from holdfast.starts import fit_scale


def draws(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 4, (60,), generator=draw)
    scores = torch.randn(60, 4, generator=draw, dtype=torch.float64)
    scores[torch.arange(60), labels] += 0.7
    return scores, labels, torch.randn(60, 4, generator=draw, dtype=torch.float64)


@given(seed=st.integers(0, 200), with_base=st.booleans(), size=st.floats(1e-3, 1e2))
def test_no_scale_is_better(seed: int, with_base: bool, size: float) -> None:
    scores, labels, logits = draws(seed)
    base = logits if with_base else torch.zeros_like(logits)
    found = fit_scale(size * scores, labels, base if with_base else None)

    def loss(a: float) -> float:
        logits = base + a * size * scores
        own = torch.nn.functional.cross_entropy(logits, labels)
        uninformed = -logits.log_softmax(1).mean()
        return float(60 * own + uninformed) / 61

    assert found >= 0
    grid = found * np.array([0.5, 0.9, 0.99, 1.01, 1.1, 2]) if found > 0 else [1e-3 / size]
    assert all(loss(a) >= loss(found) - 1e-12 for a in grid)
    # It scales against the scores
    assert fit_scale(scores, labels, base) == pytest.approx(found * size, rel=1e-6)


def test_the_ends() -> None:
    scores, labels, _ = draws(0)
    apart = torch.eye(4).double()[labels]
    # Separated: right with the probability (n + 1/C) / (n + 1)
    p = (fit_scale(apart, labels) * apart).softmax(1).max(1).values
    assert p.tolist() == pytest.approx([(60 + 0.25) / 61] * 60)
    assert fit_scale(-scores, labels) == 0.0  # against the labels
    assert fit_scale(0 * scores, labels) == 0.0


def test_refuses_what_has_no_cross_entropy() -> None:
    scores, labels, base = draws(1)
    with pytest.raises(ValueError, match="at least one sample"):
        fit_scale(scores[:0], labels[:0])
    with pytest.raises(ValueError, match="finite"):
        fit_scale(scores / 0, labels)
    with pytest.raises(ValueError, match="finite"):
        fit_scale(scores, labels, base * float("nan"))
