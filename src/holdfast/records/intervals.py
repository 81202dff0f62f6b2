"""How sure a mean over repeated runs is."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from holdfast.seeds import derive


class Interval(NamedTuple):
    """A mean with the ends of its interval; the ends are NaN for a single value."""

    mean: float
    low: float
    high: float


UNKNOWN = Interval(float("nan"), float("nan"), float("nan"))
"""Of no values."""


def mean_interval(
    values: Float[np.ndarray, " runs"], level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> Interval:
    """Mean of independent runs and its percentile bootstrap interval (Efron, 1979).

    The runs are drawn anew with replacement `resamples` times; the ends are the (1 -+ level) / 2
    quantiles of the means. Of few runs (below about ten) such an interval is too narrow, since it
    never reaches beyond the values seen.

    Args:
        values: one a run. A NaN among them makes all three NaN.
        level: probability the interval is meant to hold, in (0, 1).
        resamples: number of draws.
        seed: of the draws: the same values give the same interval.

    Raises:
        ValueError: no values, or `level` or `resamples` out of range.
    """
    if not len(values):
        raise ValueError("mean_interval needs one or more values, got none")
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level}")
    if resamples < 1:
        raise ValueError(f"resamples must be 1 or more, got {resamples}")
    mean = float(np.mean(values))
    if len(values) == 1 or not np.isfinite(mean):
        return Interval(mean, float("nan"), float("nan"))
    draws = np.random.default_rng(derive(seed, "bootstrap"))
    means = values[draws.integers(len(values), size=(resamples, len(values)))].mean(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(mean, float(low), float(high))
