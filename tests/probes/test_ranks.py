"""Ranks against the eigenvalues of Gram matrices, and closed forms."""

import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from holdfast.nets.heads import SharedHead
from holdfast.nets.learner import Learner
from holdfast.probes import (
    EffectiveRank,
    FeatureRanks,
    Phase,
    RankBoundWarning,
    feature_ranks,
    srank,
    stable_rank,
)
from holdfast.streams.batches import Batch


def singular_values(features: np.ndarray) -> list[float]:
    eigenvalues = np.linalg.eigvalsh(features.T @ features)
    return sorted((math.sqrt(max(e, 0.0)) for e in eigenvalues), reverse=True)


def naive_srank(values: list[float], delta: float) -> int:
    k, found = 0, 0.0
    while found < (1 - delta) * sum(values):
        found += values[k]
        k += 1
    return k


@pytest.mark.parametrize("shape", [(20, 5), (6, 6), (50, 12)])
@pytest.mark.parametrize("delta", [0.01, 0.2])
def test_match_their_definitions(shape: tuple[int, int], delta: float) -> None:
    features = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    values = singular_values(features.numpy())
    p = [s / sum(values) for s in values]
    found = feature_ranks(features, delta)
    assert found.effective == pytest.approx(math.exp(-sum(q * math.log(q) for q in p)), rel=1e-10)
    assert found.srank == srank(features, delta) == naive_srank(values, delta)
    assert found.stable == pytest.approx(sum(s**2 for s in values) / values[0] ** 2, rel=1e-10)
    assert stable_rank(features) == found.stable
    assert found.bound == min(shape)


def test_differ_from_one_another() -> None:
    """Singular values 90, 9, 1: what one code calls a stable rank is another's srank."""
    features = torch.diag(torch.tensor([90.0, 9.0, 1.0]))
    assert srank(features) == 2  # 99 of 100, counted from 1
    assert srank(features, delta=0.1) == 1
    assert stable_rank(features) == pytest.approx(1 + 0.01 + 1 / 8100)


@given(st.integers(1, 6), st.floats(1e-3, 1e3))
def test_count_equal_directions_whatever_the_scale(k: int, scale: float) -> None:
    features = torch.zeros(8, 6, dtype=torch.float64)
    features[range(k), range(k)] = scale
    found = feature_ranks(features)
    assert found.srank == srank(features, delta=0.0) == k
    assert (found.effective, found.stable) == pytest.approx((k, k))


@pytest.mark.parametrize("value", [0.0, float("nan"), float("inf")])
def test_are_not_defined_for_no_features(value: float) -> None:
    found = feature_ranks(torch.full((4, 2), value))
    assert all(math.isnan(rank) for rank in (found.effective, found.srank, found.stable))


def test_wrong_delta_and_too_few_samples_are_refused() -> None:
    with pytest.raises(ValueError, match=r"delta must lie in \[0, 1\), got 1"):
        srank(torch.eye(2), delta=1.0)
    with pytest.raises(ValueError, match=r"delta must lie in \[0, 1\), got -1"):
        FeatureRanks(delta=-1.0)
    with pytest.raises(ValueError, match=r"2 or more samples for a rank, got 1: rank <= min\(n, d"):
        feature_ranks(torch.ones(1, 4))


def test_probe_measures_the_penultimate_features() -> None:
    learner = Learner(nn.Identity(), SharedHead(3, 2))
    batch = Batch(torch.diag(torch.tensor([2.0, 1.0, 1.0])), torch.zeros(3, 2), 0)
    values = FeatureRanks().measure(learner, batch)
    same = EffectiveRank().measure(learner, batch)
    assert values == {**same, "srank": 3.0, "stable_rank": pytest.approx(1.5), "bound": 3.0}


def test_probe_says_once_what_bounds_it() -> None:
    learner, probe = Learner(nn.Identity(), SharedHead(5, 2)), FeatureRanks()
    batch = Batch(torch.ones(3, 5), torch.zeros(3, 2), 0)
    with pytest.warns(RankBoundWarning, match=r"3 samples for 5 units, so rank <= min\(n, d\) = 3"):
        probe.measure(learner, batch)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert probe.measure(learner, batch)["bound"] == 3


def test_probe_refuses_one_sample_before_training() -> None:
    learner, batch = (
        Learner(nn.Identity(), SharedHead(5, 2)),
        Batch(torch.ones(1, 5), torch.zeros(1), 0),
    )
    with pytest.raises(ValueError, match="2 or more samples for a rank, got 1"):
        FeatureRanks().before(learner, batch, Phase(0, {}))
