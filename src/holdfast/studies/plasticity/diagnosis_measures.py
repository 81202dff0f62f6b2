"""What a diagnosis tells of accuracies over epochs: their last part, differences, and the cost."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from holdfast.records.intervals import Interval
from holdfast.seeds import derive
from holdfast.studies.plasticity.gap import first_of_last

_SMOOTHED = 0.05
_RESAMPLES = 1000

Curves = Float[np.ndarray, "seeds epochs"]


def last_part(curves: Curves) -> Float[np.ndarray, " seeds"]:
    """Mean accuracy of each seed over the last 30 % of the epochs, one epoch at least.

    >>> last_part(np.array([[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.1, 0.2, 0.3]])).round(12).tolist()
    [0.2]
    """
    return curves[:, first_of_last(curves.shape[1]) :].mean(axis=1)


class Reach(NamedTuple):
    """When an arm comes near the accuracy that fresh weights end with.

    Args:
        epochs: until it does; infinite where it does not.
        fresh_epochs: until fresh weights do, by the same rule.
        ratio: of the two, with its interval over seeds; its ends may be infinite.
    """

    epochs: float
    fresh_epochs: float
    ratio: Interval


def reach(arm: Curves, fresh: Curves, tolerance: float = 0.005, level: float = 0.95) -> Reach:
    """Epochs until an arm comes within `tolerance` of the last part of fresh weights, and ends so.

    Both curves are means over seeds, and over 5 % of the epochs up to each one (one epoch at
    least), so that no lucky epoch counts. An arm that passes by, as where labels are noisy and
    accuracy falls again, and is further below in its own last part, never reaches. Seeds are drawn
    anew in pairs for the interval, whose ends are quantiles of the ratio over the draws.

    Args:
        arm: test accuracy after each epoch, without NaN.
        fresh: of the same seeds, trained from fresh weights.
        tolerance: in accuracy; 0.005 is half a point.
        level: of the interval.
    """
    index = np.arange(len(arm))[None]
    if len(arm) > 1:
        draws = np.random.default_rng(derive(0, "reach"))
        index = np.concatenate([index, draws.integers(len(arm), size=(_RESAMPLES, len(arm)))])
    arms, freshes = arm[index].mean(axis=1), fresh[index].mean(axis=1)
    wanted = last_part(freshes) - tolerance
    epochs, of_fresh = _first(arms, wanted), _first(freshes, wanted)
    found, of_draws = epochs[0] / of_fresh[0], np.sort(epochs[1:] / of_fresh[1:])
    low = high = float("nan")
    if len(of_draws):
        # Of infinite values a quantile is one of them, and nothing between two.
        places = [round(q * (_RESAMPLES - 1)) for q in ((1 - level) / 2, (1 + level) / 2)]
        low, high = (float(of_draws[place]) for place in places)
    return Reach(float(epochs[0]), float(of_fresh[0]), Interval(float(found), low, high))


def _first(
    curves: Float[np.ndarray, "draws epochs"], wanted: Float[np.ndarray, " draws"]
) -> Float[np.ndarray, " draws"]:
    """The first epoch, from 1, at which each smoothed curve is high enough; infinite if none."""
    ends = np.arange(1, curves.shape[1] + 1)
    begins = np.maximum(ends - max(1, round(_SMOOTHED * curves.shape[1])), 0)
    sums = np.pad(curves.cumsum(axis=1), ((0, 0), (1, 0)))
    least = wanted - 1e-9  # a rounding error below is not below
    near = (sums[:, ends] - sums[:, begins]) / (ends - begins) >= least[:, None]
    stays = near.any(axis=1) & (last_part(curves) >= least)
    return np.where(stays, near.argmax(axis=1) + 1.0, np.inf)
