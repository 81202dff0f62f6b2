"""OPD, AOPD and MOPD, each with its noise floor and what it has beyond."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from holdfast.records.intervals import Interval
from holdfast.seeds import derive
from holdfast.studies.order_robustness.finals import Accuracies
from holdfast.studies.order_robustness.noise import (
    Counted,
    drawn_like,
    evened,
    expected_range,
    mean_of_root,
    residuals,
    spread,
)

Vector = Float[np.ndarray, " draws"]


@dataclass(frozen=True)
class Disparity:
    """A range over orders.

    Args:
        value: of the runs at hand, with the interval of what such a study has on average.
        floor: mean of the same statistic where the order does nothing; NaN for a single seed.
        excess: value - floor. The range that is free of noise lies, on average, between `excess`
            and `value`.
        chance: share of the studies without an effect of the order whose statistic is as large (a
            permutation test); NaN for a single seed, and where it is of one task.
    """

    value: Interval
    floor: float
    excess: Interval
    chance: float = float("nan")


@dataclass(frozen=True)
class Disparities:
    """How far final accuracies differ by order.

    Args:
        tasks: OPD, one a task; NaN of one that counts at fewer than two orders.
        average: AOPD, their mean.
        maximum: MOPD, the largest.
    """

    tasks: tuple[Disparity, ...]
    average: Disparity
    maximum: Disparity


def disparities(
    accuracy: Accuracies,
    counted: Counted | None = None,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Disparities:
    """OPD of each task, AOPD and MOPD, beside what seeds alone make of them.

    OPD_t = max_o m[o, t] - min_o m[o, t], m the mean over seeds of the final accuracy on task t
    (Yoon et al., 2020). A range of R means is never 0 by itself: its *floor* is its mean where all
    orders are one in truth,

        floor_t = d(R) sigma_t / sqrt(S),

    the same statistic over R groups of S seeds at one order; d(R) is `expected_range`, sigma_t the
    noise of a run estimated from `residuals` with (R - 1)(S - 1) degrees of freedom and freed of
    the bias of a root. Runs of one seed share what that seed draws for all orders; it moves no
    range and is in no floor. AOPD's floor is the mean of floor_t; MOPD's the mean maximum over
    tasks of ranges drawn with the covariance of the residuals, whose variances are `evened`.

    A range is a seminorm: range(effect) <= E[OPD] <= range(effect) + floor, so that what the order
    itself does lies between excess and OPD; for AOPD and MOPD too.

    Intervals are a parametric bootstrap: noise is drawn anew around the means of the orders, the
    statistic (for the excess with a floor of its own) taken, and its deviation from the mean of
    all draws reflected at the value. Ends are cut off at 0 for a range, not for an excess.

    Args:
        accuracy: final accuracies of the same seeds at each order. One seed alone gives values
            without floors and intervals.
        counted: orders at which a task counts; by default all.
        level: of the intervals.
        resamples: number of draws, and of permutations.
        seed: of the draws.

    Raises:
        ValueError: fewer than two orders, no seeds, or accuracies that are not finite.
    """
    orders, seeds, tasks = accuracy.shape
    if orders < 2 or not seeds or not tasks:
        raise ValueError(
            f"accuracy must be of two orders or more, seeds and tasks; got {accuracy.shape}"
        )
    if not np.isfinite(accuracy).all():
        raise ValueError("accuracy must be finite: leave out runs that did not come to their end")
    counted = np.ones((orders, tasks), dtype=bool) if counted is None else counted
    value = spread(accuracy.mean(axis=1), counted)
    average, maximum = float(_mean(value)), float(_max(value))
    if seeds < 2:
        return Disparities(
            tuple(_alone(v) for v in value.tolist()),
            _alone(float(_mean(value))),
            _alone(float(_max(value))),
        )
    draws = np.random.default_rng(derive(seed, "order disparity"))
    left = residuals(accuracy)
    freedom = (orders - 1) * (seeds - 1)
    variance = (left**2).sum(axis=(0, 1)) / freedom
    constant = np.array([expected_range(n) for n in counted.sum(axis=0).tolist()])
    constant = constant / (mean_of_root(freedom) * math.sqrt(seeds))
    floors = constant * np.sqrt(variance)
    even = _ratio(evened(variance, freedom), variance)

    alike, ranges, floors_drawn = [], [], []
    for noise in drawn_like(left, resamples, draws):
        noise *= np.sqrt(even)
        means = noise.mean(axis=2)
        alike.append(_max(spread(means, counted)))
        ranges.append(spread(accuracy.mean(axis=1) + means, counted))
        own = (residuals(noise) ** 2).sum(axis=(1, 2)) / freedom
        floors_drawn.append(constant * np.sqrt(own))
    drawn, drawn_floors = np.concatenate(ranges), np.concatenate(floors_drawn)
    highest = float(np.concatenate(alike).mean())
    # The floor of the maximum goes with the noise of all tasks together.
    scale = np.sqrt(_ratio((drawn_floors**2).sum(axis=1), (drawn_floors**2).sum(axis=1).mean()))
    by_chance = _permuted(accuracy, counted, resamples, draws)
    columns = zip(value.tolist(), floors.tolist(), drawn.T, drawn_floors.T, strict=True)
    return Disparities(
        tasks=tuple(_found(v, f, d, g, level) for v, f, d, g in columns),
        average=_found(
            average, float(_mean(floors)), _mean(drawn), _mean(drawn_floors), level,
            _share(by_chance[0], average),
        ),
        maximum=_found(
            maximum, highest, _max(drawn), highest * scale, level, _share(by_chance[1], maximum)
        ),
    )  # fmt: skip


def _permuted(
    accuracy: Accuracies, counted: Counted, resamples: int, draws: np.random.Generator
) -> tuple[Vector, Vector]:
    """AOPD and MOPD with the orders of each seed's runs exchanged at random."""
    orders, seeds, _ = accuracy.shape
    average, maximum = np.empty(resamples), np.empty(resamples)
    for i in range(resamples):
        at = draws.permuted(np.tile(np.arange(orders)[:, None], seeds), axis=0)
        found = spread(accuracy[at, np.arange(seeds)].mean(axis=1), counted)
        average[i], maximum[i] = _mean(found), _max(found)
    return average, maximum


def _share(drawn: Vector, value: float) -> float:
    """Of the draws as large as the value, it counted as one of them; equal but for rounding."""
    return float((1 + (drawn >= value - 1e-12).sum()) / (1 + len(drawn)))


def _found(
    value: float,
    floor: float,
    drawn: Vector,
    floors: Vector,
    level: float,
    chance: float = float("nan"),
) -> Disparity:
    low, high = _reflected(value, drawn, level)
    excess = value - floor
    beyond = Interval(excess, *_reflected(excess, drawn - floors, level))
    return Disparity(Interval(value, max(0.0, low), max(0.0, high)), floor, beyond, chance)


def _reflected(value: float, drawn: Vector, level: float) -> tuple[float, float]:
    low, high = np.quantile(drawn - drawn.mean(), [(1 - level) / 2, (1 + level) / 2])
    return value - float(high), value - float(low)


def _alone(value: float) -> Disparity:
    nan = float("nan")
    return Disparity(Interval(value, nan, nan), nan, Interval(nan, nan, nan))


def _ratio(first: np.ndarray, second: np.ndarray | np.float64) -> np.ndarray:
    """The quotient; 1 where there is no noise at all."""
    return np.divide(first, second, out=np.ones_like(first), where=second > 0)


def _mean(values: np.ndarray) -> np.ndarray:
    """Over the tasks that are known."""
    return np.asarray(_known(values).mean(axis=-1))


def _max(values: np.ndarray) -> np.ndarray:
    return np.asarray(_known(values).max(axis=-1))


def _known(values: np.ndarray) -> np.ndarray:
    """The tasks that count at two orders or more, the same in each row; NaN where none does."""
    known = ~np.isnan(values).reshape(-1, values.shape[-1]).any(axis=0)
    return values[..., known] if known.any() else values[..., :1]
