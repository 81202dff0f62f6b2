"""A stream: the sequence of tasks a learner meets."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args, overload

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from holdfast.data.split import Split

Scenario = Literal["task_incremental", "class_incremental", "domain_incremental"]
Transform = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Task:
    """One task of a stream.

    Args:
        name: unique within its stream; it identifies the task whatever the order.
        train: the samples to learn from, or a `DataLoader` of (x, y) batches.
        test: the samples reported on.
        validation: held out from `train`.
        classes: the class labels of this task, in the order their logits take; taken from `train`
            when left empty. Empty for regression.
        transform: raw batch (n, ...) -> network inputs (n, ...), run on the device, the same each
            time: its results are kept. `None` casts to float32 only.

    Raises:
        ValueError: the splits disagree in shape, a split has labels outside `classes`, `classes`
            repeats a label, or `train` is a `DataLoader` and `classes` are not given.
    """

    name: str
    train: Split | DataLoader
    test: Split
    validation: Split | None = None
    classes: tuple[int, ...] = ()
    transform: Transform | None = None

    def __post_init__(self) -> None:
        if not self.classes:
            if isinstance(self.train, DataLoader) and not self.test.is_regression:
                raise ValueError(
                    f"task {self.name!r}: classes must be given when train is a DataLoader"
                )
            if isinstance(self.train, Split):
                object.__setattr__(self, "classes", self.train.classes)
        if len(set(self.classes)) != len(self.classes):
            raise ValueError(f"task {self.name!r}: classes repeats a label: {self.classes}")
        splits = {"train": self.train, "test": self.test, "validation": self.validation}
        for kind, split in splits.items():
            if not isinstance(split, Split):
                continue
            if split.input_shape != self.test.input_shape:
                raise ValueError(
                    f"task {self.name!r}: {kind} samples have shape {split.input_shape}, "
                    f"test samples {self.test.input_shape}"
                )
            if split.is_regression != self.test.is_regression:
                raise ValueError(f"task {self.name!r}: {kind} and test differ in kind of target")
            strangers = sorted(set(split.classes) - set(self.classes))
            if strangers:
                raise ValueError(
                    f"task {self.name!r}: {kind} holds labels {strangers[:5]} that are not among "
                    f"its classes {self.classes}"
                )

    @property
    def is_regression(self) -> bool:
        """Whether the targets are floats rather than class labels."""
        return self.test.is_regression

    def inputs(self, x: Tensor) -> Tensor:
        """Raw samples (n, ...) as the network sees them, on the device of `x`."""
        if self.transform is not None:
            return self.transform(x)
        return x.to(torch.float32) if x.dtype == torch.uint8 else x

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one sample as the network sees it."""
        return tuple(self.inputs(self.test.x[:1]).shape[1:])

    def __repr__(self) -> str:
        rows = len(self.train) if isinstance(self.train, Split) else "loader"
        held = f", validation {len(self.validation)}" if self.validation else ""
        what = (
            f"classes {list(self.classes)}" if self.classes else f"{self.test.y.shape[1]} targets"
        )
        if len(self.classes) > 12:
            what = f"{len(self.classes)} classes"
        return f"Task({self.name!r}, {what}, train {rows}{held}, test {len(self.test)})"


class Stream(Sequence[Task]):
    """A sequence of tasks and what the learner is told about them.

    `scenario` is one of

    - ``task_incremental``: the task is known at test time; a head a task.
    - ``class_incremental``: it is not; one head over all classes seen so far.
    - ``domain_incremental``: the same classes in every task; one head.

    Raises:
        ValueError: no tasks, two tasks of one name, an unknown scenario, tasks of differing input
            shape or kind of target, tasks that share classes in a class-incremental stream, or
            that differ in their classes in a domain-incremental one.
    """

    def __init__(self, tasks: Iterable[Task], scenario: Scenario, name: str = "stream") -> None:
        self.tasks = tuple(tasks)
        self.scenario = scenario
        self.name = name
        if scenario not in get_args(Scenario):
            raise ValueError(f"scenario must be one of {get_args(Scenario)}, got {scenario!r}")
        if not self.tasks:
            raise ValueError("tasks is empty: a stream needs at least one task")
        names = [t.name for t in self.tasks]
        if len(set(names)) != len(names):
            raise ValueError(f"tasks must have unique names, got {names}")
        first = self.tasks[0]
        shape = first.input_shape
        seen: set[int] = set()
        for task in self.tasks:
            if task.input_shape != shape:
                raise ValueError(
                    f"task {task.name!r} has inputs of shape {task.input_shape}, "
                    f"task {first.name!r} of {shape}; bring them to one shape with a transform"
                )
            if task.is_regression != first.is_regression:
                raise ValueError(f"task {task.name!r} and {first.name!r} differ in kind of target")
            if task.is_regression and task.test.y.shape[1] != first.test.y.shape[1]:
                raise ValueError(f"task {task.name!r} and {first.name!r} differ in target width")
            if scenario == "class_incremental" and seen & set(task.classes):
                raise ValueError(
                    f"task {task.name!r} repeats classes {sorted(seen & set(task.classes))} of "
                    "earlier tasks; a class_incremental stream brings each class once"
                )
            if scenario == "domain_incremental" and set(task.classes) != set(first.classes):
                raise ValueError(
                    f"task {task.name!r} has classes {task.classes}, task {first.name!r} has "
                    f"{first.classes}; a domain_incremental stream keeps its classes"
                )
            seen |= set(task.classes)
        if first.is_regression and scenario == "class_incremental":
            raise ValueError("a class_incremental stream needs class labels, not targets")

    @classmethod
    def from_tasks(
        cls, tasks: Iterable[Task], scenario: Scenario, name: str = "custom"
    ) -> "Stream":
        """A stream of your own tasks."""
        return cls(tasks, scenario, name)

    def __len__(self) -> int:
        return len(self.tasks)

    @overload
    def __getitem__(self, index: int) -> Task: ...
    @overload
    def __getitem__(self, index: slice) -> "Stream": ...
    def __getitem__(self, index: int | slice) -> "Task | Stream":
        if isinstance(index, slice):
            return Stream(self.tasks[index], self.scenario, self.name)
        if not -len(self) <= index < len(self):
            raise IndexError(f"there is no task {index}: the stream has tasks 0..{len(self) - 1}")
        return self.tasks[index]

    @property
    def classes(self) -> tuple[int, ...]:
        """All class labels in the order they first appear."""
        return tuple(dict.fromkeys(c for task in self.tasks for c in task.classes))

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one sample as the network sees it."""
        return self.tasks[0].input_shape

    @property
    def is_regression(self) -> bool:
        """Whether the targets are floats rather than class labels."""
        return self.tasks[0].is_regression

    def reordered(self, order: Sequence[int]) -> "Stream":
        """The same tasks in another order: position i holds task ``order[i]``.

        Raises:
            ValueError: `order` is no permutation of 0 .. len - 1.
        """
        if sorted(order) != list(range(len(self))):
            raise ValueError(
                f"order must be a permutation of 0..{len(self) - 1}, got {list(order)}"
            )
        return Stream([self.tasks[i] for i in order], self.scenario, self.name)

    def __repr__(self) -> str:
        head = f"Stream({self.name!r}, {self.scenario}, {len(self)} tasks, {self.input_shape})"
        rows = [f"  {i}: {task!r}" for i, task in enumerate(self.tasks)]
        if len(rows) > 12:
            rows = [*rows[:6], f"  ... {len(rows) - 9} more", *rows[-3:]]
        return "\n".join([head, *rows])
