import copy
import pickle

import pytest
import torch

from holdfast import Split, Task
from holdfast.estimator.arriving import Arriving, Past


def task(name: str, *labels: int) -> Task:
    y = torch.tensor(labels)
    split = Split(torch.zeros(len(y), 4), y)
    return Task(name, train=split, test=split)


def test_classes_may_come_again():
    stream = Arriving().joined_by(task("a", 0, 1)).joined_by(task("b", 1, 2))
    assert len(stream) == 2
    assert stream.classes == (0, 1, 2)
    assert stream.scenario == "class_incremental"
    assert stream.input_shape == (4,)


def test_samples_go_and_the_rest_stays():
    stream = Arriving([task("a", 0, 1), task("b", 2)]).keeping([1])
    past = stream[0]
    assert (past.name, past.classes, past.input_shape) == ("a", (0, 1), (4,))
    assert not stream.is_regression
    assert len(stream[1].train) == 1
    assert "Past('a', classes [0, 1])" in repr(stream)
    for split in ("train", "test"):
        with pytest.raises(ValueError, match="samples of task 'a' are gone"):
            getattr(past, split)
    with pytest.raises(AttributeError, match="colour"):
        _ = past.colour


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda p: pickle.loads(pickle.dumps(p))])
def test_what_has_gone_is_copied_without_it(copied):
    past = copied(Past("a", (3,), (2, 2)))
    assert (past.name, past.classes, past.input_shape) == ("a", (3,), (2, 2))
