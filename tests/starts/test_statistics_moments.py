import inspect

import pytest
import torch
from shards import samples, streamed, weighted

from holdfast.starts import FeatureStatistics

X, Y = samples(120, 4, 5, seed=1)


def by_hand(classes, weighting):
    """Moments of some classes, a sample at a time."""
    keep = torch.isin(Y, torch.tensor(classes))
    x, y = X[keep], Y[keep]
    sizes = {c: (y == c).sum().item() for c in classes}
    if weighting == "balanced":
        w = torch.tensor([1 / (len(classes) * sizes[c]) for c in y.tolist()], dtype=torch.float64)
    else:
        w = torch.full((len(y),), 1 / len(y), dtype=torch.float64)
    return *weighted(x, y, classes, w), torch.tensor([w[y == c].sum() for c in classes]), len(y)


def check(moments, classes, weighting):
    gram, cross, weights, n = by_hand(classes, weighting)
    torch.testing.assert_close(moments.gram, gram, rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(moments.cross, cross, rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(moments.weights, weights, rtol=1e-12, atol=0)
    assert moments.classes == classes
    assert moments.samples == n
    assert moments.width == 4


@pytest.mark.parametrize("weighting", ["frequency", "balanced"])
@pytest.mark.parametrize("classes", [(0, 1, 2, 3, 4), (4, 1), (2,)])
def test_moments_are_weighted_means(weighting, classes):
    check(streamed(X, Y, per_class=True).moments(classes, weighting), classes, weighting)


@pytest.mark.parametrize("weighting", ["frequency", "balanced"])
def test_settled_classes_keep_their_moments_together(weighting):
    found = streamed(X, Y, per_class=True)
    order = found.classes
    found.settle([3, 1])
    found.settle([1, 0])
    assert set(found.settled) == {0, 1, 3}
    assert found.class_grams is None
    for classes in [order, (3, 0, 1), (2, 4), (4,), (0, 4, 1, 3)]:
        check(found.moments(classes, weighting), classes, weighting)
    found.settle()
    check(found.moments(None, weighting), order, weighting)
    torch.testing.assert_close(found.gram, streamed(X, Y).gram, rtol=1e-13, atol=1e-12)


def test_settled_classes_leave_room_for_new_ones():
    found = FeatureStatistics(4, per_class=True)
    for c in range(5):
        found.update(X[c == Y], Y[c == Y]).settle()
        assert len(found.state_dict()["apart"]) == 0
    check(found.moments(weighting="balanced"), (0, 1, 2, 3, 4), "balanced")


def test_class_grams_and_subset():
    found = streamed(X, Y, per_class=True)
    for c, gram in zip(found.classes, found.class_grams, strict=True):
        torch.testing.assert_close(gram, streamed(X[c == Y], Y[c == Y]).gram)
    part = found.subset([4, 0])
    keep = (Y == 4) | (Y == 0)
    alone = streamed(X[keep], Y[keep], per_class=True)
    assert part.classes == (4, 0)
    assert part.total == alone.total
    torch.testing.assert_close(part.gram, alone.gram, rtol=1e-12, atol=1e-12)
    part.update(X, Y)
    assert found.total == 120


def test_all_classes_may_be_asked_for_without_grams_of_each():
    found = streamed(X, Y)
    assert not found.can_balance
    assert found.class_grams is None
    assert found.settled == ()
    check(found.moments((4, 3, 2, 1, 0)), (4, 3, 2, 1, 0), "frequency")
    assert found.subset([0, 1, 2, 3, 4]).total == 120


def test_classes_of_one_size_are_balanced_as_they_are():
    x, y = torch.cat([X[c == Y][:9] for c in range(5)]), torch.arange(5).repeat_interleave(9)
    found = streamed(x, y)
    assert found.can_balance
    frequency, balanced = found.moments(), found.moments(weighting="balanced")
    torch.testing.assert_close(frequency.gram, balanced.gram)
    torch.testing.assert_close(frequency.cross, balanced.cross)


def test_rows_of_some_classes_of_moments():
    found = streamed(X, Y).moments((0, 1, 2, 3, 4))
    some = found.of([3, 1])
    assert some.classes == (3, 1)
    assert torch.equal(some.cross, found.cross[[3, 1]])
    assert torch.equal(some.gram, found.gram)
    with pytest.raises(ValueError, match=r"among .* got \[9\]"):
        found.of([9])


def test_what_was_not_kept_is_refused_with_the_remedy():
    found = streamed(X, Y)
    with pytest.raises(ValueError, match=r"classes \[1, 2\] was not kept apart.*per_class=True"):
        found.moments([1, 2])
    with pytest.raises(ValueError, match="per_class=True"):
        found.subset([0])
    with pytest.raises(ValueError, match=r"balanced moments need.*per_class=True.*'frequency'"):
        found.moments(weighting="balanced")
    with pytest.raises(ValueError, match="per_class=True"):
        found.settle()
    apart = streamed(X, Y, per_class=True)
    apart.settle([0, 1])
    with pytest.raises(ValueError, match=r"classes \[0\] were settled together with \[1\]"):
        apart.moments([0, 2])
    with pytest.raises(ValueError, match=r"classes \[0\] are settled"):
        apart.update(X[Y == 0], Y[Y == 0])
    with pytest.raises(ValueError, match=r"classes \[1\] are settled"):
        apart.remove(X[Y == 1], Y[Y == 1])
    assert apart.total == 120


def test_bad_classes_and_weightings():
    found = streamed(X, Y, per_class=True)
    with pytest.raises(ValueError, match=r"some of those seen.*got \[7, 9\]"):
        found.moments([0, 7, 9])
    with pytest.raises(ValueError, match="once each"):
        found.subset([1, 1])
    with pytest.raises(ValueError, match=r"some of those seen.*got \[\]"):
        found.subset([])
    with pytest.raises(ValueError, match="'frequency' or 'balanced', got 'uniform'"):
        inspect.unwrap(FeatureStatistics.moments)(found, weighting="uniform")
    with pytest.raises(ValueError, match="no samples yet"):
        FeatureStatistics(2).moments()
