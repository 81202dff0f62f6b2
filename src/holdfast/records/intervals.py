"""How sure a mean over repeated runs is."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from holdfast.seeds import derive


class Interval(NamedTuple):
    """A mean, or a ratio of means, with the ends of its interval; NaN for a single run."""

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
    _check(level, resamples)
    mean = float(np.mean(values))
    if len(values) == 1 or not np.isfinite(mean):
        return Interval(mean, float("nan"), float("nan"))
    return _between(mean, values[_draws(len(values), resamples, seed)].mean(axis=1), level)


def student_interval(values: Float[np.ndarray, " runs"], level: float = 0.95) -> Interval:
    """Mean of independent runs and Student's interval, mean -+ t s / sqrt(n).

    s is the standard deviation with n - 1 and t the (1 + level) / 2 quantile of Student's law with
    n - 1 degrees of freedom. It holds what it promises for few runs too, where these are about
    normal; `mean_interval` asks nothing of them but their number.

    Args:
        values: one a run, such as differences of pairs. A NaN among them makes all three NaN.
        level: probability the interval is meant to hold, in (0, 1).

    Raises:
        ValueError: no values, or `level` out of range.

    >>> [round(end, 4) for end in student_interval(np.array([1.0, 2.0, 3.0]))]
    [2.0, -0.4841, 4.4841]
    """
    # Loaded here: it would be half of the time that importing this package takes.
    from scipy.special import stdtrit  # type: ignore[import-untyped]

    if not len(values):
        raise ValueError("student_interval needs one or more values, got none")
    _check(level, 1)
    mean = float(np.mean(values))
    if len(values) == 1 or not np.isfinite(mean):
        return Interval(mean, float("nan"), float("nan"))
    quantile = float(stdtrit(len(values) - 1, (1 + level) / 2))
    half = quantile * float(np.std(values, ddof=1)) / len(values) ** 0.5
    return Interval(mean, mean - half, mean + half)


def ratio_interval(
    first: Float[np.ndarray, " runs"],
    second: Float[np.ndarray, " runs"],
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Ratio of two sums over the same runs, sum first / sum second, with its bootstrap interval.

    The runs are drawn anew in pairs, so that what both share (data, order of samples) drops out.
    Percentiles and their limits as in `mean_interval`; exchanging the two gives the reciprocals.

    Args:
        first: one a run. A NaN makes all three NaN.
        second: likewise, of the same runs in the same order; positive.
        level: as in `mean_interval`, like the others.
        resamples: number of draws.
        seed: of the draws.

    Raises:
        ValueError: no runs, different numbers of them, or something in `second` that is not
            positive; `level` or `resamples` out of range.

    >>> ratio_interval(np.array([8.0, 4.0]), np.array([2.0, 1.0]))
    Interval(mean=4.0, low=4.0, high=4.0)
    """
    if not len(first) or len(first) != len(second):
        raise ValueError(
            f"first and second must be of as many runs, 1 or more; got {len(first)} and "
            f"{len(second)}"
        )
    if (second <= 0).any():
        raise ValueError(f"second must be positive, got {second.tolist()}")
    _check(level, resamples)
    ratio = float(first.sum() / second.sum())
    if len(first) == 1 or not np.isfinite(ratio):
        return Interval(ratio, float("nan"), float("nan"))
    drawn = _draws(len(first), resamples, seed)
    return _between(ratio, first[drawn].sum(axis=1) / second[drawn].sum(axis=1), level)


def _check(level: float, resamples: int) -> None:
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level}")
    if resamples < 1:
        raise ValueError(f"resamples must be 1 or more, got {resamples}")


def _draws(runs: int, resamples: int, seed: int) -> Int[np.ndarray, "resamples runs"]:
    generator = np.random.default_rng(derive(seed, "bootstrap"))
    return generator.integers(runs, size=(resamples, runs))


def _between(value: float, drawn: Float[np.ndarray, " resamples"], level: float) -> Interval:
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high))
