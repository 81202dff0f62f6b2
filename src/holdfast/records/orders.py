"""How much the order of the tasks matters."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from holdfast.records.record import Record


def order_disparity(records: Sequence[Record]) -> dict[str, float]:
    """OPD of each task: the range of its final accuracy over task orders.

    OPD_t = max_r P_t(r) - min_r P_t(r), P_t(r) the final accuracy on task t under order r, averaged
    first over the records (seeds) of that order. Tasks are matched by name, whatever their
    position. Yoon et al., 2020.

    Args:
        records: runs over the same tasks in at least two orders, any number of each.

    Returns:
        One value a task name; NaN where a final accuracy is unknown, as after a run that diverged.

    Raises:
        ValueError: fewer than two orders, or records over different tasks.
    """
    repeats: dict[tuple[str, ...], list[dict[str, float]]] = defaultdict(list)
    for record in records:
        finals = dict(zip(record.tasks, record.accuracy[-1].tolist(), strict=True))
        repeats[record.tasks].append(finals)
    if len(repeats) < 2:
        raise ValueError(
            f"order_disparity compares two or more orders of the tasks, got {len(repeats)} in "
            f"{len(records)} records"
        )
    tasks = records[0].tasks
    for order in repeats:
        if set(order) != set(tasks):
            strangers = sorted(set(order) ^ set(tasks))
            raise ValueError(f"the records differ in their tasks: {strangers[:5]}")
    means = np.array(
        [[np.mean([run[task] for run in runs]) for task in tasks] for runs in repeats.values()]
    )
    disparity = means.max(axis=0) - means.min(axis=0)
    return dict(zip(tasks, disparity.tolist(), strict=True))


def average_order_disparity(records: Sequence[Record]) -> float:
    """AOPD: mean over the tasks of `order_disparity`."""
    return float(np.mean(list(order_disparity(records).values())))


def maximum_order_disparity(records: Sequence[Record]) -> float:
    """MOPD: maximum over the tasks of `order_disparity`; NaN if one is unknown."""
    return float(np.max(list(order_disparity(records).values())))
