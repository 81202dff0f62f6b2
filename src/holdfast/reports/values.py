"""The numbers that runs are compared by."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from holdfast.records.record import Record

Runs = Mapping[str, Record | Sequence[Record]]
"""Runs by the name they are shown under; several records of one name are repeats (seeds)."""


def repeats(runs: Runs) -> dict[str, list[Record]]:
    """The records of each name, as a list.

    Raises:
        ValueError: no names, or one without records.
    """
    lists = {name: [r] if isinstance(r, Record) else list(r) for name, r in runs.items()}
    if not lists:
        raise ValueError("runs must name one or more records, got none")
    for name, records in lists.items():
        if not records:
            raise ValueError(f"runs[{name!r}] holds no records")
    return lists


def main_metrics(lists: Mapping[str, Sequence[Record]]) -> tuple[str, str]:
    """What is compared unless told otherwise; losses where no run has accuracies."""
    known = any(not np.isnan(r.accuracy).all() for records in lists.values() for r in records)
    return ("acc", "forgetting") if known else ("average_loss", "loss_forgetting")


def metric_values(records: Sequence[Record], metric: str) -> Float[np.ndarray, " runs"]:
    """One number a record: a name of `Record.metrics`, ``seconds`` or ``cpu_seconds`` of training.

    Raises:
        ValueError: an unknown name.
    """
    values = []
    for record in records:
        times = {"seconds": sum(record.seconds), "cpu_seconds": sum(record.cpu_seconds)}
        known = {**record.metrics(), **times}
        if metric not in known:
            raise ValueError(f"metric must be one of {', '.join(known)}; got {metric!r}")
        values.append(known[metric])
    return np.array(values, dtype=np.float64)


def digits_of(metric: str) -> int:
    """Decimals a metric is shown with."""
    return 1 if metric in ("seconds", "cpu_seconds") else 3
