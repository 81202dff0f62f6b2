import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from holdfast.data.split import Dataset, Split
from holdfast.streams import hold_out


@given(
    counts=st.lists(st.integers(2, 30), min_size=1, max_size=5),
    fraction=st.floats(0.01, 0.5),
    seed=st.integers(0, 100),
)
def test_each_class_gives_its_share(make_dataset, counts, fraction, seed) -> None:
    dataset = make_dataset(counts)
    train, held = hold_out(dataset, fraction, seed)
    assert held.y.bincount().tolist() == [max(1, round(fraction * n)) for n in counts]
    together = torch.cat([train.x, held.x])[:, 0].sort().values
    assert torch.equal(together, dataset.train.x[:, 0].sort().values)
    assert torch.equal(hold_out(dataset, fraction, seed)[1].x, held.x)


def test_a_larger_fraction_holds_out_these_and_more(make_dataset) -> None:
    dataset = make_dataset()
    few, more = (hold_out(dataset, f, 3)[1].x[:, 0].tolist() for f in (0.25, 0.5))
    assert set(few) < set(more)
    assert set(few) != set(hold_out(dataset, 0.25, 4)[1].x[:, 0].tolist())


def test_zero_keeps_the_authors_split(make_dataset) -> None:
    dataset = make_dataset()
    assert hold_out(dataset, 0.0) == (dataset.train, None)
    own = Dataset(dataset.train, dataset.test, dataset.test)
    assert hold_out(own, 0.0) == (own.train, own.validation)
    assert len(hold_out(own, 0.5)[0]) == 24


def test_regression_is_held_out_at_large() -> None:
    part = Split(torch.arange(10.0)[:, None], torch.rand(10, 2))
    train, held = hold_out(Dataset(part, part), 0.3)
    assert (len(train), len(held)) == (7, 3)
    assert sorted(torch.cat([train.x, held.x]).flatten().tolist()) == list(range(10))


@pytest.mark.parametrize("fraction", [-0.1, 1.0, float("nan")])
def test_refuses_a_fraction_outside_its_range(make_dataset, fraction) -> None:
    with pytest.raises(ValueError, match=r"validation must be a fraction in \[0, 1\)"):
        hold_out(make_dataset(), fraction)


def test_refuses_to_leave_a_class_bare(make_dataset) -> None:
    with pytest.raises(ValueError, match="leaves no training samples of class 1"):
        hold_out(make_dataset((4, 1)), 0.2)
    part = Split(torch.zeros(1, 1), torch.zeros(1, 1))
    with pytest.raises(ValueError, match="leaves no training samples; choose"):
        hold_out(Dataset(part, part), 0.5)
