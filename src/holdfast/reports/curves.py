"""The course of a run: training loss and test results over updates."""

import numpy as np
from jaxtyping import Float
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, StrMethodFormatter

from holdfast.records.record import Record
from holdfast.reports.matrix import quantity_of, title_of
from holdfast.reports.style import PALETTE, colours, house_style, new_figure, shortened

_CROWDED = 20
"""Above this many tasks only the ends of tasks are drawn: more could not be discerned."""


def curves_figure(record: Record) -> Figure:
    """Training loss of each epoch, and the test result on each task since it was met.

    Dots are results at the ends of tasks; between them lie the evaluations within tasks, if there
    are any. Vertical lines part the tasks. With more tasks than colours can tell apart these are a
    ramp, and a black line is the mean over the tasks met so far.
    """
    count = len(record.tasks)
    ends = [
        max((entry["step"] for entry in record.curve if entry["task"] == task), default=None)
        for task in range(count)
    ]
    few = count <= len(PALETTE)
    with house_style():
        figure = new_figure(8.0, 5.0)
        figure.suptitle(title_of(record), x=0.02, ha="left", size=10)
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(2, 3))
        _draw_training(upper, record)
        if not record.curve:
            upper.text(0.5, 0.5, "no epoch has ended", transform=upper.transAxes, ha="center")
        for task, colour in enumerate(colours(count)):
            steps, values, at_end = _results(record, task, ends)
            lower.plot(steps, values, color=colour, linewidth=1.4 if few else 0.8)
            lower.plot(steps[at_end], values[at_end], "o", color=colour, markersize=4 if few else 2)
        if not few:
            _draw_mean(lower, record, ends)
        quantity = quantity_of(record)
        lower.set(xlabel="updates", ylabel=f"test {quantity}")
        if quantity == "accuracy":
            lower.set_ylim(-0.03, 1.03)
        for axes in (upper, lower):
            axes.grid(False, axis="x")
            for end in ends[:-1] if count <= _CROWDED else ():
                if end is not None:
                    axes.axvline(end, color="0.8", linewidth=0.8, zorder=0)
        _name_tasks(figure, lower, record)
    return figure


def _draw_training(axes: Axes, record: Record) -> None:
    """The loss of each epoch, a line a task."""
    losses = np.array([entry["loss"] for entry in record.curve], dtype=np.float64)
    steps = np.array([entry["step"] for entry in record.curve], dtype=np.float64)
    owners = np.array([entry["task"] for entry in record.curve])
    for task in np.unique(owners):
        mine = owners == task
        axes.plot(steps[mine], losses[mine], ".-", color="0.25", markersize=3, linewidth=1)
    axes.set_ylabel("training loss")
    known = losses[np.isfinite(losses)]
    if len(known) and known.min() > 0 and known.max() > 30 * known.min():
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())


def _results(
    record: Record, task: int, ends: list[int | None]
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"], np.ndarray]:
    """Updates, results on `task` then, and whether a task ended there; from when `task` began."""
    quantity = quantity_of(record)
    matrix = getattr(record, quantity)
    within = record.evaluations if len(record.tasks) <= _CROWDED else []
    points = [(e["step"], False, e[quantity][task]) for e in within if e["task"] >= task]
    points += [(end, True, matrix[i, task]) for i, end in enumerate(ends) if end and i >= task]
    # By step alone; where a task ends, what was measured within it comes first.
    points.sort(key=lambda point: point[:2])
    steps, at_end, values = (
        (list(part) for part in zip(*points, strict=True)) if points else ([],) * 3
    )
    return (
        np.array(steps, dtype=np.float64),
        np.array(values, dtype=np.float64),
        np.array(at_end, dtype=bool),
    )


def _draw_mean(axes: Axes, record: Record, ends: list[int | None]) -> None:
    matrix = getattr(record, quantity_of(record))
    means = [matrix[i, : i + 1].mean() for i, end in enumerate(ends) if end is not None]
    steps = [end for end in ends if end is not None]
    axes.plot(steps, means, color="black", linewidth=2, label="mean of tasks met")
    axes.legend(loc="lower left", frameon=True, framealpha=0.85, edgecolor="none")


def _name_tasks(figure: Figure, axes: Axes, record: Record) -> None:
    """A legend where the palette tells the tasks apart, else the ramp as a scale."""
    count = len(record.tasks)
    if count <= len(PALETTE):
        handles = [
            axes.plot([], [], "o-", color=colour, markersize=4, label=shortened(task))[0]
            for task, colour in zip(record.tasks, colours(count), strict=True)
        ]
        figure.legend(handles=handles, loc="outside right center", title="task")
        return
    # Cells centred on the positions of the tasks, in the very colours of the lines.
    steps = ListedColormap([colormaps["viridis"](0.95 * i / (count - 1)) for i in range(count)])
    scale = ScalarMappable(cmap=steps)
    scale.set_clim(-0.5, count - 0.5)
    figure.colorbar(scale, ax=figure.axes, label="task", shrink=0.6).outline.set_visible(False)
