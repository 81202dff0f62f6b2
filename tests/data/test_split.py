import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from holdfast.data import Dataset, Split, stratified


def samples(*labels: int) -> Split:
    return Split(torch.arange(len(labels), dtype=torch.float32)[:, None], torch.tensor(labels))


class TestSplit:
    @pytest.mark.parametrize(
        ("x", "y", "error", "match"),
        [
            (torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64), ValueError, "holds no samples"),
            (torch.zeros(3, 2), torch.zeros(2, dtype=torch.int64), ValueError, "differ in length"),
            (torch.zeros(3, 2), torch.zeros(3), ValueError, r"must be \(n, k\)"),
            (
                torch.zeros(3, 2),
                torch.zeros(3, 1, dtype=torch.int64),
                ValueError,
                r"must be \(n,\)",
            ),
            (
                torch.zeros(3, 2),
                torch.tensor([0, -1, 1]),
                ValueError,
                r"negative class label \(-1\)",
            ),
            (torch.zeros(3, 2), torch.tensor([True, False, True]), TypeError, "integers or floats"),
            (
                torch.zeros(3, 2),
                torch.tensor([[1.0], [float("inf")], [0.0]]),
                ValueError,
                "position 1",
            ),
        ],
    )
    def test_refuses(self, x, y, error, match):
        with pytest.raises(error, match=match):
            Split(x, y)

    @pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
    def test_finds_what_is_not_finite(self, bad):
        x = torch.zeros(5, 2, 2)
        x[3, 1, 0] = bad
        x[4, 0, 0] = -bad
        with pytest.raises(ValueError, match="in 2 of 5 samples, the first at position 3"):
            Split(x, torch.zeros(5, dtype=torch.int64))

    def test_takes_values_whose_sum_overflows(self):
        x = torch.full((4, 2), 3e38)
        assert len(Split(x, torch.zeros(4, dtype=torch.int64))) == 4

    def test_small_integers_become_int64(self):
        split = Split(torch.zeros(2, 1), torch.tensor([3, 1], dtype=torch.uint8))
        assert split.y.dtype == torch.int64
        assert split.classes == (1, 3)

    def test_subset_keeps_pairs_and_order(self):
        split = samples(*(i % 3 for i in range(30)))
        part = split.subset(per_class=4, seed=1)
        assert torch.equal(part.x[:, 0].long() % 3, part.y)
        assert torch.equal(part.x, part.x.sort(dim=0).values)
        assert torch.bincount(part.y).tolist() == [4, 4, 4]


class TestStratified:
    @given(
        st.lists(st.integers(0, 5), min_size=1, max_size=60),
        st.floats(0.01, 1.0),
        st.integers(0, 3),
    )
    def test_every_class_has_its_share(self, labels, fraction, seed):
        y = torch.tensor(labels)
        chosen = stratified(y, fraction=fraction, seed=seed)
        assert len(set(chosen.tolist())) == len(chosen)
        for label in set(labels):
            held = labels.count(label)
            assert int((y[chosen] == label).sum()) == max(1, round(fraction * held))

    @given(st.integers(1, 4), st.integers(0, 3))
    def test_parts_of_one_seed_are_nested(self, small, seed):
        y = torch.arange(40) % 4
        less = set(stratified(y, per_class=small, seed=seed).tolist())
        more = set(stratified(y, per_class=small + 3, seed=seed).tolist())
        assert less < more

    def test_seeds_differ_and_repeat(self):
        y = torch.arange(200) % 2
        first = stratified(y, per_class=10, seed=0)
        assert torch.equal(first, stratified(y, per_class=10, seed=0))
        assert not torch.equal(first, stratified(y, per_class=10, seed=1))

    def test_a_class_does_not_depend_on_the_others(self):
        alone = torch.ones(20, dtype=torch.int64)
        among = torch.cat([alone, torch.zeros(7, dtype=torch.int64)])
        chosen = stratified(among, per_class=5, seed=2)
        assert torch.equal(chosen[among[chosen] == 1], stratified(alone, per_class=5, seed=2))

    def test_targets_count_as_one_class(self):
        assert len(stratified(torch.rand(50, 2), fraction=0.3)) == 15

    @pytest.mark.parametrize(
        ("options", "match"),
        [
            ({}, "either per_class or fraction"),
            ({"per_class": 1, "fraction": 0.5}, "either per_class or fraction"),
            ({"fraction": 0.0}, r"\(0, 1\], got 0.0"),
            ({"fraction": 1.5}, r"\(0, 1\], got 1.5"),
            ({"per_class": 0}, "at least 1, got 0"),
            ({"per_class": 3}, "per_class is 3, but class 1 holds 2"),
        ],
    )
    def test_refuses(self, options, match):
        with pytest.raises(ValueError, match=match):
            stratified(torch.tensor([0, 0, 0, 1, 1]), **options)

    def test_refuses_per_class_of_targets(self):
        with pytest.raises(ValueError, match="use fraction for regression"):
            stratified(torch.rand(5, 1), per_class=1)


class TestDataset:
    def test_subset_cuts_only_what_is_named(self):
        data = Dataset(samples(*[0, 1] * 10), samples(*[0, 1] * 5), class_names=("a", "b"))
        part = data.subset(fraction=0.5)
        assert (len(part.train), len(part.test)) == (10, 10)
        assert part.class_names == ("a", "b")
        both = data.subset(per_class=2, splits=("train", "test"))
        assert (len(both.train), len(both.test)) == (4, 4)

    def test_subset_refuses_a_split_that_is_not_there(self):
        data = Dataset(samples(0, 1), samples(0, 1))
        with pytest.raises(ValueError, match=r"'validation', the dataset has \['train', 'test'\]"):
            data.subset(per_class=1, splits=("validation",))

    @pytest.mark.parametrize(
        ("options", "match"),
        [
            ({"class_names": ("a", "b")}, "label 2 has no name"),
            ({"groups": (0, 0)}, "label 2 has no group"),
            ({"groups": (0, 0, 2), "group_names": ("g", "h")}, "group 2 has no name"),
        ],
    )
    def test_names_cover_the_labels(self, options, match):
        with pytest.raises(ValueError, match=match):
            Dataset(samples(0, 1, 2), samples(0), **options)

    def test_splits_agree(self):
        targets = Split(torch.zeros(2, 1), torch.zeros(2, 1))
        with pytest.raises(ValueError, match="both hold classes or both hold targets"):
            Dataset(samples(0, 1), targets)
        wide = Split(torch.zeros(2, 3), torch.tensor([0, 1]))
        with pytest.raises(ValueError, match="validation samples have shape"):
            Dataset(samples(0, 1), samples(0), validation=wide)
