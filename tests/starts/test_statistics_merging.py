import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from shards import samples, streamed

from holdfast.starts import FeatureStatistics

X, Y = samples(150, 4, 6, seed=2)


def assert_same(a, b, rtol=1e-12):
    """Equal up to rounding and the order of classes."""
    assert sorted(a.classes) == sorted(b.classes)
    order = [b.classes.index(c) for c in a.classes]
    assert torch.equal(a.counts, b.counts[order])
    scale = b.gram.abs().max().item()
    torch.testing.assert_close(a.sums, b.sums[order], rtol=rtol, atol=rtol * scale)
    torch.testing.assert_close(a.gram, b.gram, rtol=rtol, atol=rtol * scale)
    for weighting in ("frequency", "balanced")[: 1 + a.per_class]:
        one, other = (s.moments(sorted(s.classes), weighting) for s in (a, b))
        torch.testing.assert_close(one.gram, other.gram, rtol=rtol, atol=rtol * scale)
        torch.testing.assert_close(one.cross, other.cross, rtol=rtol, atol=rtol * scale)


@pytest.mark.parametrize("per_class", [False, True])
@given(data=st.data())
def test_merged_shards_are_the_statistics_of_all(per_class, data):
    owner = torch.tensor(data.draw(st.lists(st.integers(0, 3), min_size=150, max_size=150)))
    parts = [streamed(X[owner == i], Y[owner == i], 20, per_class) for i in owner.unique()]
    total = FeatureStatistics(4, per_class=per_class)
    for part in parts:
        total = total + part
    assert_same(total, streamed(X, Y, per_class=per_class))


@pytest.mark.parametrize("per_class", [False, True])
def test_merging_commutes_bit_for_bit(per_class):
    a, b = streamed(X[:70], Y[:70], 9, per_class), streamed(X[70:], Y[70:], 13, per_class)
    one, other = a + b, b + a
    order = [other.classes.index(c) for c in one.classes]
    assert torch.equal(one.gram, other.gram)
    assert torch.equal(one.sums, other.sums[order])
    classes = sorted(one.classes)
    assert torch.equal(one.moments(classes).gram, other.moments(classes).gram)
    assert torch.equal(one.moments(classes).cross, other.moments(classes).cross)
    assert one.batches == a.batches + b.batches
    assert a.total == 70
    assert b.total == 80


def test_merging_settled_with_new_classes():
    old, new = Y < 3, Y >= 3
    a, b = streamed(X[old], Y[old], per_class=True), streamed(X[new], Y[new], per_class=True)
    a.settle()
    assert_same(a + b, streamed(X, Y, per_class=True))
    b.settle()
    assert_same(b + a, streamed(X, Y, per_class=True))
    with pytest.raises(ValueError, match=r"\[0, 1, 2\] are settled in one"):
        a.merge(streamed(X, Y, per_class=True))


@pytest.mark.parametrize("per_class", [False, True])
@given(st.integers(1, 149), st.integers(1, 60))
def test_removal_is_the_inverse_of_update(per_class, kept, size):
    found = streamed(X, Y, size, per_class).remove(X[kept:], Y[kept:])
    rest = streamed(X[:kept], Y[:kept], 50, per_class)
    assert_same(found, rest, 1e-11)
    assert found.update(X[kept:], Y[kept:]).total == 150


@pytest.mark.parametrize("per_class", [False, True])
def test_removing_everything_leaves_exactly_nothing(per_class):
    found = streamed(X, Y, per_class=per_class).remove(X, Y)
    assert found.classes == ()
    assert not found.gram.any()
    assert found.update(X, Y).total == 150


def test_a_class_without_samples_left_is_forgotten():
    found = streamed(X, Y, per_class=True)
    order = tuple(c for c in found.classes if c != 2)
    found.remove(X[Y == 2], Y[Y == 2])
    assert found.classes == order
    torch.testing.assert_close(found.moments().gram, found.subset(order).moments().gram)


@pytest.mark.parametrize("per_class", [False, True])
@pytest.mark.parametrize(
    ("x", "y", "match"),
    [
        (X[Y == 1], Y[Y == 1] + 8, r"samples of class 9: the statistics hold 0"),
        (X[Y == 1].repeat(2, 1), Y[Y == 1].repeat(2), r"of class 1: the statistics hold \d+"),
        (3 * X[:20], Y[:20], "cannot have been among those taken in.*negative eigenvalue"),
        (X[:20, :3], Y[:20], r"shape \(n, 4\)"),
    ],
)
def test_impossible_removals_change_nothing(per_class, x, y, match):
    found = streamed(X, Y, per_class=per_class)
    before = found.gram
    with pytest.raises(ValueError, match=match):
        found.remove(x, y)
    assert torch.equal(found.gram, before)
    assert found.total == 150


def test_what_cannot_be_added_is_refused():
    found = streamed(X, Y, backbone="aa")
    with pytest.raises(ValueError, match=r"of \[3, 4\] features"):
        found.merge(FeatureStatistics(3))
    with pytest.raises(ValueError, match="same per_class"):
        found.merge(streamed(X, Y, per_class=True))
    with pytest.raises(ValueError, match=r"different backbones.*'aa', 'bb'"):
        found.merge(streamed(X, Y, backbone="bb"))


def test_the_backbone_is_known_where_all_samples_are_of_it():
    found = streamed(X, Y, backbone="aa")
    assert (found + streamed(X, Y, backbone="aa")).backbone == "aa"
    assert (found + streamed(X, Y)).backbone is None
    assert (found + FeatureStatistics(4)).backbone == "aa"
    assert (FeatureStatistics(4) + FeatureStatistics(4)).backbone is None
