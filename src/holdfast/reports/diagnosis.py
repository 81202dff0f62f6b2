"""Warm starts beside fresh ones, as curves and as gaps."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from holdfast.reports.style import (
    MARKERS,
    Colour,
    colours,
    house_style,
    new_figure,
    shortened,
)
from holdfast.studies.plasticity.diagnosis_arms import Compared
from holdfast.studies.plasticity.gap import first_of_last


def diagnosis_figure(found: Compared) -> Figure:
    """Test accuracy over the epochs of the new phase, and the gap of each arm to fresh weights.

    On the left a line is the mean over seeds, a band its standard error, and the shaded part what
    accuracies are means over. On the right a dot is a pair of one seed, a marker the mean with its
    95 % interval; left of 0 an arm is worse than fresh weights.

    Args:
        found: as `holdfast.studies.plasticity.diagnose` gives it.

    Raises:
        ValueError: every run diverged.
    """
    arms = [arm for arm in found.arms if arm.curves.size]
    if not arms:
        raise ValueError("there is nothing to draw: every run diverged")
    looks = dict(zip((arm.label for arm in arms), colours(len(arms)), strict=True))
    with house_style():
        figure = new_figure(9.5, 1.9 + max(1.6, 0.32 * len(arms)))
        left, right = figure.subplots(1, 2)
        epochs = max(arm.curves.shape[1] for arm in arms)
        first = first_of_last(epochs)
        left.axvspan(first + 0.5, epochs + 0.5, color="0.93", linewidth=0)
        for place, arm in enumerate(arms):
            percent = 100 * arm.curves[~np.isnan(arm.curves).any(axis=1)]
            if not len(percent):
                continue
            at = np.arange(1, percent.shape[1] + 1)
            mean = percent.mean(axis=0)
            colour = looks[arm.label]
            left.plot(at, mean, color=colour, label=shortened(arm.label, 28))
            if len(percent) > 1:
                error = percent.std(axis=0, ddof=1) / len(percent) ** 0.5
                left.fill_between(
                    at, mean - error, mean + error, color=colour, alpha=0.15, linewidth=0
                )
            if arm.label != found.arms[0].label:
                _draw_gap(right, found, arm.label, place, colour)
        left.set(xlabel="epoch on old and new data", ylabel="test accuracy, %")
        left.set_xlim(0.5, epochs + 0.5)
        left.xaxis.set_major_locator(MaxNLocator(integer=True))
        left.legend(fontsize=7)
        others = [(place, arm) for place, arm in enumerate(arms) if place]
        right.axvline(0, color="0.3", linewidth=0.8)
        right.set_yticks([p for p, _ in others], [shortened(arm.label, 28) for _, arm in others])
        right.set_ylim(len(arms) - 0.4, 0.4)
        right.grid(False, axis="y")
        right.set_xlabel("test accuracy less that of fresh weights, points")
    return figure


def _draw_gap(axes: Axes, found: Compared, label: str, place: int, colour: Colour) -> None:
    each = 100 * (found[label].accuracy - found.arms[0].accuracy)
    each = each[np.isfinite(each)]
    axes.plot(each, np.full(len(each), place + 0.18), ".", color="0.55", markersize=3.5)
    gap = found.gap(label)
    if np.isfinite(gap.low):
        axes.hlines(place, 100 * gap.low, 100 * gap.high, color=colour, linewidth=2)
    if np.isfinite(gap.mean):
        axes.plot(100 * gap.mean, place, MARKERS[place % len(MARKERS)], color=colour)
