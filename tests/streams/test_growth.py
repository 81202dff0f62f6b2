from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import TypeCheckError

from holdfast.data.split import Dataset, Split
from holdfast.streams import growing


def ids(split: Split) -> set[float]:
    return set(split.x[:, 0].tolist())


@given(
    counts=st.lists(st.integers(3, 20), min_size=4, max_size=6),
    stages=st.integers(1, 4),
    uniform=st.floats(0, 1),
    shuffle=st.booleans(),
    seed=st.integers(0, 50),
)
def test_stages_are_nested_and_end_in_the_whole(
    make_dataset, counts, stages, uniform, shuffle, seed
) -> None:
    dataset = make_dataset(counts)
    stream = growing(dataset, stages, uniform, shuffle_classes=shuffle, seed=seed)
    held = [ids(task.train) for task in stream]
    assert all(a < b for a, b in pairwise(held))
    assert held[-1] == ids(dataset.train)
    labels = dict(zip(dataset.train.x[:, 0].tolist(), dataset.train.y.tolist(), strict=True))
    for task in stream:
        assert task.classes == dataset.classes
        assert task.test is dataset.test
        rows = zip(task.train.x[:, 0].tolist(), task.train.y.tolist(), strict=True)
        assert all(labels[x] == y for x, y in rows)
    again = growing(dataset, stages, uniform, shuffle_classes=shuffle, seed=seed)
    assert [ids(t.train) for t in again] == held


@given(stages=st.integers(1, 5), uniform=st.floats(0, 1), classes=st.integers(5, 7))
def test_sizes_follow_the_definition(make_dataset, stages, uniform, classes) -> None:
    """Of 20 samples a class, those of D_u arrive evenly and the others with their class."""
    dataset = make_dataset([20] * classes)
    even = round(uniform * 20 * classes)
    for i, task in enumerate(growing(dataset, stages, uniform, seed=3), start=1):
        per_class = task.train.y.bincount(minlength=classes)
        there, arrived = round(i / stages * classes), round(i / stages * even)
        late = (even - arrived) / classes
        assert all(abs(n - (20 - late)) <= 2 for n in per_class[:there].tolist())
        assert all(abs(n - arrived / classes) <= 1 for n in per_class[there:].tolist())


def test_uniform_growth_draws_each_class_in_proportion(make_dataset) -> None:
    stream = growing(make_dataset((40, 20, 80)), 4)
    for i, task in enumerate(stream, start=1):
        assert len(task.train) == 35 * i
        shares = task.train.y.bincount() - torch.tensor([10.0, 5.0, 20.0]) * i
        assert shares.abs().max() <= 1


def test_no_uniform_part_grows_by_whole_classes(make_dataset) -> None:
    dataset = make_dataset((4, 5, 6, 7, 8))
    grown = [task.train.classes for task in growing(dataset, 2, uniform=0.0)]
    assert grown == [(0, 1), (0, 1, 2, 3, 4)]
    assert len(growing(dataset, 2, uniform=0.0)[0].train) == 9
    drawn = {
        growing(dataset, 5, 0.0, shuffle_classes=True, seed=s)[0].train.classes for s in range(20)
    }
    assert len(drawn) > 1


@given(size=st.floats(0.05, 0.95))
def test_two_stages_are_pretraining_on_a_part(make_dataset, size) -> None:
    dataset = make_dataset([30] * 3)
    stream = growing(dataset, sizes=[size, 1.0])
    assert [len(t.train) for t in stream] == [round(size * 90), 90]


def test_stages_share_one_tensor(make_dataset) -> None:
    stream = growing(make_dataset(), 4)
    assert len({task.train.x.data_ptr() for task in stream}) == 1


def test_validation_is_the_same_at_each_stage(make_dataset) -> None:
    stream = growing(make_dataset(), 2, validation=0.25)
    assert stream[0].validation is stream[1].validation
    assert len(stream[1].train) + len(stream[1].validation) == 48


def test_regression_grows_uniformly() -> None:
    part = Split(torch.arange(10.0)[:, None], torch.rand(10, 1))
    stream = growing(Dataset(part, part), 5)
    assert [len(t.train) for t in stream] == [2, 4, 6, 8, 10]
    with pytest.raises(ValueError, match="uniform must be 1 for regression targets"):
        growing(Dataset(part, part), 2, 0.5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stages": 0}, "stages must be a positive integer"),
        ({"stages": 1.5}, "stages must be a positive integer, got 1.5|parameter 'stages'"),
        ({"uniform": -0.1}, r"uniform must be a fraction in \[0, 1\]"),
        ({"sizes": []}, "sizes must be fractions that increase to 1"),
        ({"sizes": [0.5, 0.5, 1.0]}, "sizes must be fractions that increase to 1"),
        ({"sizes": [0.5, 0.9]}, "sizes must be fractions that increase to 1"),
        ({"sizes": [0.0, 1.0]}, "sizes must be fractions that increase to 1"),
        ({"stages": 7, "uniform": 0.0}, "stage 4 of 7 brings no new sample"),
        ({"stages": 100}, "brings no new sample: there are 48 samples of 6 classes"),
    ],
)
def test_refuses(make_dataset, options, message) -> None:
    # What annotations tell is refused by the hook of the tests before the library can.
    with pytest.raises((ValueError, TypeCheckError), match=message):
        growing(make_dataset(), **options)
