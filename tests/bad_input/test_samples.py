"""Data that nothing can be learned from."""

from typing import Any

import numpy as np
import pytest
import torch

import holdfast
from holdfast.data import Dataset, Split
from holdfast.streams import Stream, Task, split
from refusals import Refused


def arrays(**given: Any) -> Dataset:
    """Three classes of two samples, with some arrays exchanged."""
    x, y = np.zeros((6, 2)), np.array([0, 0, 1, 1, 2, 2])
    return Dataset.from_arrays(**{"x_train": x, "y_train": y, "x_test": x, "y_test": y, **given})


def test_labels_out_of_range() -> None:
    names = ["a", "b"]
    for labels, options, message in (
        (
            [0, 0, 1, 1, 2, 2],
            {"class_names": names},
            r"y_train holds labels \[2\] that are not amo",
        ),
        ([0, 0, 1, 1, -1, 2], {"class_names": names}, r"y_train holds labels \[-1, 2\]"),
        ([0, 0, 1, 1, 1, 1], {}, r"y_test holds labels \[2\] that are not among those of y_train"),
    ):
        with pytest.raises(ValueError, match=message):
            arrays(y_train=np.array(labels), **options)
    with pytest.raises(ValueError, match=r"Split.y holds a negative class label \(-1\)"):
        Split(torch.zeros(2, 1), torch.tensor([0, -1]))


def test_labels_that_are_no_integers() -> None:
    with pytest.raises(ValueError, match=r"whole numbers as class labels, got 0.5 at position 1"):
        arrays(y_train=np.array([0, 0.5, 1, 1, 2, 2]), regression=False)
    with pytest.raises(ValueError, match=r"y_train holds floats.*set regression=True"):
        arrays(y_train=np.array([0, 0.5, 1, 1, 2, 2]))
    with pytest.raises(ValueError, match=r"one class label a sample.*pass their argmax"):
        arrays(y_train=np.eye(6, dtype=int))
    with pytest.raises(TypeError, match=r"y_train mixes labels that do not sort"):
        arrays(y_train=np.array([0, None, 1, 1, 2, 2], dtype=object))
    with pytest.raises(ValueError, match=r"class labels must be integers"):
        Split(torch.zeros(2, 1), torch.tensor([0.0, 1.0]))
    with pytest.raises(ValueError, match=r"holds regression targets: there are no classes to part"):
        split(arrays(y_train=np.zeros(6), y_test=np.zeros(6)), tasks=2)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_nan_or_infinity_in_the_data(value: float) -> None:
    x = np.zeros((6, 2))
    x[3, 1] = value
    message = "Split.x holds NaN or infinity in 1 of 6 samples, the first at position 3; leave"
    for name in ("train", "test"):
        with pytest.raises(ValueError, match=f"the {name} split: {message}"):
            arrays(**{f"x_{name}": x})
    with pytest.raises(ValueError, match=r"X contains (NaN|infinity)|too large"):
        holdfast.ContinualClassifier().fit(x, [0, 0, 1, 1, 2, 2])


@pytest.mark.parametrize("last", ["nan", "inf"])
def test_nan_or_infinity_in_the_data_of_the_command(refused: Refused, last: str) -> None:
    part = f"{{name: 'troubled_parts:points', last: '{last}'}}"
    said = refused("run", "small.yaml", "--stream.dataset", part)
    assert "the train split: Split.x holds NaN or infinity in 1 of 12 samples" in said
    assert "training.lr must be finite" in refused("run", "small.yaml", "--training.lr", ".nan")


def test_an_empty_split() -> None:
    for name in ("train", "test"):
        with pytest.raises(ValueError, match=f"x_{name} holds no samples"):
            arrays(**{f"x_{name}": np.zeros((0, 2)), f"y_{name}": np.zeros(0, dtype=int)})
    with pytest.raises(ValueError, match=r"Split.x holds no samples \(shape \(0, 2\)\)"):
        Split(torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"tasks is empty: a stream needs at least one task"):
        Stream([], "task_incremental")


def test_a_class_without_samples(refused: Refused) -> None:
    with pytest.raises(ValueError, match=r"classes \[2\] have no test samples"):
        split(arrays(y_test=np.array([0, 0, 1, 1, 1, 1])), tasks=3)
    with pytest.raises(ValueError, match=r"validation=0.9 leaves no training samples of class 0"):
        split(arrays(), tasks=3, validation=0.9)
    part = "{name: 'troubled_parts:points', tested: 2}"
    said = refused("run", "small.yaml", "--stream.dataset", part)
    assert "classes [2, 3] have no test samples" in said


def test_shapes_that_do_not_match(refused: Refused, stream: Stream) -> None:
    with pytest.raises(ValueError, match=r"x_train and y_train differ in length: \(6, 2\) and"):
        arrays(y_train=np.zeros(5, dtype=int))
    with pytest.raises(ValueError, match=r"test samples have shape \(3,\), train samples \(2,\)"):
        arrays(x_test=np.zeros((6, 3)))
    with pytest.raises(ValueError, match=r"x_train is no regular array"):
        arrays(x_train=[[1, 2], [3], [4], [5], [6], [7]])
    task = stream[0]
    wide = Split(torch.zeros(len(task.test), 1, 9, 9), task.test.y)
    with pytest.raises(ValueError, match=r"test.*shape|shape.*test"):
        Task("uneven", task.train, wide)
    part = "{name: 'troubled_parts:points', sides: 3}"
    said = refused("run", "small.yaml", "--stream.dataset", part)
    assert "test samples have shape (3,), train samples (2,)" in said
