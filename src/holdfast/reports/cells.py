"""The cells of a study: runs of a tidy table that share the values of some fields."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from holdfast.records.intervals import UNKNOWN, Interval, mean_interval

Columns = Mapping[str, Shaped[np.ndarray, " runs"]]
"""A tidy table: columns of one length by name, a row a run."""


class Levels(NamedTuple):
    """The different values of a column.

    position: of each row's value among them.
    labels: the values as text.
    numbers: the values, ascending, where they are numbers; else None, and the labels stand in the
        order they first appear.
    """

    position: Int[np.ndarray, " runs"]
    labels: list[str]
    numbers: Float[np.ndarray, " levels"] | None


class Cell(NamedTuple):
    """The interval of the runs whose value is known, their number, and that of the others."""

    interval: Interval
    known: int
    missing: int


def check_columns(columns: Columns, fields: Sequence[str], value: str) -> None:
    """Refuse a table that cannot be drawn.

    Raises:
        ValueError: a column that is not there, columns of different length, no rows, or a `value`
            that is not numeric.
    """
    for name in (*fields, value):
        if name not in columns:
            raise ValueError(f"no column {name!r}; the table holds {', '.join(columns)}")
    lengths = {name: len(columns[name]) for name in (*fields, value)}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"columns must have one length, got {lengths}")
    if not lengths[value]:
        raise ValueError("the table has no rows")
    if not np.issubdtype(columns[value].dtype, np.number):
        raise ValueError(f"column {value!r} must be numeric, got {columns[value].dtype}")


def levels(column: Shaped[np.ndarray, " runs"]) -> Levels:
    """The different values of a column (see `Levels`)."""
    values = column.tolist()
    numeric = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
    if numeric and np.isfinite(values).all():
        numbers, index = np.unique(np.array(values, dtype=np.float64), return_inverse=True)
        return Levels(index, [f"{number:g}" for number in numbers], numbers)
    labels = list(dict.fromkeys(map(str, values)))
    return Levels(np.array([labels.index(str(v)) for v in values]), labels, None)


def cell(
    values: Float[np.ndarray, " all"], chosen: Bool[np.ndarray, " all"], level: float = 0.95
) -> Cell:
    """The mean of the `chosen` values that are known, with its interval; NaN without any."""
    found = values[chosen]
    known = found[~np.isnan(found)]
    missing = len(found) - len(known)
    if not len(known):
        return Cell(UNKNOWN, 0, missing)
    return Cell(mean_interval(known, level), len(known), missing)
