"""What is lost by taking gamma0 from a narrow copy instead of searching at the target width."""

from dataclasses import dataclass

import numpy as np

from holdfast.records.intervals import UNKNOWN, Interval, mean_interval
from holdfast.studies.richness.curves import (
    LEVEL,
    RESAMPLES,
    Grid,
    Values,
    check_curve,
    finite_columns,
    left_out_means,
    resampled_means,
)


@dataclass(frozen=True)
class Regret:
    """The error at a transferred gamma0 above the least one at the target.

    Args:
        gamma0: the transferred value.
        best: the value of least mean error at the target, the smallest of equals; NaN if at none
            has every seed a finite error.
        among: how many values were compared.
        value: mean error at `gamma0` minus that at `best`, never negative; NaN where `gamma0`
            diverged.
        held_out: the same with the best value chosen on the other seeds, which may be negative.
    """

    gamma0: float
    best: float
    among: int
    value: Interval
    held_out: Interval

    @property
    def told(self) -> bool:
        """Whether the interval of `value` lies above 0."""
        return self.value.low > 0


def regret(
    gamma0: Grid,
    ae: Values,
    chosen: float,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Regret:
    """mean_s AE_s(chosen) - min_g mean_s AE_s(g), over the gamma0 at which every seed has an error.

    Seeds are drawn anew with replacement, each with its errors at all gamma0, and the least is
    sought again in each draw; the ends are the (1 -+ level) / 2 quantiles. As the least of several
    noisy means looks better than it is, so this looks worse. `Regret.held_out` has no such bias:
    the error of each seed at `chosen` is compared with its error at the argmin of the other seeds.

    Args:
        gamma0: (g,) positive, ascending; what was run at the target.
        ae: (seeds, g) average error; NaN where a run diverged.
        chosen: a value of `gamma0`.
        level: of the intervals. Of fewer than about ten seeds they are too narrow.
        resamples: number of draws.
        seed: of the draws.

    Raises:
        ValueError: a `chosen` that is not among `gamma0`; see also `check_curve`.

    >>> found = regret(np.array([0.1, 0.3, 1.0]), np.array([[0.2, 0.1, 0.4], [0.3, 0.1, 0.4]]), 0.1)
    >>> found.best, round(found.value.mean, 3)
    (0.3, 0.15)
    """
    check_curve(gamma0, ae, "ae")
    if chosen not in gamma0:
        raise ValueError(f"chosen must be among {gamma0.tolist()}, got {chosen}")
    kept = finite_columns(ae)
    grid, errors = gamma0[kept], ae[:, kept]
    if not len(grid):
        return Regret(chosen, float("nan"), 0, UNKNOWN, UNKNOWN)
    mean = errors.mean(axis=0)
    best = float(grid[mean.argmin()])
    if chosen not in grid:
        return Regret(chosen, best, len(grid), UNKNOWN, UNKNOWN)
    at = int(np.flatnonzero(grid == chosen)[0])
    value = Interval(float(mean[at] - mean.min()), float("nan"), float("nan"))
    held_out = UNKNOWN
    if len(errors) > 1:
        means = resampled_means(errors, resamples, seed)
        ends = np.quantile(means[:, at] - means.min(axis=1), [(1 - level) / 2, (1 + level) / 2])
        value = Interval(value.mean, *map(float, ends))
        others = left_out_means(errors).argmin(axis=1)
        lost = errors[:, at] - errors[np.arange(len(errors)), others]
        held_out = mean_interval(lost, level, resamples, seed)
    return Regret(chosen, best, len(grid), value, held_out)
