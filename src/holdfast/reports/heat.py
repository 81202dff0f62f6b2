"""A metric over two fields of a study, as a heat map."""

import numpy as np
from matplotlib.axis import Axis
from matplotlib.figure import Figure

from holdfast.reports.cells import Columns, Levels, cell, check_columns, levels
from holdfast.reports.style import (
    draw_heat,
    house_style,
    new_figure,
    shortened,
    tilt_labels,
)

_NAMED = 25
"""Up to this many levels each has its label."""


def heat_figure(
    columns: Columns, x: str, y: str, value: str, centre: float | None = None
) -> Figure:
    """Mean of `value` over the runs of each pair of `x` (across) and `y` (upwards).

    Grey: no run, or none with a value. An asterisk marks a cell where some runs lack it (NaN, as
    after divergence) and the mean is that of the others.

    Args:
        columns: the table, a row a run.
        x: the column across: numbers in order, or anything else as names.
        y: the column upwards.
        value: a numeric column.
        centre: the value of no effect, drawn pale between two hues; `None` runs from low to high.

    Raises:
        ValueError: a column that is not there, columns of different length, no rows, or a `value`
            that is not numeric.
    """
    check_columns(columns, [x, y], value)
    across, upwards = levels(columns[x]), levels(columns[y])
    values = columns[value].astype(np.float64)
    cells = [
        [
            cell(values, (across.position == i) & (upwards.position == j))
            for i in range(len(across.labels))
        ]
        for j in range(len(upwards.labels))
    ]
    means = np.array([[c.interval.mean for c in row] for row in cells])
    marks = np.array([["*" if c.missing and c.known else "" for c in row] for row in cells])
    known = means[np.isfinite(means)]
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    if centre is not None:
        reach = max(abs(low - centre), abs(high - centre)) or 1.0
        low, high = centre - reach, centre + reach
    with house_style():
        sides = [min(max(0.55 * len(n.labels), 2.2), 6.5) for n in (across, upwards)]
        figure = new_figure(sides[0] + 2.2, sides[1] + 1.1)
        axes = figure.add_subplot()
        image = draw_heat(axes, means, low, high, "cividis" if centre is None else "PuOr", marks)
        axes.invert_yaxis()
        _ticks(axes.xaxis, x, across)
        _ticks(axes.yaxis, y, upwards)
        tilt_labels(axes, room=60)
        figure.colorbar(image, ax=axes, label=value).outline.set_visible(False)
    return figure


def _ticks(axis: Axis, name: str, found: Levels) -> None:
    step = -(-len(found.labels) // _NAMED)
    shown = range(0, len(found.labels), step)
    axis.set_ticks(list(shown), [shortened(found.labels[i]) for i in shown])
    axis.set_label_text(name)
