"""Where the lazy regime ends and forgetting sets in: what the estimators of it share.

Graldi et al., "The Importance of Being Lazy" (2025), plot relative forgetting (CFr) against
gamma0, a low plateau and then a rise, and do not say how they locate the transition. Two estimators
of our own stand for it, `plateau_departure` and `steepest_slope`, which answer different questions.
Neither supposes a singular point: the transition is a crossover that may be sharp.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from holdfast.records.intervals import UNKNOWN, Interval
from holdfast.studies.richness.curves import Values

PLATEAU = 3
"""How many of the smallest gamma0 stand for the lazy regime."""

FLOOR = 1e-3
"""A relative forgetting below this, a thousandth of the accuracy reached, is none."""

Kind = Literal["found", "none", "no plateau", "falls", "undecided"]

_WORDS: dict[Kind, str] = {
    "found": "found",
    "none": "none in this range",
    "no plateau": "no lazy plateau",
    "falls": "falls from the plateau",
    "undecided": "undecided",
}


@dataclass(frozen=True)
class Transition:
    """Where an estimator puts the transition.

    Args:
        gamma0: its place, NaN where there is none; the interval is over those draws of the seeds
            that have one.
        share: of the draws that have one.
        kind: ``found``, or why not; ``undecided`` of one seed or fewer than four usable gamma0.
        size: what was found there: the height above the plateau, or the slope.
        threshold: what `size` had to exceed, or the floor under the logarithm.
    """

    gamma0: Interval
    share: float
    kind: Kind
    size: float
    threshold: float

    @property
    def verdict(self) -> str:
        """What was found, in words."""
        return _WORDS[self.kind]


def plateau_error(above: Values) -> float:
    """Standard error of a mean over seeds at one gamma0 of the plateau, seeds' own levels apart."""
    plateau = above[:, :PLATEAU]
    rest = plateau - plateau.mean(axis=0)
    freedom = (PLATEAU - 1) * (len(plateau) - 1)
    return float(np.sqrt((rest**2).sum() / freedom / len(plateau)))


def ends_of(places: Float[np.ndarray, " draws"], level: float) -> tuple[float, float]:
    """The ends of the interval, values of the grid."""
    if not len(places):
        return float("nan"), float("nan")
    cuts = [(1 - level) / 2, (1 + level) / 2]
    low, high = np.quantile(places, cuts, method="inverted_cdf")
    return float(low), float(high)


def nothing(kind: Kind, threshold: float = float("nan")) -> Transition:
    """No transition, and why."""
    return Transition(UNKNOWN, 0.0, kind, float("nan"), threshold)
