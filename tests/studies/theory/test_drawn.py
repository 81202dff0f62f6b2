import pytest
import torch

from holdfast.data import Dataset, digits
from holdfast.streams import Stream, Task, permuted, split, teacher_student
from holdfast.studies.theory import stream_points


def test_permuted_tasks_get_the_same_samples_each_through_its_own_view():
    stream = permuted(digits(), tasks=2, similarity=0.5)
    (first, second), (y, z) = stream_points(stream, 20)
    assert first.shape == (20, 64)
    assert y.shape == (20, 10)
    assert torch.equal(y, z)
    assert torch.equal(y.sum(0), torch.full((10,), 2.0).double())
    assert not torch.equal(first, second)
    assert torch.equal(first.sort(1).values, second.sort(1).values)
    rows = torch.cdist(first, stream[0].inputs(stream[0].train.x).flatten(1).double()).min(1)
    assert float(rows.values.max()) < 1e-6  # they are samples of the first task as a network sees


def test_two_classes_are_signs_and_classes_can_be_named():
    stream = permuted(digits())
    x, (y, *_) = stream_points(stream, 10, [3, 7])
    labels = stream[0].train.y[
        torch.cdist(x[0], stream[0].inputs(stream[0].train.x).flatten(1).double()).argmin(1)
    ]
    assert torch.equal(y, torch.where(labels == 7, 1.0, -1.0).double())
    assert sorted(set(labels.tolist())) == [3, 7]


@pytest.mark.parametrize(
    ("scenario", "shape", "third"),
    [("task_incremental", (6,), None), ("domain_incremental", (6,), None),
     ("class_incremental", (6, 10), [4, 5])],
)  # fmt: skip
def test_classes_count_within_their_task_but_in_a_class_incremental_stream(scenario, shape, third):
    _, targets = stream_points(split(digits(), 5, scenario), 6)
    assert all(y.shape == shape for y in targets)
    if third is None:
        assert all(sorted(y.tolist()) == [-1.0] * 3 + [1.0] * 3 for y in targets)
    else:
        assert sorted(set(targets[2].argmax(1).tolist())) == third


def test_targets_of_cross_entropy_are_places_and_those_of_a_regression_stay():
    _, targets = stream_points(split(digits(), 5, "class_incremental"), 4, loss="cross_entropy")
    assert targets[1].dtype == torch.int64
    assert sorted(set(targets[1].tolist())) == [2, 3]
    stream = teacher_student(tasks=2, inputs=5, samples=12, seed=0)
    inputs, wanted = stream_points(stream, 7, seed=3)
    assert inputs[0].shape == (7, 5)
    held = torch.cat([stream[1].train.x, stream[1].train.y], 1).double()
    own = torch.cat([inputs[1], wanted[1]], 1)
    assert float(torch.cdist(own, held).min(1).values.max()) < 1e-6


def test_another_seed_draws_other_samples():
    stream = permuted(digits())
    assert not torch.equal(stream_points(stream, 10)[0][0], stream_points(stream, 10, seed=1)[0][0])


def test_what_cannot_be_drawn_is_refused():
    stream = split(digits(), 5, "task_incremental")
    with pytest.raises(ValueError, match="samples must be a multiple of the 2 classes of task"):
        stream_points(stream, 7)
    with pytest.raises(ValueError, match="samples must be a multiple of the 2 classes of task"):
        stream_points(stream, 0)
    with pytest.raises(ValueError, match=r"classes are \[0, 1\], of which task .* has none"):
        stream_points(stream, 6, [0, 1])
    with pytest.raises(
        ValueError, match=r"classes holds \[99\], which no task has; there are \[0, 1"
    ):
        stream_points(stream, 6, [0, 99])
    with pytest.raises(ValueError, match=r"samples must lie in 1 .. 12 in task"):
        stream_points(teacher_student(tasks=1, inputs=5, samples=12), 13)
    small = Dataset.from_arrays(torch.ones(4, 2), torch.arange(4) % 2, torch.ones(2, 2),
                                torch.arange(2))  # fmt: skip
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.ones(4, 2)))
    loaded = Stream([Task("a", loader, small.test, classes=(0, 1))], "task_incremental")
    with pytest.raises(TypeError, match="task 'a' draws from a DataLoader"):
        stream_points(loaded, 2)
