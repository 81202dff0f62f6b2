"""What seeds alone make of a range over orders, and how it varies."""

import math
from collections.abc import Iterator
from functools import cache

import numpy as np
from jaxtyping import Bool, Float

from holdfast.studies.order_robustness.finals import Accuracies

Counted = Bool[np.ndarray, "orders tasks"]

_ROOM = 4_000_000
"""Numbers held at once while noise is drawn."""


@cache
def expected_range(count: int) -> float:
    """Mean range of `count` independent standard normal numbers (Tippett, 1925); NaN below 2.

    The integral of 1 - F^n - (1 - F)^n, F the normal distribution function.

    >>> round(expected_range(2), 4), round(expected_range(5), 4)
    (1.1284, 2.3259)
    """
    if count < 2:
        return float("nan")
    x = np.linspace(-9, 9, 6001)
    below = 0.5 * (1 + np.array([math.erf(v / math.sqrt(2)) for v in x]))
    inside = 1 - below**count - (1 - below) ** count
    return float(((inside[1:] + inside[:-1]) / 2).sum() * (x[1] - x[0]))


def mean_of_root(freedom: int) -> float:
    """E[s] / sigma of a variance s^2 estimated with so many degrees of freedom, for normal noise.

    >>> round(mean_of_root(8), 4)
    0.9693
    """
    return math.sqrt(2 / freedom) * math.exp(
        math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)
    )


def residuals(
    accuracy: Float[np.ndarray, "*draws orders seeds tasks"],
) -> Float[np.ndarray, "*draws orders seeds tasks"]:
    """What is left of each run after the means of its order and of its seed, task by task.

    e[o, s] = y[o, s] - y[o, .] - y[., s] + y[., .]. A run of one seed shares draws with that seed's
    runs at other orders; what they share moves all orders alike and no range.
    """
    by_order, by_seed = (accuracy.mean(axis=axis, keepdims=True) for axis in (-2, -3))
    return np.asarray(accuracy - by_order - by_seed + by_order.mean(axis=-3, keepdims=True))


def drawn_like(
    left: Accuracies, draws: int, generator: np.random.Generator
) -> Iterator[Float[np.ndarray, "draws orders seeds tasks"]]:
    """Normal noise for whole studies, with the covariance over tasks that residuals have.

    Each run's noise is sum_k g_k e_k / sqrt(freedom), g standard normal, e_k the residuals of run k
    over all tasks: of variance sum_k e_k^2 / freedom, and tasks move together as they do in runs.

    Args:
        left: residuals of two or more seeds.
        draws: how many studies, in parts.
        generator: of the draws.
    """
    orders, seeds, tasks = left.shape
    runs = orders * seeds
    rows = left.reshape(runs, tasks) / math.sqrt((orders - 1) * (seeds - 1))
    part = max(1, _ROOM // (runs * max(tasks, runs)))
    for begin in range(0, draws, part):
        count = min(part, draws - begin)
        weights = generator.standard_normal((count * runs, runs))
        yield (weights @ rows).reshape(count, orders, seeds, tasks)


def evened(variance: Float[np.ndarray, " tasks"], freedom: int) -> Float[np.ndarray, " tasks"]:
    """Variances drawn to their mean until they scatter no more than the true ones do.

    v' = m + sqrt(w) (v - m), w = max(0, 1 - c / var(v)), c = mean 2 v^2 / (freedom + 2) being what
    estimates from normal noise with so many degrees of freedom scatter where all variances are one
    (a constrained empirical Bayes estimate: Louis, 1984). A maximum over tasks would else pick the
    variance that came out largest.
    """
    if len(variance) < 2:
        return variance
    scatter = float(variance.var(ddof=1))
    chance = float((2 * variance**2 / (freedom + 2)).mean())
    weight = max(0.0, 1 - chance / scatter) if scatter > 0 else 0.0
    return np.asarray(variance.mean() + math.sqrt(weight) * (variance - variance.mean()))


def spread(
    means: Float[np.ndarray, "*draws orders tasks"], counted: Counted
) -> Float[np.ndarray, "*draws tasks"]:
    """Range over the orders that count; NaN of a task with fewer than two."""
    high = np.where(counted, means, -np.inf).max(axis=-2)
    low = np.where(counted, means, np.inf).min(axis=-2)
    return np.where(counted.sum(axis=0) >= 2, high - low, np.nan)
