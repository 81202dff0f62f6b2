import pytest
import torch
from shards import samples
from torch import nn

from holdfast.nets.heads import GrowingHead
from holdfast.nets.learner import Learner
from holdfast.starts import FeatureStatistics, collect, fingerprint

X, Y = samples(60, 5, 3, seed=5)


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.Dropout(), nn.ReLU())


class PerTask(nn.Module):
    """Features that differ by task."""

    per_task = True

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x, task):
        return x * self.scale * (task + 1)


def test_features_are_those_of_evaluation_and_the_mode_comes_back():
    backbone = net()
    backbone[2].eval()
    before = fingerprint(backbone)
    found = collect(backbone, X, Y, batch_size=16)
    assert [m.training for m in backbone] == [True, True, False, True]
    assert backbone.training
    assert fingerprint(backbone) == before == found.backbone
    with torch.no_grad():
        expected = FeatureStatistics(8).update(backbone.eval()(X), Y)
    torch.testing.assert_close(found.gram, expected.gram, rtol=1e-6, atol=1e-5)
    assert found.batches == 4
    assert found.classes == expected.classes


def test_learners_batches_and_tasks():
    backbone = net()
    learner = Learner(backbone, GrowingHead(8))
    batches = list(zip(X.split(20), Y.split(20), strict=True))
    a, b = collect(learner, batches, per_class=True), collect(backbone, X, Y, batch_size=20)
    torch.testing.assert_close(a.gram, b.gram, rtol=1e-14, atol=1e-13)
    assert a.backbone == b.backbone
    assert a.per_class
    assert torch.equal(
        collect(Learner(PerTask(), GrowingHead(5)), X, Y, task=2).means,
        collect(nn.Identity(), 3 * X, Y).means,
    )


def test_half_precision_features_are_summed_in_float64():
    found = collect(nn.Identity(), X.half(), Y)
    torch.testing.assert_close(
        found.gram[:5, :5], X.half().double().T @ X.half().double(), rtol=1e-13, atol=1e-12
    )


def test_the_mode_comes_back_after_a_failure():
    backbone = net()
    x = X.clone()
    x[33] = float("nan")
    with pytest.raises(ValueError, match="batch 1 hold nan at row 1"):
        collect(backbone, x, Y, batch_size=32)
    assert backbone.training


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ((nn.Identity(), X), TypeError, "labels are missing"),
        ((nn.Identity(), [(X, Y)], Y), TypeError, "come with the batches"),
        ((nn.Identity(), X, Y[:-1]), ValueError, "60 inputs need as many labels, got 59"),
        ((nn.Identity(), X[:0], Y[:0]), ValueError, "no samples"),
        ((nn.Identity(), []), ValueError, "no samples"),
        ((nn.Unflatten(1, (1, 5)), X, Y), ValueError, r"shape \(n, width\), got \(60, 1, 5\)"),
    ],
)
def test_bad_calls(arguments, error, match):
    with pytest.raises(error, match=match):
        collect(*arguments)


def test_bad_batch_size():
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        collect(nn.Identity(), X, Y, batch_size=0)
