"""A metric against a field of a study, as lines."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, StrMethodFormatter

from holdfast.reports.cells import Cell, Columns, Levels, cell, check_columns, levels
from holdfast.reports.style import (
    MARKERS,
    PALETTE,
    Colour,
    colours,
    house_style,
    new_figure,
    shortened,
    tilt_labels,
)


class Line(NamedTuple):
    """Cells at positions along an axis, and how they are drawn."""

    positions: Float[np.ndarray, " cells"]
    cells: Sequence[Cell]
    colour: Colour
    marker: str
    label: str


def line_figure(
    columns: Columns,
    x: str,
    y: str,
    group: str | None = None,
    interval: float = 0.95,
    log_x: bool | None = None,
) -> Figure:
    """Mean of `y` against `x`, a line a value of `group`, with bootstrap intervals over the rest.

    Rows that agree in `x` and `group` are repeats. Runs without a value (NaN, as after divergence)
    are left out of the mean; such points are hollow, since what is left may be the better half.

    Args:
        columns: the table, a row a run.
        x: the column along the axis: numbers, or anything else as names.
        y: a numeric column.
        group: the column that parts the lines; `None` draws one.
        interval: level of the interval (see `holdfast.records.mean_interval`), drawn as a band, or
            as bars over names.
        log_x: a logarithmic axis; by default for positive numbers over more than a factor 30.

    Raises:
        ValueError: a column that is not there, columns of different length, no rows, a `y` that is
            not numeric, or `log_x` without positive numbers.
    """
    check_columns(columns, [x] if group is None else [x, group], y)
    across = levels(columns[x])
    parts = levels(np.zeros(len(columns[y])) if group is None else columns[group])
    positive = across.numbers is not None and bool(across.numbers[0] > 0)
    if log_x and not positive:
        raise ValueError(f"log_x needs positive numbers in column {x!r}")
    if log_x is None and across.numbers is not None:
        log_x = positive and bool(across.numbers[-1] / across.numbers[0] > 30)
    values = columns[y].astype(np.float64)
    with house_style():
        figure = new_figure(5.2 if group is None else 6.6, 3.6)
        axes = figure.add_subplot()
        lines = []
        for i, colour in enumerate(colours(len(parts.labels))):
            cells = [
                cell(values, (parts.position == i) & (across.position == place), interval)
                for place in range(len(across.labels))
            ]
            # Over names the lines would hide each other's bars: they stand side by side.
            spread = 0.4 * ((i + 0.5) / len(parts.labels) - 0.5) if across.numbers is None else 0.0
            positions = _positions(across) + spread
            # Above the palette colours are a ramp, and a marker a line would only confuse.
            marker = MARKERS[i] if len(parts.labels) <= len(PALETTE) else "."
            lines.append(Line(positions, cells, colour, marker, shortened(parts.labels[i])))
        for line in lines:
            draw_line(axes, line, banded=across.numbers is not None)
        if log_x:
            axes.set_xscale("log")
        if across.numbers is None:
            axes.set_xlim(-0.5, len(across.labels) - 0.5)
        value_ticks(axes, across, bool(log_x))
        axes.set(xlabel=x, ylabel=y)
        if group is not None:
            handles = [
                axes.plot([], [], color=line.colour, marker=line.marker, label=line.label)[0]
                for line in lines
            ]
            many = len(handles) > 16
            figure.legend(
                handles=handles,
                loc="outside right upper",
                title=shortened(group),
                ncols=2 if many else 1,
                fontsize=7 if many else 9,
            )
        if any(cell.missing and cell.known for line in lines for cell in line.cells):
            axes.set_title("hollow: not every run has a value", loc="left", size=8, color="0.35")
    return figure


def _positions(across: Levels) -> Float[np.ndarray, " levels"]:
    if across.numbers is not None:
        return across.numbers
    return np.arange(len(across.labels), dtype=np.float64)


def draw_line(axes: Axes, line: Line, banded: bool) -> None:
    """Means joined, with a band over their intervals; or, of names, apart and with bars.

    The axis spans all positions, also those of which nothing is known.
    """
    # Without any mean a logarithmic axis would have no limits, and could not be drawn.
    axes.update_datalim([(x, 0.0) for x in line.positions], updatey=False)
    present = np.array([cell.known > 0 for cell in line.cells])
    where = line.positions[present]
    cells = [cell for cell in line.cells if cell.known]
    mean, low, high = np.array([cell.interval for cell in cells]).reshape(-1, 3).T
    axes.plot(where, mean, color=line.colour, linestyle="-" if banded else "")
    if banded:
        axes.fill_between(where, low, high, color=line.colour, alpha=0.18, linewidth=0)
    else:
        axes.vlines(where, low, high, color=line.colour, linewidth=1.5)
    for place, value, cell_ in zip(where, mean, cells, strict=True):
        face = "white" if cell_.missing else line.colour
        axes.plot(place, value, line.marker, color=line.colour, markerfacecolor=face)


def value_ticks(axes: Axes, across: Levels, logarithmic: bool) -> None:
    """A tick at each value where they have room, since these are what was run."""
    positions = _positions(across)
    scaled = np.log(positions) if logarithmic else positions
    roomy = len(scaled) <= 12 and (
        len(scaled) == 1 or np.diff(scaled).min() > 0.06 * (scaled[-1] - scaled[0])
    )
    if across.numbers is None or roomy:
        axes.set_xticks(positions, [shortened(label) for label in across.labels])
        tilt_labels(axes, room=48 if across.numbers is None else 60)
    elif logarithmic:
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    if logarithmic:
        axes.xaxis.set_minor_formatter(NullFormatter())
