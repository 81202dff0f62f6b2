"""A stream whose tasks come one at a time, and whose samples go when they have been learned."""

from collections.abc import Collection, Sequence
from typing import Any

from holdfast.streams.stream import Stream, Task


class Past(Task):
    """A task that has been learned: its name, classes and shape are known, its samples are gone.

    Args:
        name: of the task.
        classes: in the order their logits take.
        input_shape: of one sample.
    """

    def __init__(self, name: str, classes: tuple[int, ...], input_shape: tuple[int, ...]) -> None:
        vars(self).update(name=name, classes=classes, shape=input_shape)

    @property
    def is_regression(self) -> bool:
        """Never: only classes arrive without notice."""
        return False

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one sample as the network sees it."""
        shape: tuple[int, ...] = vars(self)["shape"]
        return shape

    def __getattr__(self, name: str) -> Any:
        if name in ("train", "test"):
            raise ValueError(
                f"the samples of task {self.name!r} are gone: those of earlier tasks are kept only "
                "for a method that says so in rehearses()"
            )
        raise AttributeError(name)

    def __repr__(self) -> str:
        return f"Past({self.name!r}, classes {list(self.classes)})"


class Arriving(Stream):
    """The tasks that have come so far, class-incremental.

    Unlike in a `Stream` made as a whole, classes may come again, together with others.

    Args:
        tasks: in the order they came; none at first.
    """

    def __init__(self, tasks: Sequence[Task] = ()) -> None:
        self.tasks = tuple(tasks)
        self.scenario = "class_incremental"
        self.name = "arriving"

    def joined_by(self, task: Task) -> "Arriving":
        """The stream with one more task."""
        return Arriving((*self.tasks, task))

    def keeping(self, positions: Collection[int]) -> "Arriving":
        """The stream with the samples of the tasks at these positions alone."""
        return Arriving(
            [
                task if i in positions else Past(task.name, task.classes, task.input_shape)
                for i, task in enumerate(self.tasks)
            ]
        )
