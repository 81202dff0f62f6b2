"""Final accuracies over orders of the tasks, a panel a method."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from holdfast.reports.style import (
    MARKERS,
    PALETTE,
    UNKNOWN,
    Colour,
    colours,
    house_style,
    new_figure,
    shortened,
    tilt_labels,
)
from holdfast.studies.order_robustness import Robustness

_NAMED = 20
"""Up to this many tasks the axis shows their names."""

_LOOK = tuple[Colour, str]


def fan_figure(methods: Mapping[str, Robustness]) -> Figure:
    """The final accuracy on each task, a marker an order, over the range that seeds alone make.

    Tasks stand by their mean over the orders and methods, the hardest first, at the same places in
    each panel. The line of a task spans its OPD; the grey bar behind is as long as its noise floor,
    about the middle of the range. A marker with a ring is of the order that the task began. Titles
    tell AOPD and its excess over the floor.

    Args:
        methods: what was measured of each, by its label; over the same tasks.

    Raises:
        ValueError: no methods, or different tasks.
    """
    tasks = _tasks(methods)
    means = {label: _by_task(method, tasks) for label, method in methods.items()}
    by_mean = np.mean([table.mean(axis=0) for table in means.values()], axis=0).argsort()
    with house_style():
        figure, panels = _panels(methods, max(2.4, min(4.6, 0.24 * len(tasks))))
        for axes, (label, method) in zip(panels, methods.items(), strict=True):
            found = method.disparities.average
            axes.set_title(f"{shortened(label)}: {_told(found.value.mean, found.excess.mean)}")
            _draw_fan(axes, method, tasks, by_mean.tolist())
        names = [shortened(tasks[t]) for t in by_mean]
        for axes in panels:
            if len(tasks) <= _NAMED:
                axes.set_xticks(range(len(tasks)), names)
                axes.tick_params("x", labelsize=7)
                tilt_labels(axes, room=0)
        figure.supylabel("final accuracy", size=9)
        _legend(figure, methods)
    return figure


def course_figure(methods: Mapping[str, Robustness]) -> Figure:
    """Mean accuracy on the tasks seen, after each task, a line an order.

    Means over seeds. At the last task all orders have seen the same.

    Args:
        methods: as in `fan_figure`.

    Raises:
        ValueError: no methods, or different tasks.
    """
    tasks = _tasks(methods)
    with house_style():
        figure, panels = _panels(methods, 2.6)
        for axes, (label, method) in zip(panels, methods.items(), strict=True):
            axes.set_title(shortened(label))
            looks = _looks(method.finals.orders)
            for order, (colour, marker) in enumerate(looks):
                course = method.finals.course[order].mean(axis=0)
                many = len(tasks) > _NAMED
                axes.plot(
                    range(1, len(tasks) + 1),
                    course,
                    color=colour,
                    marker="" if many else marker,
                    linewidth=1,
                )
        figure.supxlabel("tasks learned", size=9)
        figure.supylabel("mean accuracy on them", size=9)
        _legend(figure, methods)
    return figure


def _draw_fan(axes: Axes, method: Robustness, tasks: Sequence[str], by_mean: list[int]) -> None:
    finals = _by_task(method, tasks)
    at = [method.finals.tasks.index(task) for task in tasks]
    for x, t in enumerate(by_mean):
        low, high = finals[:, t].min(), finals[:, t].max()
        floor, middle = method.disparities.tasks[at[t]].floor, (low + high) / 2
        axes.vlines(x, middle - floor / 2, middle + floor / 2, color=UNKNOWN, linewidth=7)
        axes.vlines(x, low, high, color="0.4", linewidth=1)
    looks = _looks(method.finals.orders)
    size = 4.0 if len(tasks) <= _NAMED else 2.0
    for order, (colour, marker) in enumerate(looks):
        shown = finals[order, by_mean]
        axes.plot(range(len(by_mean)), shown, marker, color=colour, markersize=size)
        first = method.finals.place[order, at].argmin()
        axes.plot(
            by_mean.index(int(first)),
            finals[order, first],
            "o",
            color=colour,
            markerfacecolor="none",
            markersize=2.2 * size,
        )


def _by_task(method: Robustness, tasks: Sequence[str]) -> np.ndarray:
    """(orders, tasks) means over seeds, the tasks in this order."""
    return method.finals.means[:, [method.finals.tasks.index(task) for task in tasks]]


def _tasks(methods: Mapping[str, Robustness]) -> tuple[str, ...]:
    if not methods:
        raise ValueError("methods must name one or more, got none")
    first = next(iter(methods.values())).finals.tasks
    for label, method in methods.items():
        if set(method.finals.tasks) != set(first):
            raise ValueError(f"methods must be over the same tasks, {label!r} is over others")
    return first


def _panels(methods: Mapping[str, Robustness], width: float) -> tuple[Figure, list[Axes]]:
    columns = min(len(methods), 4 if width < 3 else 3)
    rows = -(-len(methods) // columns)
    figure = new_figure(max(4.4, columns * width + 0.4) + 1.2, 2.7 * rows + 0.4)
    grid = figure.subplots(rows, columns, sharey=True, squeeze=False).ravel().tolist()
    for left_over in grid[len(methods) :]:
        left_over.remove()
    return figure, grid[: len(methods)]


def _looks(orders: Sequence[str]) -> list[_LOOK]:
    return [
        (colour, MARKERS[i] if len(orders) <= len(PALETTE) else ".")
        for i, colour in enumerate(colours(len(orders)))
    ]


def _legend(figure: Figure, methods: Mapping[str, Robustness]) -> None:
    orders = next(iter(methods.values())).finals.orders
    axes = figure.axes[0]
    handles = [
        axes.plot([], [], marker, color=colour, label=shortened(order))[0]
        for order, (colour, marker) in zip(orders, _looks(orders), strict=True)
    ]
    figure.legend(handles=handles, loc="outside right upper", title="order")


def _told(value: float, excess: float) -> str:
    return f"AOPD {value:.3f}" + ("" if np.isnan(excess) else f" ({excess:+.3f})")
