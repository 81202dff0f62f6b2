"""The result matrix of a run, as a heat map."""

from typing import Literal

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from holdfast.records.record import Record
from holdfast.reports.style import draw_heat, house_style, new_figure, shortened, tilt_labels

Quantity = Literal["accuracy", "loss"]

_NAMED = 20
"""Up to this many tasks the axes show their names, else numbers."""


def quantity_of(record: Record) -> Quantity:
    """What a run is judged by: the loss where there is no accuracy (regression)."""
    return "loss" if bool(np.isnan(record.accuracy).all()) else "accuracy"


def title_of(record: Record) -> str:
    """One line that says what the run was, and how it ended if not well."""
    count = len(record.tasks)
    tasks = f"{count} task{'s' if count > 1 else ''}"
    ending = "" if record.status == "complete" else f", {record.status}"
    return f"{record.scenario.replace('_', '-')}, {tasks}, seed {record.seed}{ending}"


def matrix_figure(record: Record, quantity: Quantity | None = None) -> Figure:
    """R[i, j]: a row a stage of training, a column a task tested on.

    The line parts the tasks seen from those still to come; grey was not measured.

    Args:
        record: of a run, finished or not.
        quantity: ``accuracy``, coloured on the full scale from 0 to 1, or ``loss``; by default the
            accuracy where there is one.
    """
    quantity = quantity or quantity_of(record)
    matrix: Float[np.ndarray, "tasks tasks"] = getattr(record, quantity)
    count = len(record.tasks)
    finite = matrix[np.isfinite(matrix)]
    high = float(finite.max(initial=0.0)) if quantity == "loss" else 1.0
    with house_style():
        side = min(max(0.52 * count, 2.4), 6.5)
        figure = new_figure(side + 2.1, side + 1.2)
        figure.suptitle(title_of(record), x=0.02, ha="left", size=10)
        axes = figure.add_subplot()
        ramp = "cividis" if quantity == "accuracy" else "cividis_r"
        image = draw_heat(axes, matrix, 0.0, high or 1.0, ramp)
        edge = np.repeat(np.arange(count + 1), 2) - 0.5
        axes.plot(edge[1:], edge[:-1], color="white", linewidth=1.5, solid_joinstyle="miter")
        axes.set(xlim=(-0.5, count - 0.5), ylim=(count - 0.5, -0.5), aspect="equal")
        axes.set(xlabel=f"test {quantity} on task", ylabel="after training on task")
        if count <= _NAMED:
            names = [shortened(task) for task in record.tasks]
            axes.set_xticks(range(count), names)
            axes.set_yticks(range(count), names)
            tilt_labels(axes, room=int(9 * side))
        else:
            step = next(s for s in (5, 10, 20, 50, 100, count) if count / s <= 12)
            axes.set_xticks(range(0, count, step))
            axes.set_yticks(range(0, count, step))
        figure.colorbar(image, ax=axes, shrink=0.9).outline.set_visible(False)
    return figure
