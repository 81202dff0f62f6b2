"""What the probes of a run measured, in one number a value."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def probe_means(entries: Sequence[Mapping[str, Any]], tasks: int) -> dict[str, float]:
    """Means over tasks of each value of each probe, with p[i, j] its value on j after task i.

    | name | mean |
    |---|---|
    | ``<Probe>.<key>`` | (1/(T-1)) sum_{j<T-1} p[T-1, j]: on the earlier tasks, at the end |
    | ``<Probe>.<key>.own`` | (1/T) sum_j p[j, j]: on each task just after it was learned |

    As for metrics, a value that is not known makes the mean NaN, so that a run cut short has none.
    A value that is measured on the current task alone has only the second name.

    Args:
        entries: `Record.probes`.
        tasks: their number T.

    >>> entries = [
    ...     {"task": i, "on": j, "probe": "P", "values": {"moved": 10.0 * i + j}}
    ...     for i in range(3) for j in range(i + 1)
    ... ]
    >>> probe_means(entries, 3)
    {'P.moved': 20.5, 'P.moved.own': 11.0}
    """
    found: dict[str, dict[tuple[int, int], float]] = {}
    for entry in entries:
        for key, value in entry["values"].items():
            place = entry["task"], entry["on"]
            name = f"{entry['probe']}.{key}"
            found.setdefault(name, {})[place] = np.nan if value is None else value
    means: dict[str, float] = {}
    for name, values in found.items():
        own = [(j, j) for j in range(tasks)]
        end = [(tasks - 1, j) for j in range(tasks - 1)]
        if any(i != j for i, j in values):
            means[name] = _mean(values, end)
        if any(i == j for i, j in values):
            means[f"{name}.own"] = _mean(values, own)
    return means


def _mean(values: Mapping[tuple[int, int], float], places: Sequence[tuple[int, int]]) -> float:
    return float(np.mean([values.get(place, np.nan) for place in places]))
