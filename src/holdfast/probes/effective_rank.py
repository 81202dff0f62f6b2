"""How many directions the features use."""

import torch
from jaxtyping import Float
from torch import Tensor

from holdfast.nets.learner import Learner
from holdfast.streams.batches import Batch


def effective_rank(features: Float[Tensor, "n d"]) -> float:
    """Effective rank exp(-sum p log p) of a feature matrix, p its singular values over their sum.

    Lies in [1, min(n, d)] and equals k for k equal singular values; NaN for features that are all
    zero. Roy & Vetterli, "The effective rank", 2007.

    >>> round(effective_rank(torch.eye(4)), 6)
    4.0
    """
    return spectral_entropy_rank(torch.linalg.svdvals(features.double()))


def spectral_entropy_rank(singular: Float[Tensor, " k"]) -> float:
    """`effective_rank` from the singular values."""
    p = singular / singular.sum()
    return torch.special.entr(p).sum().exp().item()


class EffectiveRank:
    """Probe: `effective_rank` of the penultimate features of a batch, as ``effective_rank``."""

    columns = ("effective_rank", "effective_rank.own")

    @torch.no_grad()
    def measure(self, learner: Learner, batch: Batch) -> dict[str, float]:
        """The effective rank of the features, the learner's mode as it is."""
        return {"effective_rank": effective_rank(learner.features(batch.x, batch.task))}
