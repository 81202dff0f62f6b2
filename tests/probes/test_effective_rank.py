import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from holdfast.nets.heads import SharedHead
from holdfast.nets.learner import Learner
from holdfast.probes import EffectiveRank, effective_rank
from holdfast.streams.batches import Batch


def naive_effective_rank(features: np.ndarray) -> float:
    """From the eigenvalues of the Gram matrix, one term at a time."""
    eigenvalues = np.linalg.eigvalsh(features.T @ features)
    singular = [np.sqrt(e) for e in eigenvalues if e > 0]
    entropy = 0.0
    for s in singular:
        p = s / sum(singular)
        entropy -= p * np.log(p)
    return float(np.exp(entropy))


@pytest.mark.parametrize("shape", [(20, 5), (6, 6), (50, 3)])
def test_matches_the_definition(shape: tuple[int, int]) -> None:
    features = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert effective_rank(features) == pytest.approx(
        naive_effective_rank(features.numpy()), rel=1e-10
    )


@given(st.integers(1, 6), st.floats(1e-3, 1e3))
def test_counts_equal_directions_whatever_the_scale(k: int, scale: float) -> None:
    features = torch.zeros(8, 6, dtype=torch.float64)
    features[range(k), range(k)] = scale
    assert effective_rank(features) == pytest.approx(k)


def test_is_not_defined_for_no_features() -> None:
    assert np.isnan(effective_rank(torch.zeros(4, 2)))


def test_probe_measures_the_backbone() -> None:
    learner = Learner(nn.Identity(), SharedHead(3, 2))
    x = torch.eye(3)
    values = EffectiveRank().measure(learner, Batch(x, torch.zeros(3, 2), 0))
    assert values == {"effective_rank": pytest.approx(3.0)}
