"""What carrying on costs: gaps of all arms, the last phase, and losses over a long stream."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from holdfast.records.intervals import Interval
from holdfast.reports.style import MARKERS, colours, house_style, new_figure, shortened
from holdfast.studies.plasticity import PhaseCourse


def gap_figure(gaps: Mapping[str, Mapping[str, Interval]], reference: str) -> Figure:
    """The generalisation gap of each arm with its interval, a colour a condition.

    Of one arm under several conditions, a row a condition.

    Args:
        gaps: by condition and arm, as fractions; they are shown as points.
        reference: the arm they are differences to.

    Raises:
        ValueError: no gaps.
    """
    arms = list(dict.fromkeys(arm for of in gaps.values() for arm in of))
    if not arms:
        raise ValueError("gaps must hold one or more arms, got none")
    what = f"test accuracy less {reference}, points"
    if len(arms) == 1 < len(gaps):
        (arm,), what = arms, f"test accuracy of {arms[0]} less {reference}, points"
        gaps = {"": {label: of[arm] for label, of in gaps.items() if arm in of}}
        arms = list(gaps[""])
    with house_style():
        figure = new_figure(5.6, 1.0 + 0.34 * len(arms) * max(1.0, 0.5 * len(gaps)))
        axes = figure.add_subplot()
        axes.axvline(0, color="0.5", linewidth=1)
        for k, (label, colour) in enumerate(zip(gaps, colours(len(gaps)), strict=True)):
            offset = (k - (len(gaps) - 1) / 2) * 0.7 / len(gaps)
            for at, arm in enumerate(arms):
                gap = gaps[label].get(arm)
                if gap is None or np.isnan(gap.mean):
                    continue
                axes.hlines(at + offset, 100 * gap.low, 100 * gap.high, color=colour)
                marker = MARKERS[k % len(MARKERS)]
                axes.plot(100 * gap.mean, at + offset, marker, color=colour)
            axes.plot([], [], MARKERS[k % len(MARKERS)], color=colour, label=shortened(label, 30))
        axes.set_yticks(range(len(arms)), [shortened(arm, 30) for arm in arms])
        axes.set_ylim(len(arms) - 0.5, -0.5)
        axes.set_xlabel(what)
        if len(gaps) > 1:
            figure.legend(loc="outside right upper")
    return figure


def last_phase_figure(courses: Mapping[str, PhaseCourse], last: float, title: str = "") -> Figure:
    """The last phase of each arm: accuracy on test samples, and beside it on training batches.

    Args:
        courses: by arm.
        last: share of the phase that gaps are means over; it is shaded.
        title: of the figure.

    Raises:
        ValueError: no courses.
    """
    if not courses:
        raise ValueError("courses must hold one or more arms, got none")
    with house_style():
        figure = new_figure(8.4, 3.2)
        test, train = figure.subplots(1, 2)
        for (arm, course), colour in zip(courses.items(), colours(len(courses)), strict=True):
            test.plot(course.updates, course.accuracy, color=colour, label=shortened(arm, 30))
            train.plot(course.epochs, course.train_accuracy, color=colour)
        end = max(course.epochs[-1] for course in courses.values())
        for axes, name in ((test, "test accuracy"), (train, "training accuracy")):
            axes.axvspan((1 - last) * end, end, color="0.95", zorder=0)
            axes.set(xlabel="updates of the last phase", ylabel=name)
        figure.legend(loc="outside right upper")
        if title:
            figure.suptitle(title, size=10)
    return figure


def losses_figure(courses: Mapping[str, Float[np.ndarray, " tasks"]], title: str = "") -> Figure:
    """Training loss at the end of each task, a line an arm.

    Args:
        courses: (tasks,) by arm.
        title: of the figure.

    Raises:
        ValueError: no courses.
    """
    if not courses:
        raise ValueError("courses must hold one or more arms, got none")
    with house_style():
        figure = new_figure(6.4, 3.2)
        axes = figure.add_subplot()
        for (arm, losses), colour in zip(courses.items(), colours(len(courses)), strict=True):
            tasks = np.arange(1, len(losses) + 1)
            axes.plot(tasks, losses, color=colour, linewidth=1.2, label=shortened(arm, 30))
        axes.set(xlabel="task", ylabel="training loss in its last epoch")
        if all((losses > 0).all() for losses in courses.values()):
            axes.set_yscale("log")
        figure.legend(loc="outside right upper")
        if title:
            figure.suptitle(title, size=10)
    return figure
