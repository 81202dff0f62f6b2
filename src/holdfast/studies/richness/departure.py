"""The lazy-rich transition as the place where forgetting leaves its plateau."""

import numpy as np
from jaxtyping import Bool, Float, Int

from holdfast.records.intervals import Interval
from holdfast.studies.richness.curves import (
    LEVEL,
    RESAMPLES,
    Grid,
    Values,
    check_curve,
    finite_columns,
    resampled_means,
)
from holdfast.studies.richness.transitions import (
    FLOOR,
    PLATEAU,
    Transition,
    ends_of,
    nothing,
    plateau_error,
)

_TILT = 0.1
"""The plateau may change by this part of what the whole curve spans and still be one."""


def plateau_departure(
    gamma0: Grid,
    cfr: Values,
    k: float = 2.0,
    floor: float = FLOOR,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Transition:
    """First gamma0 at which forgetting has left the lazy plateau by k standard errors.

    The plateau of a seed is its mean over the three smallest gamma0 at which every seed has a
    finite value, and d_j is the mean over seeds of their value at gamma0_j above their own plateau.
    With s2 the variance within plateaus, about seed and gamma0 both, the standard error of d_j is
    sqrt(max(var_j, 4/3 s2) / n): of few seeds some agree by chance, and the variance at one gamma0
    alone would be too small. The transition is the first gamma0_j behind the plateau with
    d_j > max(k se_j, floor) there and at the next gamma0, if there is one.

    There is no plateau where the last of the three differs from the first by more than k standard
    errors, the floor, and a tenth of what the mean curve spans. Intervals are over seeds drawn
    anew, the thresholds as they are.

    Args:
        gamma0: (g,) positive, ascending.
        cfr: (seeds, g) relative forgetting; NaN where a run diverged.
        k: number of standard errors.
        floor: a rise smaller than this is none.
        level: of the interval.
        resamples: number of draws.
        seed: of the draws.

    Raises:
        ValueError: see `check_curve`; a negative `k` or `floor`.

    >>> grid = np.array([0.01, 0.03, 0.1, 0.3, 1.0])
    >>> cfr = np.array([[0.00, 0.01, 0.00, 0.01, 0.2], [0.01, 0.00, 0.01, 0.00, 0.3]])
    >>> plateau_departure(grid, cfr).gamma0.mean
    1.0
    """
    check_curve(gamma0, cfr, "cfr")
    for name, given in (("k", k), ("floor", floor)):
        if not given >= 0:
            raise ValueError(f"{name} must be 0 or more, got {given}")
    kept = finite_columns(cfr)
    grid, values = gamma0[kept], cfr[:, kept]
    if len(values) < 2 or len(grid) < PLATEAU + 1:
        return nothing("undecided")
    above = values - values[:, :PLATEAU].mean(axis=1, keepdims=True)
    threshold = np.maximum(k * _standard_errors(above), floor)
    mean = above.mean(axis=0)
    tilt = above[:, PLATEAU - 1] - above[:, 0]
    allowed = k * max(float(tilt.std(ddof=1)) / len(tilt) ** 0.5, 2**0.5 * plateau_error(above))
    if abs(tilt.mean()) > max(allowed, floor, _TILT * float(np.ptp(mean))):
        return nothing("no plateau")
    place = int(_first_exceeding(mean[None], threshold)[0])
    if place == len(grid):
        falls = _first_exceeding(-mean[None], threshold)[0] < len(grid)
        return nothing("falls" if falls else "none")
    found = _first_exceeding(resampled_means(above, resamples, seed), threshold)
    found = found[found < len(grid)]
    ends = ends_of(grid[found], level)
    return Transition(
        Interval(float(grid[place]), *ends),
        len(found) / resamples,
        "found",
        float(mean[place]),
        float(threshold[place]),
    )


def _standard_errors(above: Values) -> Grid:
    """Of the mean height above the plateau, one a gamma0."""
    pooled = plateau_error(above) ** 2 * (1 + 1 / PLATEAU)
    return np.sqrt(np.maximum(above.var(axis=0, ddof=1) / len(above), pooled))


def _first_exceeding(
    heights: Float[np.ndarray, "rows gammas"], threshold: Grid
) -> Int[np.ndarray, " rows"]:
    """Of each row, the first place behind the plateau above the threshold there and at the next.

    The number of places where there is none.
    """
    out: Bool[np.ndarray, "rows gammas"] = heights > threshold
    out[:, :-1] &= out[:, 1:]
    out[:, :PLATEAU] = False
    return np.where(out.any(axis=1), out.argmax(axis=1), out.shape[1])
