import pytest
import torch

from holdfast.estimator.temperature import expected_temperature
from holdfast.seeds import generator
from holdfast.starts import FeatureStatistics, Moments


def two_classes(gap: float, share: float = 0.5) -> Moments:
    """Unit Gaussians in the plane around +-gap / 2 on the first axis."""
    means = torch.tensor([[-gap / 2, 0.0], [gap / 2, 0.0]], dtype=torch.float64)
    p = torch.tensor([1 - share, share], dtype=torch.float64)
    cross = torch.cat([means, torch.ones(2, 1)], 1) * p[:, None]
    gram = cross.T @ (cross / p[:, None])
    gram[:2, :2] += torch.eye(2)
    return Moments(gram, cross, p, (0, 1), 1000)


@pytest.mark.parametrize("gap", [0.5, 2.0])
@pytest.mark.parametrize("slope", [0.1, 3.0])
def test_two_gaussian_classes_have_a_logistic_posterior(gap, slope):
    # log p(1|h) / p(0|h) = gap h_1, so scores +-slope h_1 / 2 need 1 / T = gap / slope.
    rows = torch.tensor([[-slope / 2, 0.3, 0.0], [slope / 2, 0.3, 0.0]], dtype=torch.float64)
    found = expected_temperature(rows, two_classes(gap), 0.0, generator(0, "test"))
    assert found == pytest.approx(slope / gap, rel=0.1)


def test_leverage_takes_scores_back_from_their_targets():
    # Leave-one-out scores +-u of two classes: by hand for the case without noise, where the loss
    # log(1 + exp(-2 a u)) falls with a for u > 0 and rises for u < 0.
    moments = two_classes(1e6)
    rows = torch.tensor([[-1e-7, 0.0, 0.5], [1e-7, 0.0, 0.5]], dtype=torch.float64)
    # Own scores are .55, the others .45; without a target's share of .2 they are .35 and .45.
    assert expected_temperature(rows, moments, 0.0, generator(0, "test")) < 0.02
    assert expected_temperature(rows, moments, 0.2, generator(0, "test")) == 1000


def test_classes_of_a_sample_each_have_a_bounded_temperature():
    h = torch.eye(3, dtype=torch.float64)
    moments = FeatureStatistics(3).update(h, torch.arange(3)).moments()
    rows = torch.cat([h, torch.zeros(3, 1)], 1)
    assert expected_temperature(rows, moments, 0.0, generator(0, "test")) >= 1e-4
