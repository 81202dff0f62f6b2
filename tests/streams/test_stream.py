import inspect

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader, TensorDataset

from holdfast.data.split import Split
from holdfast.streams import Stream, Task


def samples(*labels: int, width: int = 2) -> Split:
    return Split(torch.zeros(len(labels), width), torch.tensor(labels))


def targets(n: int, width: int = 1) -> Split:
    return Split(torch.zeros(n, 2), torch.zeros(n, width))


def task(name: str, *labels: int, **fields: object) -> Task:
    return Task(name, samples(*labels), samples(*labels), **fields)  # type: ignore[arg-type]


def loader(*labels: int) -> DataLoader:
    part = samples(*labels)
    return DataLoader(TensorDataset(part.x, part.y), batch_size=2)


def test_a_task_takes_its_classes_from_train() -> None:
    assert Task("a", samples(3, 1, 3), samples(1)).classes == (1, 3)
    assert Task("a", samples(3, 1), samples(1), classes=(3, 1)).classes == (3, 1)
    assert Task("a", targets(3), targets(2)).classes == ()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"classes": (1, 1, 2)}, "repeats a label"),
        ({"classes": (1,)}, r"train holds labels \[2\]"),
        ({"test": samples(3)}, r"test holds labels \[3\]"),
        ({"validation": samples(4)}, r"validation holds labels \[4\]"),
        ({"test": samples(1, width=3)}, "train samples have shape"),
        ({"validation": samples(1, width=3)}, "validation samples have shape"),
        ({"test": targets(2)}, "train and test differ in kind of target"),
        ({"train": loader(1, 2)}, "classes must be given when train is a DataLoader"),
    ],
)
def test_a_task_refuses(fields: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Task(**{"name": "a", "train": samples(1, 2), "test": samples(1, 2)} | fields)


def test_inputs_are_transformed_or_cast() -> None:
    raw = Split(torch.full((1, 2), 3, dtype=torch.uint8), torch.tensor([0]))
    assert Task("a", raw, raw).inputs(raw.x).dtype == torch.float32
    doubled = Task("a", raw, raw, transform=lambda x: torch.cat([x, x], 1).float())
    assert doubled.input_shape == (4,)
    tokens = Split(torch.zeros(1, 2, dtype=torch.int64), torch.tensor([0]))
    assert Task("a", tokens, tokens).inputs(tokens.x).dtype == torch.int64


@pytest.mark.parametrize(
    ("tasks", "scenario", "message"),
    [
        ([], "task_incremental", "tasks is empty"),
        ([task("a", 0), task("a", 1)], "task_incremental", "unique names"),
        (
            [task("a", 0), Task("b", samples(1, width=3), samples(1, width=3))],
            "task_incremental",
            r"task 'b' has inputs of shape \(3,\)",
        ),
        (
            [task("a", 0), Task("b", targets(1), targets(1))],
            "task_incremental",
            "differ in kind of target",
        ),
        (
            [Task("a", targets(1), targets(1)), Task("b", targets(1, 2), targets(1, 2))],
            "domain_incremental",
            "differ in target width",
        ),
        ([task("a", 0, 1), task("b", 1, 2)], "class_incremental", r"repeats classes \[1\]"),
        ([task("a", 0, 1), task("b", 1, 2)], "domain_incremental", "keeps its classes"),
        ([Task("a", targets(1), targets(1))], "class_incremental", "needs class labels"),
    ],
)
def test_a_stream_refuses(tasks: list[Task], scenario: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Stream(tasks, scenario)


def test_refuses_an_unknown_scenario() -> None:
    unchecked = inspect.unwrap(Stream.__init__)
    with pytest.raises(ValueError, match=r"scenario must be one of .* got 'online'"):
        unchecked(object.__new__(Stream), [task("a", 0)], "online")


@given(order=st.permutations(range(5)))
def test_reordered_there_and_back(order: list[int]) -> None:
    stream = Stream.from_tasks([task(f"t{i}", i) for i in range(5)], "class_incremental")
    moved = stream.reordered(order)
    assert [t.name for t in moved] == [f"t{i}" for i in order]
    assert moved.classes == tuple(order)
    back = moved.reordered([order.index(i) for i in range(5)])
    assert back.tasks == stream.tasks


@pytest.mark.parametrize("order", [[0, 0], [0], [0, 1, 2], [1, 2]])
def test_reordered_refuses_what_is_no_permutation(order: list[int]) -> None:
    stream = Stream([task("a", 0), task("b", 1)], "class_incremental")
    with pytest.raises(ValueError, match=r"order must be a permutation of 0\.\.1"):
        stream.reordered(order)


def test_a_stream_is_a_sequence() -> None:
    stream = Stream([task(f"t{i}", i) for i in range(4)], "class_incremental")
    assert len(stream) == 4
    assert stream[-1].name == "t3"
    assert [t.name for t in stream[1:3]] == ["t1", "t2"]
    assert stream[1:3].scenario == "class_incremental"


def test_print_shows_each_task_or_elides() -> None:
    few = Stream([task(f"t{i}", i, 9 + i) for i in range(2)], "class_incremental", "toy")
    assert repr(few).splitlines() == [
        "Stream('toy', class_incremental, 2 tasks, (2,))",
        "  0: Task('t0', classes [0, 9], train 2, test 2)",
        "  1: Task('t1', classes [1, 10], train 2, test 2)",
    ]
    many = Stream([task(f"t{i}", i) for i in range(30)], "class_incremental")
    assert "  ... 21 more" in repr(many).splitlines()
    held = Task("a", loader(*range(20)), samples(0), samples(1, 2), tuple(range(20)))
    assert repr(held) == "Task('a', 20 classes, train loader, validation 2, test 1)"
    assert "1 targets" in repr(Task("a", targets(2), targets(2)))
