"""Error and forgetting against gamma0, with the optimum and the transition of each curve."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from holdfast.records.intervals import Interval
from holdfast.reports.cells import Cell, Levels, cell
from holdfast.reports.line import Line, draw_line, value_ticks
from holdfast.reports.style import MARKERS, PALETTE, colours, house_style, new_figure, shortened
from holdfast.studies.axes import Field
from holdfast.studies.richness.curves import GammaCurve

Mark = tuple[Interval, bool]
"""A place on the axis of gamma0 with its interval, and whether it is sure (else drawn hollow)."""

_PANEL, _ROW, _LETTER = 2.3, 0.17, 0.072
"""Height of a panel, that of a row of marks beneath it, and width of a letter, in inches."""


def gamma_figure(
    x: str,
    panels: Mapping[str, Sequence[GammaCurve]],
    marks: Mapping[str, Mapping[str, Sequence[Mark]]] | None = None,
    title: str = "",
    level: float = 0.95,
) -> Figure:
    """A panel a metric over a common logarithmic axis, a line a curve with its intervals.

    A band is the bootstrap interval of the mean over seeds. Where some seeds have no value a point
    is hollow and a mean of the others. In the strips beneath a panel each curve has a row: a marker
    where the place is, and a bar over its interval; a hollow marker is a place that is not sure,
    and of a curve without a place the row is empty.

    Args:
        x: name of the axis.
        panels: the curves by metric; the same curves in each.
        marks: rows of marks by metric and by what they are, such as ``optimum``, one a curve.
        title: of the whole.
        level: of the intervals.

    Raises:
        ValueError: no metric, no curves, or panels or marks of different curves.
    """
    marks = marks or {}
    curves = _checked(panels, marks)
    heights: list[float] = []
    for metric in panels:
        heights += [_PANEL, *[0.16 + _ROW * len(curves)] * len(marks.get(metric, {}))]
    with house_style():
        figure = new_figure(5.9 + legend_width(curves), 0.7 + sum(heights))
        if title:
            figure.suptitle(title, x=0.02, ha="left", size=10)
        grid = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights, squeeze=False)
        rows = iter(grid[:, 0])
        for metric, found in panels.items():
            panel, lines = next(rows), curve_lines(found, level)
            for line in lines:
                draw_line(panel, line, banded=True)
            panel.set_ylabel(metric)
            if any(point.missing and point.known for line in lines for point in line.cells):
                _note(panel, "hollow: not every run has a value")
            for name, places in marks.get(metric, {}).items():
                _draw_marks(next(rows), name, places, lines)
        every = [curve for found in panels.values() for curve in found]
        _name_values(grid[-1, 0], x, every)
        add_legend(figure, grid[0, 0], curves, lines)
    return figure


def curve_lines(curves: Sequence[GammaCurve], level: float) -> list[Line]:
    """Curves as lines of colours and markers of their own, labelled by the values of settings."""
    count = len(curves)
    markers = MARKERS if count <= len(PALETTE) else ["."] * count
    return [
        Line(curve.gamma0, _cells(curve, level), colour, marker, _values(curve))
        for curve, colour, marker in zip(curves, colours(count), markers, strict=False)
    ]


def legend_width(curves: Sequence[GammaCurve]) -> float:
    """Inches that `add_legend` takes."""
    if not curves[0].settings:
        return 0.0
    return 0.6 + _LETTER * max(len(_names(curves)), *(len(_values(c)) for c in curves))


def add_legend(
    figure: Figure, axes: Axes, curves: Sequence[GammaCurve], lines: Sequence[Line]
) -> None:
    """The lines by the values of their settings, whose names are the title, if they have any."""
    if not curves[0].settings:
        return
    handles = [
        axes.plot([], [], color=line.colour, marker=line.marker, label=line.label)[0]
        for line in lines
    ]
    figure.legend(handles=handles, loc="outside right upper", title=_names(curves))


def _names(curves: Sequence[GammaCurve]) -> str:
    return shortened(", ".join(key.rpartition(".")[2] for key in curves[0].settings), 28)


def _values(curve: GammaCurve) -> str:
    def text(value: Field) -> str:
        return value if isinstance(value, str) else f"{value:g}"

    return shortened(", ".join(map(text, curve.settings.values())), 28)


def _cells(curve: GammaCurve, level: float) -> list[Cell]:
    everyone = np.ones(len(curve.values), dtype=bool)
    known = np.where(np.isfinite(curve.values), curve.values, np.nan)
    return [cell(column, everyone, level) for column in known.T]


def _draw_marks(axes: Axes, name: str, places: Sequence[Mark], lines: Sequence[Line]) -> None:
    """A row a curve, from the top; what is not sure is the least value of a curve."""
    for row, ((place, sure), line) in enumerate(zip(places, lines, strict=True)):
        axes.plot([place.low, place.high], [row, row], color=line.colour, linewidth=2.5, alpha=0.45)
        face = line.colour if sure else "white"
        axes.plot(place.mean, row, line.marker, color=line.colour, markerfacecolor=face)
    axes.set(ylim=(len(lines) - 0.4, -0.6), yticks=[])
    axes.set_ylabel(name.replace("_", "\n"), rotation=0, ha="right", va="center", size=8)
    axes.grid(False, axis="y")
    if not all(sure for _, sure in places):
        _note(axes, "hollow: the least value, not shown to be an optimum inside this range")


def _note(axes: Axes, text: str) -> None:
    axes.set_title(text, loc="left", size=8, color="0.35")


def _name_values(axes: Axes, x: str, curves: Sequence[GammaCurve]) -> None:
    """The common axis, with a tick at each value where they have room."""
    grid = np.unique(np.concatenate([curve.gamma0 for curve in curves]))
    axes.set_xscale("log")
    labels = [f"{value:.2g}" for value in grid]
    value_ticks(axes, Levels(np.arange(len(grid)), labels, grid), logarithmic=True)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel(x)


def _checked(
    panels: Mapping[str, Sequence[GammaCurve]],
    marks: Mapping[str, Mapping[str, Sequence[Mark]]],
) -> Sequence[GammaCurve]:
    """The curves of the first panel."""
    if not panels or not all(panels.values()):
        raise ValueError(f"panels must name metrics with their curves, got {dict(panels)}")
    settings = [[dict(curve.settings) for curve in curves] for curves in panels.values()]
    if any(found != settings[0] for found in settings):
        raise ValueError(f"panels must hold the same curves, got {settings}")
    for metric, strips in marks.items():
        if metric not in panels:
            raise ValueError(f"marks are for {metric!r}; the panels are {', '.join(panels)}")
        for name, places in strips.items():
            if len(places) != len(settings[0]):
                raise ValueError(
                    f"{name} must have a mark for each of {len(settings[0])} curves, "
                    f"got {len(places)}"
                )
    return next(iter(panels.values()))
