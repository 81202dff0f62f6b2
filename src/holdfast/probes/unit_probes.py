"""How many units are dormant, dead, linearised or saturated, in a layer and in a learner."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import nan

from holdfast.nets.learner import Learner
from holdfast.probes.activations import Activations, activations
from holdfast.probes.probe import Phase
from holdfast.probes.saturation import checked_eps
from holdfast.probes.shown import shown_samples
from holdfast.probes.units import THRESHOLD, checked_dead_share, checked_share, checked_threshold
from holdfast.streams.batches import Batch

_KEYS = ("dormant", "dead", "linearised", "saturated")


@dataclass(frozen=True)
class UnitShares:
    """Shares of the units of some layers; NaN where what is counted cannot be, or is not finite.

    dormant: with a score of at most the threshold, within their layer.
    dead: 0 throughout, or all but throughout.
    linearised: where the nonlinearity is linear throughout, of units whose nonlinearity can be.
    saturated: of their activations, those at a bound, of units whose nonlinearity has bounds.
    """

    dormant: float
    dead: float
    linearised: float
    saturated: float


@dataclass(frozen=True)
class UnitRule:
    """When a unit counts as what.

    Args:
        threshold: of `holdfast.probes.dormant_units`.
        dead_share: of `holdfast.probes.dead_units`.
        linear_share: of `holdfast.probes.linearised_units`.
        eps: of `holdfast.probes.saturation`.

    Raises:
        ValueError: one outside its range.
    """

    threshold: float = THRESHOLD
    dead_share: float = 0.0
    linear_share: float = 1.0
    eps: float = 0.01

    def __post_init__(self) -> None:
        checked_threshold(self.threshold)
        checked_dead_share(self.dead_share)
        checked_share(self.linear_share)
        checked_eps(self.eps)

    def shares(self, seen: Sequence[Activations]) -> UnitShares:
        """Of the units of all layers seen, each unit counted alike.

        Saturation is as the activations were summed up, with the eps they were summed up with.
        """
        if not all(bool(a.magnitudes.isfinite().all()) for a in seen):
            return UnitShares(nan, nan, nan, nan)
        total = sum(a.units for a in seen)
        dormant = sum(int((a.dormancy <= self.threshold).sum()) for a in seen)
        dead = sum(int((a.nonzero <= self.dead_share).sum()) for a in seen)
        linear = [a.linear for a in seen if a.linear is not None]
        saturated = [a.saturated for a in seen if a.saturated is not None]
        linearised = sum(int((shares >= self.linear_share).sum()) for shares in linear)
        at_bounds = sum(float(shares.sum()) for shares in saturated)
        return UnitShares(
            dormant / total if total else nan,
            dead / total if total else nan,
            linearised / sum(map(len, linear)) if linear else nan,
            at_bounds / sum(map(len, saturated)) if saturated else nan,
        )


class Units:
    """Probe: `UnitShares` of all units of the learner, whichever layer they are in.

    ``dormant``, ``dead``, ``linearised``, ``saturated``. `diagnose` tells them by layer. One
    forward pass in evaluation mode.

    Args:
        threshold, dead_share, linear_share, eps: see `UnitRule`.
        samples: of those that probes are shown, evenly spaced. The fewer, the more units that are
            rarely active count as dead.

    Raises:
        ValueError: one outside its range; when training begins, a learner whose nonlinearities are
            not seen (see `holdfast.probes.activations`).
    """

    columns = (*_KEYS, *(f"{key}.own" for key in _KEYS))

    def __init__(
        self,
        threshold: float = THRESHOLD,
        dead_share: float = 0.0,
        linear_share: float = 1.0,
        eps: float = 0.01,
        samples: int = 256,
    ) -> None:
        if samples < 1:
            raise ValueError(f"samples must be 1 or more, got {samples}")
        self.rule, self.samples = UnitRule(threshold, dead_share, linear_share, eps), samples

    def before(self, learner: Learner, batch: Batch, phase: Phase) -> None:
        """See that the learner has nonlinearities to look at, before it is trained at all."""
        if phase.index == 0:
            activations(learner, shown_samples(batch, 2))

    def measure(self, learner: Learner, batch: Batch) -> dict[str, float]:
        """The shares on a batch."""
        some = shown_samples(batch, self.samples)
        return asdict(self.rule.shares(activations(learner, some, eps=self.rule.eps)))
