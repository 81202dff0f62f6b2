"""What the place of a task in the order does to its final accuracy."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from holdfast.records.intervals import Interval, mean_interval
from holdfast.studies.order_robustness.finals import Finals
from holdfast.studies.order_robustness.noise import Counted


@dataclass(frozen=True)
class Places:
    """The part of task x order that goes with places.

    Args:
        first: what a task gains by coming first, as the base of methods that have one, beyond the
            line through all places.
        slope: what it gains from the first place to the last along that line.
    """

    first: Interval
    slope: Interval


def places(finals: Finals, level: float = 0.95, resamples: int = 2000) -> Places:
    """Fit first place and place to the final accuracies, beside a mean for each task and order.

    y[o, t] = order_o + task_t + first [place = 0] + slope place / (T - 1) + rest, by least squares
    for each seed; means over seeds with bootstrap intervals. So a task that is easy wherever it
    comes, and an order that is good for all, count for nothing. NaN where the orders do not tell
    the two apart, as with two tasks or two orders that are each other's reverse.
    """
    return _fitted(finals.accuracy, finals.place, level, resamples)


def _fitted(
    accuracy: Float[np.ndarray, "orders seeds tasks"],
    place: Int[np.ndarray, "orders tasks"],
    level: float,
    resamples: int,
) -> Places:
    last = max(1, place.shape[1] - 1)
    design = np.stack([_centred(x).ravel() for x in ((place == 0) * 1.0, place / last)], axis=1)
    if np.linalg.matrix_rank(design) < 2:
        unknown = Interval(float("nan"), float("nan"), float("nan"))
        return Places(unknown, unknown)
    outcomes = np.stack([_centred(y).ravel() for y in accuracy.swapaxes(0, 1)], axis=1)
    first, slope = np.linalg.lstsq(design, outcomes, rcond=None)[0]
    return Places(mean_interval(first, level, resamples), mean_interval(slope, level, resamples))


def not_first(finals: Finals) -> Counted:
    """The orders at which each task is not the first."""
    return np.asarray(finals.place > 0)


def _centred(values: Float[np.ndarray, "orders tasks"]) -> Float[np.ndarray, "orders tasks"]:
    """Without the means of its rows and columns."""
    rows, columns = values.mean(axis=1, keepdims=True), values.mean(axis=0, keepdims=True)
    return np.asarray(values - rows - columns + values.mean())
