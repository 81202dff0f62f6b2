"""Three ranks of features, which papers do not always tell apart, and what bounds them."""

import warnings
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from holdfast.nets.learner import Learner
from holdfast.probes.effective_rank import spectral_entropy_rank
from holdfast.probes.probe import Phase
from holdfast.streams.batches import Batch

DELTA = 0.01
"""The share of the sum of singular values that `srank` leaves out."""


class RankBoundWarning(UserWarning):
    """A rank is measured on fewer samples than there are units: the batch bounds it."""


@dataclass(frozen=True)
class Ranks:
    """Ranks of a feature matrix H (n, d) with singular values s_1 >= s_2 >= ...

    effective: exp(-sum p log p), p = s / sum s (Roy & Vetterli, 2007): `effective_rank`.
    srank: min{k : sum_{i <= k} s_i >= (1 - delta) sum s} (Kumar et al., 2021): `srank`.
    stable: |H|_F^2 / s_1^2 (Rudelson & Vershynin, 2007): `stable_rank`.
    bound: min(n, d), which none of them can pass.
    """

    effective: float
    srank: float
    stable: float
    bound: int


def feature_ranks(features: Float[Tensor, "n d"], delta: float = DELTA) -> Ranks:
    """All three from one decomposition, in float64.

    Returns:
        Ranks that are NaN for features that are all zero, or not finite.

    Raises:
        ValueError: fewer than 2 samples, which have rank 1 or 0 whatever the network, or a `delta`
            outside [0, 1).

    >>> feature_ranks(torch.diag(torch.tensor([1.0, 1.0, 0.0])))
    Ranks(effective=2.0, srank=2.0, stable=2.0, bound=3)
    """
    check_samples(len(features))
    singular = _singular(features)
    return Ranks(
        spectral_entropy_rank(singular),
        _srank(singular, _checked(delta)),
        _stable(singular),
        min(features.shape),
    )


def srank(features: Float[Tensor, "n d"], delta: float = DELTA) -> float:
    """The number of leading singular values that make up 1 - delta of their sum.

        srank_delta = min{k : sum_{i <= k} s_i >= (1 - delta) sum_i s_i}

    A whole number from 1 to min(n, d); a delta above 0 leaves out what rounding makes of zeros.
    Kumar et al., "Implicit under-parameterization inhibits data-efficient deep RL", 2021. Beware of
    two habits of published code: one calls this the stable rank, which is another number
    (`stable_rank`); one returns the index of the last value, which is one too few.

    Returns:
        NaN for features that are all zero, or not finite.

    Raises:
        ValueError: a `delta` outside [0, 1).

    >>> srank(torch.diag(torch.tensor([98.0, 1.0, 0.5, 0.5])))
    2.0
    """
    return _srank(_singular(features), _checked(delta))


def stable_rank(features: Float[Tensor, "n d"]) -> float:
    """How many times the squared length of the features is that along their first direction.

        |H|_F^2 / s_1^2 = sum_i s_i^2 / s_1^2

    Lies in [1, min(n, d)]; features that are not centred, such as those of a ReLU, have a large
    s_1, along their mean, and a stable rank near 1 whatever the rest does. Rudelson & Vershynin,
    2007. Not to be confused with `srank`.

    Returns:
        NaN for features that are all zero, or not finite.

    >>> stable_rank(torch.diag(torch.tensor([2.0, 1.0, 1.0])))
    1.5
    """
    return _stable(_singular(features))


def check_samples(samples: int) -> None:
    """Refuse a batch from which no rank can be told.

    Raises:
        ValueError: fewer than 2 samples.
    """
    if samples < 2:
        raise ValueError(
            f"features must be of 2 or more samples for a rank, got {samples}: rank <= min(n, d) = "
            f"{samples} whatever the network; pass a larger batch"
        )


def warn_of_bound(samples: int, units: int, where: str) -> None:
    """A `RankBoundWarning` where there are fewer samples than units."""
    if samples < units:
        warnings.warn(
            f"{where}: {samples} samples for {units} units, so rank <= min(n, d) = {samples} "
            f"whatever the network does; pass {units} samples or more, or compare only ranks of "
            f"the same number of samples",
            RankBoundWarning,
            stacklevel=3,
        )


def _singular(features: Tensor) -> Tensor:
    features = features.double()
    if not features.isfinite().all():  # of a run that diverges; LAPACK would refuse them
        return features.new_full((min(features.shape),), float("nan"))
    return torch.linalg.svdvals(features)


def _checked(delta: float) -> float:
    if not 0 <= delta < 1:
        raise ValueError(f"delta must lie in [0, 1), got {delta}")
    return delta


def _srank(singular: Tensor, delta: float) -> float:
    total = singular.sum()
    if not total > 0:
        return float("nan")
    reached = singular.cumsum(0) >= (1 - delta) * total
    # The whole sum, added in another order, may miss itself by a rounding error.
    return float(reached.int().argmax().item() + 1) if reached.any() else float(len(singular))


def _stable(singular: Tensor) -> float:
    return (singular / singular[0]).square().sum().item()


class FeatureRanks:
    """Probe: the ranks of the penultimate features, from one decomposition.

    ``effective_rank`` (that of `EffectiveRank`, which need not be asked for too), ``srank``,
    ``stable_rank`` and ``bound``, min(n, d). On fewer samples than units it warns, once
    (`RankBoundWarning`): ranks on tasks with different numbers of samples cannot be compared.

    Args:
        delta: of `srank`.

    Raises:
        ValueError: a `delta` outside [0, 1).
    """

    columns = tuple(
        f"{key}{end}"
        for end in ("", ".own")
        for key in ("effective_rank", "srank", "stable_rank", "bound")
    )

    def __init__(self, delta: float = DELTA) -> None:
        self.delta = _checked(delta)
        self._warned = False

    def before(self, learner: Learner, batch: Batch, phase: Phase) -> None:
        """See that there are samples enough, before the task is trained.

        Raises:
            ValueError: a batch of fewer than 2 samples.
        """
        check_samples(len(batch))

    @torch.no_grad()
    def measure(self, learner: Learner, batch: Batch) -> dict[str, float]:
        """The ranks, the learner's mode as it is.

        Raises:
            ValueError: a batch of fewer than 2 samples.
        """
        features = learner.features(batch.x, batch.task)
        found = feature_ranks(features, self.delta)
        if not self._warned and found.bound < features.shape[1]:
            self._warned = True
            warn_of_bound(len(features), features.shape[1], "FeatureRanks, penultimate features")
        return {
            "effective_rank": found.effective,
            "srank": found.srank,
            "stable_rank": found.stable,
            "bound": float(found.bound),
        }
