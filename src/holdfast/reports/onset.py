"""Loss and accuracy after a task switch, a line a start."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, NullLocator, StrMethodFormatter

from holdfast.records.within import Part
from holdfast.reports.style import PALETTE, house_style, new_figure, shortened
from holdfast.studies.good_start import StartCourse
from holdfast.studies.richness.curves import Values, resampled_means

_RESAMPLES = 2000

_TITLES: dict[Part, str] = {"all": "all classes seen", "new": "new classes", "old": "old classes"}


def onset_figure(
    courses: Mapping[str, StartCourse], title: str = "", level: float = 0.95
) -> Figure:
    """Loss above and accuracy below, on all, new and old classes, against updates since the switch.

    A line is the mean over seeds, a band its bootstrap interval, whole runs drawn anew together.
    The axis is linear up to the first evaluation after the switch and logarithmic from there on, so
    that what is there before the first update has its place. Losses are on a logarithmic axis where
    they span more than a factor 30.

    Args:
        courses: by start, in the order of the legend.
        title: of the whole.
        level: of the intervals.

    Raises:
        ValueError: no courses.
    """
    if not courses:
        raise ValueError("courses must name one or more starts, got none")
    with house_style():
        figure = new_figure(10.5, 5.2)
        if title:
            figure.suptitle(title, x=0.02, ha="left", size=10)
        grid = figure.subplots(2, 3, sharex=True, sharey="row")
        for column, (part, name) in enumerate(_TITLES.items()):
            grid[0, column].set_title(name)
            grid[1, column].set_xlabel("updates since the switch")
            for (start, course), look in zip(courses.items(), _looks(len(courses)), strict=True):
                label = shortened(start, 24) + (f" ({course.lost} lost)" if course.lost else "")
                _draw(grid[0, column], course, course.loss[part], look, label, level)
                _draw(grid[1, column], course, course.accuracy[part], look, label, level)
        _scale_updates(grid[0, 0], [course.steps for course in courses.values()])
        _scale_losses(grid[0, 0], [values for c in courses.values() for values in c.loss.values()])
        grid[0, 0].set_ylabel("loss")
        grid[1, 0].set_ylabel("accuracy")
        figure.legend(
            *grid[0, 0].get_legend_handles_labels(), loc="outside right upper", title="start"
        )
    return figure


def _looks(count: int) -> list[tuple[str, str]]:
    """Colour and stroke of each line: a palette once in full lines, then in broken ones."""
    strokes = ("-", "--", ":", "-.")
    return [
        (PALETTE[i % len(PALETTE)], strokes[i // len(PALETTE) % len(strokes)]) for i in range(count)
    ]


def _draw(
    axes: Axes,
    course: StartCourse,
    values: Values,
    look: tuple[str, str],
    label: str,
    level: float,
) -> None:
    colour, stroke = look
    axes.plot(course.steps, values.mean(axis=0), color=colour, linestyle=stroke, label=label)
    if len(values) > 1:
        means = resampled_means(values, _RESAMPLES)
        low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2], axis=0)
        axes.fill_between(course.steps, low, high, color=colour, alpha=0.15, linewidth=0)


def _scale_updates(axes: Axes, steps: Sequence[np.ndarray]) -> None:
    later = np.concatenate(steps)
    later = later[later > 0]
    if not len(later):
        return
    first, last = int(later.min()), int(later.max())
    axes.set_xlim(0, last)
    if last > 10 * first:
        axes.set_xscale("symlog", linthresh=first)
        decades = [10**e for e in range(9) if first <= 10**e <= last]
        axes.set_xticks([0, *decades])
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.xaxis.set_minor_locator(NullLocator())


def _scale_losses(axes: Axes, losses: Sequence[Values]) -> None:
    means = np.concatenate([values.mean(axis=0) for values in losses])
    known = means[np.isfinite(means)]
    if len(known) and known.min() > 0 and known.max() > 30 * known.min():
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
