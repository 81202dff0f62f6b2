"""The final accuracies of a method over orders, seeds and tasks, by the tasks' names."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from holdfast.records.record import Record

Accuracies = Float[np.ndarray, "orders seeds tasks"]


@dataclass(frozen=True, eq=False)
class Finals:
    """Final accuracies of runs that cross orders with seeds.

    Args:
        orders: labels.
        seeds: that every order has.
        tasks: names, in the order of the first run.
        accuracy: after the whole stream, on the task of that name wherever it stood.
        place: of each task in each order, from 0.
        course: mean accuracy on the tasks seen, after each task of the order.
        left_out: runs that are not among these, since their seed lacks a finished run at another
            order, or they did not come to their end.
    """

    orders: tuple[str, ...]
    seeds: tuple[int, ...]
    tasks: tuple[str, ...]
    accuracy: Accuracies
    place: Int[np.ndarray, "orders tasks"]
    course: Float[np.ndarray, "orders seeds tasks"]
    left_out: int

    @property
    def means(self) -> Float[np.ndarray, "orders tasks"]:
        """Over seeds."""
        return np.asarray(self.accuracy.mean(axis=1))


def finals_of(arms: Mapping[str, Iterable[Record]]) -> Finals:
    """Match the records of each order by the names of their tasks and by their seeds.

    Seeds count that have a whole run at every order, so that what a seed does to all orders alike
    (held-out samples, a base that begins the same) falls out of their comparison.

    Args:
        arms: the records of each order by its label, one a seed.

    Raises:
        ValueError: fewer than two orders, records over different tasks, records of one label whose
            tasks come in different orders, or no seed with a whole run at every order.
    """
    by_order = {label: tuple(records) for label, records in arms.items()}
    if len(by_order) < 2 or not all(by_order.values()):
        there = sum(map(bool, by_order.values()))
        raise ValueError(f"two or more orders with runs are compared, there are {there}")
    tasks = next(iter(by_order.values()))[0].tasks
    for label, records in by_order.items():
        _check_tasks(label, records, tasks)
    whole = {label: {r.seed: r for r in runs if _whole(r)} for label, runs in by_order.items()}
    seeds = sorted(set.intersection(*(set(runs) for runs in whole.values())))
    if not seeds:
        raise ValueError("no seed has a run that came to its end at every order")
    order_of = [records[0].tasks for records in by_order.values()]
    place = np.array([[names.index(task) for task in tasks] for names in order_of])
    chosen = [[runs[seed] for seed in seeds] for runs in whole.values()]
    count = sum(len(records) for records in by_order.values())
    return Finals(
        orders=tuple(by_order),
        seeds=tuple(seeds),
        tasks=tasks,
        accuracy=np.array(
            [[run.accuracy[-1, at] for run in runs] for runs, at in zip(chosen, place, strict=True)]
        ),
        place=place,
        course=np.array([[_course(run) for run in runs] for runs in chosen]),
        left_out=count - len(by_order) * len(seeds),
    )


def _check_tasks(label: str, records: Sequence[Record], tasks: tuple[str, ...]) -> None:
    for record in records:
        if set(record.tasks) != set(tasks):
            strangers = sorted(set(record.tasks) ^ set(tasks))
            raise ValueError(f"the runs differ in their tasks: {strangers[:5]}")
        if record.tasks != records[0].tasks:
            raise ValueError(
                f"order {label!r} has runs whose tasks come in different orders: one label must "
                "mean one order for all seeds"
            )


def _whole(record: Record) -> bool:
    return bool(np.isfinite(record.accuracy[-1]).all())


def _course(record: Record) -> list[float]:
    return [float(row[: k + 1].mean()) for k, row in enumerate(record.accuracy)]
