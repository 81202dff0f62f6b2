"""A dataset split by class into tasks."""

from collections.abc import Sequence

import torch

from holdfast.data.split import Dataset
from holdfast.seeds import generator
from holdfast.streams.orders import Order, task_order
from holdfast.streams.partitioning import partition
from holdfast.streams.stream import Scenario, Stream


def split(
    dataset: Dataset,
    tasks: int | Sequence[int] = 5,
    scenario: Scenario = "class_incremental",
    shuffle_classes: bool = False,
    classes_per_task: int | None = None,
    order: Order = None,
    validation: float = 0.0,
    seed: int = 0,
) -> Stream:
    """A stream whose tasks bring different classes of one dataset.

    The classes, in the order of their labels or shuffled, are dealt out in runs. Where their
    number is no multiple of `tasks`, the first ``classes % tasks`` tasks get one class more.
    In a domain-incremental stream labels become the index within the task, see `partition`.

    Args:
        dataset: with class labels.
        tasks: number of tasks; or the number of classes of each, such as [50, 10, 10], the
            remaining classes left out.
        scenario: what the learner is told, see `Stream`.
        shuffle_classes: deal the classes in an order drawn by `seed`.
        classes_per_task: exactly so many classes to each task, the remaining ones left out; `None`
            deals out all.
        order: of the tasks once made: a letter of `ORDERS` or a permutation.
        validation: fraction of the training samples held out, see `hold_out`.
        seed: of the classes' order and of what is held out.

    Raises:
        ValueError: more tasks than classes, fewer classes than asked for, unequal tasks in a
            domain-incremental stream, classes given for each task twice, a class without samples,
            or an unknown order.
    """
    if not isinstance(dataset, Dataset):
        raise TypeError(f"dataset must be a Dataset, as holdfast.load gives; got {dataset!r}")
    labels = _dealt(dataset, shuffle_classes, seed)
    sizes = _sizes(dataset, len(labels), tasks, classes_per_task, scenario)
    places = task_order(order, len(sizes))
    ends = torch.tensor(sizes).cumsum(0).tolist()
    parts = [labels[end - size : end] for end, size in zip(ends, sizes, strict=True)]
    return partition(dataset, parts, scenario, validation=validation, seed=seed).reordered(places)


def _sizes(
    dataset: Dataset,
    classes: int,
    tasks: int | Sequence[int],
    each: int | None,
    scenario: Scenario,
) -> list[int]:
    """The number of classes of each task."""
    if isinstance(tasks, Sequence):
        if each is not None:
            raise ValueError(
                f"tasks={list(tasks)} says how many classes each task has; classes_per_task={each} "
                "must be left out"
            )
        for size in tasks:
            _check_count("tasks", size, " or hold positive integers alone")
        if not tasks or sum(tasks) > classes:
            raise ValueError(
                f"tasks={list(tasks)} needs {sum(tasks)} classes in one task or more, and "
                f"{dataset.name!r} has {classes}"
            )
        return list(tasks)
    _check_count("tasks", tasks)
    if each is not None:
        _check_count("classes_per_task", each)
        if tasks * each > classes:
            raise ValueError(
                f"tasks={tasks} of classes_per_task={each} need {tasks * each} classes, "
                f"{dataset.name!r} has {classes}"
            )
        return [each] * tasks
    if tasks > classes:
        raise ValueError(f"tasks={tasks} is more than the {classes} classes of {dataset.name!r}")
    base, extra = divmod(classes, tasks)
    if extra and scenario == "domain_incremental":
        raise ValueError(
            f"{classes} classes do not make {tasks} equal tasks, as a domain_incremental stream "
            f"needs; classes_per_task={base} leaves {extra} out"
        )
    return [base + (i < extra) for i in range(tasks)]


def _check_count(name: str, value: object, else_: str = "") -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} must be a positive integer{else_}, got {value!r}")


def _dealt(dataset: Dataset, shuffle: bool, seed: int) -> list[int]:
    if dataset.is_regression:
        raise ValueError(f"{dataset.name!r} holds regression targets: there are no classes to part")
    labels = list(dataset.classes)
    if not shuffle:
        return labels
    drawn = torch.randperm(len(labels), generator=generator(seed, "classes"))
    return [labels[i] for i in drawn.tolist()]
