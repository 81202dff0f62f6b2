"""The lazy-rich transition as the place where forgetting rises most steeply."""

import numpy as np
from jaxtyping import Float
from numpy.lib.stride_tricks import sliding_window_view

from holdfast.records.intervals import Interval, mean_interval
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
from holdfast.studies.richness.transitions import (
    FLOOR,
    PLATEAU,
    Transition,
    ends_of,
    nothing,
    plateau_error,
)


def steepest_slope(
    gamma0: Grid,
    cfr: Values,
    floor: float | None = None,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Transition:
    """Where log forgetting rises most steeply in log gamma0.

    The slope at a gamma0 is that of the least-squares line through log max(CFr, floor) there and
    at both neighbours, CFr a mean over seeds. Forgetting may be zero or slightly negative; the
    floor keeps its logarithm from making much of nothing, and the steepest place depends on it. By
    default it is the larger of 0.001 and twice the standard error within the plateau (see
    `plateau_departure`). There is no transition where the slope is nowhere positive, nor where
    forgetting beyond the place exceeds that before it by less than the floor, or by an interval
    that holds 0 (each seed is judged at the place the others choose). A power law is equally steep
    everywhere: the interval then spans the range.

    Args:
        gamma0: (g,) positive, ascending.
        cfr: (seeds, g) relative forgetting; NaN where a run diverged.
        floor: smallest forgetting that counts, positive.
        level: of the interval.
        resamples: number of draws.
        seed: of the draws.

    Raises:
        ValueError: see `check_curve`; a floor that is not positive.

    >>> grid = np.array([0.01, 0.03, 0.1, 0.3, 1.0, 3.0])
    >>> steepest_slope(grid, np.array([[0.01, 0.01, 0.01, 0.1, 0.3, 0.35]] * 2)).gamma0.mean
    0.3
    """
    check_curve(gamma0, cfr, "cfr")
    if floor is not None and not floor > 0:
        raise ValueError(f"floor must be positive, got {floor}")
    kept = finite_columns(cfr)
    grid, values = gamma0[kept], cfr[:, kept]
    if len(values) < 2 or len(grid) < PLATEAU + 1:
        return nothing("undecided")
    above = values - values[:, :PLATEAU].mean(axis=1, keepdims=True)
    least = max(FLOOR, 2 * plateau_error(above)) if floor is None else floor
    slopes = _slopes(grid, values.mean(axis=0)[None], least)[0]
    place = int(slopes.argmax())
    if not slopes[place] > 0:
        return nothing("none", threshold=least)
    chosen = _slopes(grid, left_out_means(values), least).argmax(axis=1) + 1
    rises = [v[c + 1 :].mean() - v[:c].mean() for v, c in zip(values, chosen, strict=True)]
    rise = mean_interval(np.array(rises), level, resamples, seed)
    if not (rise.low > 0 and rise.mean > least):
        return nothing("none", threshold=least)
    drawn = _slopes(grid, resampled_means(values, resamples, seed), least)
    rising = drawn.max(axis=1) > 0
    ends = ends_of(grid[drawn[rising].argmax(axis=1) + 1], level)
    return Transition(
        Interval(float(grid[place + 1]), *ends),
        float(rising.mean()),
        "found",
        float(slopes[place]),
        least,
    )


def _slopes(
    gamma0: Grid, means: Float[np.ndarray, "rows gammas"], floor: float
) -> Float[np.ndarray, "rows inner"]:
    """Of each row, the log-log slope over each three neighbours."""
    x = sliding_window_view(np.log(gamma0), 3)
    y = sliding_window_view(np.log(np.maximum(means, floor)), 3, axis=1)
    x = x - x.mean(axis=1, keepdims=True)
    return (x * y).sum(axis=-1) / (x**2).sum(axis=1)
