"""Points for the theory, drawn from streams of the library."""

import torch
from torch import Tensor

from holdfast.data.split import Split
from holdfast.data.stratify import stratified
from holdfast.seeds import generator
from holdfast.streams.stream import Stream, Task


def stream_points(
    stream: Stream,
    samples: int = 30,
    classes: list[int] | None = None,
    loss: str = "mse",
    seed: int = 0,
) -> tuple[list[Tensor], list[Tensor]]:
    """A few training samples of each task, as `holdfast.theory.problem` takes them.

    Inputs are what a network sees, flattened. Targets for the squared error are -1 and 1 where
    there are two classes, one-hot where there are more, and those of a regression as they are; for
    the cross-entropy the place of the class. Classes count within their task, and among those of
    all tasks in a class-incremental stream. Tasks that view one dataset, as permuted ones, get the
    same samples of it.

    Args:
        stream: of any kind.
        samples: of each task, the same number of each class.
        classes: labels to draw from; all by default.
        loss: ``mse`` or ``cross_entropy``.
        seed: of the draw.

    Raises:
        TypeError: a task whose samples come from a `DataLoader`.
        ValueError: a number of samples that its classes do not divide or a task does not have,
            or classes that are not there.
    """
    inputs, targets = [], []
    known = {label for task in stream for label in task.classes}
    strange = sorted(set(classes or ()) - known)
    if strange:
        raise ValueError(f"classes holds {strange}, which no task has; there are {sorted(known)}")
    every = [label for task in stream for label in _classes(task, classes)]
    together = stream.scenario == "class_incremental"
    for task in stream:
        if not isinstance(task.train, Split):
            raise TypeError(f"task {task.name!r} draws from a DataLoader; the theory needs a Split")
        split, labels = task.train, _classes(task, classes)
        if task.is_regression:
            rows = _drawn(len(split), samples, task, seed)
            targets.append(split.y[rows].double())
        else:
            rows = _balanced(split.y, labels, samples, task, seed)
            counted = every if together else labels
            place = torch.tensor([counted.index(int(y)) for y in split.y[rows]])
            targets.append(_as_targets(place, len(counted), loss))
        inputs.append(task.inputs(split.x[rows]).flatten(1).double())
    return inputs, targets


def _classes(task: Task, classes: list[int] | None) -> list[int]:
    own = [label for label in task.classes if classes is None or label in classes]
    if not own and not task.is_regression:
        raise ValueError(
            f"classes are {classes}, of which task {task.name!r} has none; its labels are "
            f"{list(task.classes)}"
        )
    return own


def _balanced(y: Tensor, labels: list[int], samples: int, task: Task, seed: int) -> Tensor:
    if samples < 1 or samples % len(labels):
        raise ValueError(
            f"samples must be a multiple of the {len(labels)} classes of task {task.name!r}, "
            f"got {samples}"
        )
    among = torch.isin(y, torch.tensor(labels)).nonzero().flatten()
    chosen = stratified(y[among], per_class=samples // len(labels), seed=seed)
    return among[chosen]


def _drawn(count: int, samples: int, task: Task, seed: int) -> Tensor:
    if not 1 <= samples <= count:
        raise ValueError(f"samples must lie in 1 .. {count} in task {task.name!r}, got {samples}")
    return torch.randperm(count, generator=generator(seed, "theory samples"))[:samples]


def _as_targets(place: Tensor, classes: int, loss: str) -> Tensor:
    if loss == "cross_entropy":
        return place
    if classes == 2:
        return 2.0 * place.double() - 1
    return torch.nn.functional.one_hot(place, classes).double()
