"""The richness at which the average error is least: gamma0*."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from holdfast.records.intervals import UNKNOWN, Interval, mean_interval
from holdfast.studies.richness.curves import (
    LEVEL,
    RESAMPLES,
    Grid,
    StableRange,
    Values,
    check_curve,
    finite_columns,
    left_out_means,
    resampled_means,
    stable_range,
)

Where = Literal["interior", "lower end", "upper end", "flat", "undecided", "unstable"]

_VERDICTS: dict[Where, str] = {
    "interior": "interior",
    "lower end": "no interior optimum in this range: the lower end is not told from the best",
    "upper end": "no interior optimum in this range: the upper end is not told from the best",
    "flat": "no interior optimum in this range: flat, neither end is told from the best",
    "undecided": "undecided: that takes two seeds and three gamma0",
    "unstable": "none: at no gamma0 has every seed a finite value",
}


@dataclass(frozen=True)
class Optimum:
    """gamma0* of a curve, and how far to trust it.

    Args:
        gamma0: argmin of the mean error on the grid, the smallest of equals, with its interval: a
            value of the grid, and so are the ends.
        refined: the vertex of the parabola in log gamma0 through the mean errors at `gamma0` and
            its two neighbours; equal to `gamma0` where that has but one.
        error: mean error at `gamma0`.
        lower_excess: by how much the error at the lower end of the stable range is above the least;
            the place of the least is chosen on the other seeds.
        upper_excess: likewise of the upper end.
        where: ``interior`` where both intervals of excess lie above 0; the end whose interval does
            not; ``flat`` where neither does; ``undecided`` of one seed or of fewer than three
            usable gamma0; ``unstable`` without any.
        stable: how far gamma0 may go.
    """

    gamma0: Interval
    refined: Interval
    error: Interval
    lower_excess: Interval
    upper_excess: Interval
    where: Where
    stable: StableRange

    @property
    def interior(self) -> bool:
        """Whether the error is known to rise towards both ends."""
        return self.where == "interior"

    @property
    def verdict(self) -> str:
        """Where the optimum lies, in words."""
        return _VERDICTS[self.where]


def optimum(
    gamma0: Grid, ae: Values, level: float = LEVEL, resamples: int = RESAMPLES, seed: int = 0
) -> Optimum:
    """gamma0*, the argmin over gamma0 of the average error, with bootstrap intervals over seeds.

    Seeds are drawn anew with replacement, each with its errors at all gamma0, and the argmin is
    taken of each draw; the ends are the (1 -+ level) / 2 quantiles. Only gamma0 at which every seed
    has a finite error count. An argmin there always is; `Optimum.where` says whether it is an
    optimum. To that end each seed in turn is left out, the argmin m of the others chosen, and the
    error of the seed left out at either end of the range compared with its error at m, lest the
    least of many noisy means look better than it is.

    Args:
        gamma0: (g,) positive, ascending.
        ae: (seeds, g) average error, or anything to be small; NaN where a run diverged.
        level: of the intervals. Of fewer than about ten seeds they are too narrow.
        resamples: number of draws.
        seed: of the draws.

    Raises:
        ValueError: see `check_curve`.

    >>> grid = np.array([0.01, 0.1, 1.0])
    >>> found = optimum(grid, np.array([[0.4, 0.2, 0.3], [0.4, 0.2, 0.4]]))
    >>> found.gamma0.mean, found.where
    (0.1, 'interior')
    """
    check_curve(gamma0, ae, "ae")
    stable, kept = stable_range(gamma0, ae), finite_columns(ae)
    if not kept.any():
        return Optimum(UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, "unstable", stable)
    grid, errors = gamma0[kept], ae[:, kept]
    mean = errors.mean(axis=0)
    best = int(mean.argmin())
    place = Interval(float(grid[best]), float("nan"), float("nan"))
    refined = Interval(float(refined_argmin(grid, mean[None])[0]), float("nan"), float("nan"))
    lower = upper = UNKNOWN
    if len(errors) > 1:
        means = resampled_means(errors, resamples, seed)
        ends = [(1 - level) / 2, (1 + level) / 2]
        found = grid[means.argmin(axis=1)]
        place = Interval(place.mean, *map(float, np.quantile(found, ends, method="inverted_cdf")))
        sharper = np.quantile(refined_argmin(grid, means), ends)
        refined = Interval(refined.mean, *map(float, sharper))
        chosen = left_out_means(errors).argmin(axis=1)
        least = errors[np.arange(len(errors)), chosen]
        lower = mean_interval(errors[:, 0] - least, level, resamples, seed)
        upper = mean_interval(errors[:, -1] - least, level, resamples, seed)
    where = _where(len(errors), len(grid), lower, upper)
    error = mean_interval(errors[:, best], level, resamples, seed)
    return Optimum(place, refined, error, lower, upper, where, stable)


def refined_argmin(
    gamma0: Grid, means: Float[np.ndarray, "rows gammas"]
) -> Float[np.ndarray, " rows"]:
    """Of each row, the vertex of the parabola in log gamma0 through its least value and neighbours.

    It lies between the neighbours. At an end of the grid, or where the three are equal, the place
    of the least value itself.
    """
    best = means.argmin(axis=1)
    if len(gamma0) < 3:
        return gamma0[best]
    x = np.log(gamma0)
    middle = np.clip(best, 1, len(gamma0) - 2)
    rows = np.arange(len(means))
    left, right = x[middle - 1] - x[middle], x[middle + 1] - x[middle]
    # Through (0, 0), (left, down) and (right, up): a x^2 + b x with vertex -b / 2a.
    down = means[rows, middle - 1] - means[rows, middle]
    up = means[rows, middle + 1] - means[rows, middle]
    bend = (down / left - up / right) / (left - right)
    slope = down / left - bend * left
    curved = (best == middle) & (bend > 0)
    vertex = np.divide(-slope, 2 * bend, out=np.zeros(len(means)), where=curved)
    return np.where(curved, gamma0[middle] * np.exp(vertex), gamma0[best])


def _where(seeds: int, points: int, lower: Interval, upper: Interval) -> Where:
    if seeds < 2 or points < 3:
        return "undecided"
    if lower.low > 0 and upper.low > 0:
        return "interior"
    if lower.low > 0:
        return "upper end"
    return "lower end" if upper.low > 0 else "flat"
