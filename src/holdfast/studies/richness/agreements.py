"""Whether gamma0* is the same for several settings."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from holdfast.records.intervals import UNKNOWN, Interval
from holdfast.studies.richness.curves import LEVEL, RESAMPLES, GammaCurve, resampled_means
from holdfast.studies.richness.optima import Optimum, refined_argmin


@dataclass(frozen=True)
class Agreement:
    """How far the optima of several curves agree; only interior ones are compared.

    Args:
        compared: how many have an interior optimum.
        of: how many curves there are.
        overlap: whether the intervals of gamma0* share a value; None of fewer than two.
        low: the smallest value they share, NaN without one.
        high: the largest.
        decades: log10 of the largest ratio of two gamma0* of the grid.
        refined_decades: likewise of the refined ones.
        shift: log10 of the refined gamma0* of the last curve over that of the first, with its
            interval over seeds, drawn for both together; NaN where either has no interior optimum.
    """

    compared: int
    of: int
    overlap: bool | None
    low: float
    high: float
    decades: float
    refined_decades: float
    shift: Interval


def agreement(
    curves: Sequence[GammaCurve],
    optima: Sequence[Optimum],
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Agreement:
    """How far the optima of curves agree.

    That intervals share a value is a weak form of agreement, the weaker the wider they are: read it
    with the ratio and the shift.

    Args:
        curves: average errors over the same seeds in the same order, in the order of a setting.
        optima: of each (see `holdfast.studies.richness.optimum`).
        level: of the shift's interval.
        resamples: number of draws.
        seed: of the draws.

    Raises:
        ValueError: no curves, or another number of optima or of seeds.
    """
    if not curves or len(curves) != len(optima):
        raise ValueError(f"each curve needs its optimum, got {len(curves)} and {len(optima)}")
    if len({len(curve.values) for curve in curves}) > 1:
        seeds = [len(curve.values) for curve in curves]
        raise ValueError(f"curves must be over the same seeds, got {seeds} of them")
    inside = [found for found in optima if found.interior]
    nan = float("nan")
    if len(inside) < 2:
        return Agreement(len(inside), len(optima), None, nan, nan, nan, nan, UNKNOWN)
    low = max(found.gamma0.low for found in inside)
    high = min(found.gamma0.high for found in inside)
    places = np.log10([[found.gamma0.mean, found.refined.mean] for found in inside])
    decades, refined = np.ptp(places, axis=0)
    shift = UNKNOWN
    if optima[0].interior and optima[-1].interior:
        first, last = (
            np.log10(refined_argmin(c.gamma0, resampled_means(c.values, resamples, seed)))
            for c in (curves[0].usable(), curves[-1].usable())
        )
        ends = np.quantile(last - first, [(1 - level) / 2, (1 + level) / 2])
        shift = Interval(float(places[-1, 1] - places[0, 1]), float(ends[0]), float(ends[1]))
    shared = low <= high
    return Agreement(
        len(inside),
        len(optima),
        shared,
        low if shared else nan,
        high if shared else nan,
        float(decades),
        float(refined),
        shift,
    )
