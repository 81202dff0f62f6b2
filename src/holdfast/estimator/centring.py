"""Moments of features brought to mean 0 and, if asked, variance 1: exactly, without the samples."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from holdfast.starts.moments import Moments

_ROUNDING = 1e-13
"""Variance, beside the mean square, below which a feature counts as constant."""


@dataclass(frozen=True)
class Centring:
    """h' = (h - mean) / scale.

    Args:
        mean: (d,).
        scale: (d,), positive.
        varies: (d,) which features do; the others are left out, as if they were 0.
    """

    mean: Float64[Tensor, " d"]
    scale: Float64[Tensor, " d"]
    varies: Bool[Tensor, " d"]

    @classmethod
    def of(cls, moments: Moments, standardize: bool) -> "Centring":
        """Mean, and deviation where `standardize`, under the weights of the moments."""
        mean = moments.gram[:-1, -1]
        square = moments.gram.diagonal()[:-1]
        variance = square - mean.square()
        varies = variance > _ROUNDING * square
        return cls(mean, torch.where(varies & standardize, variance, 1.0).sqrt(), varies)

    def of_moments(self, moments: Moments) -> Moments:
        """The moments of h'."""
        p, kept = moments.weights.unsqueeze(1), self.varies / self.scale
        gram = torch.zeros_like(moments.gram)
        covariance = moments.gram[:-1, :-1] - self.mean.outer(self.mean)
        gram[:-1, :-1] = covariance * kept.outer(kept)
        gram[-1, -1] = 1
        shifted = (moments.cross[:, :-1] - p * self.mean) * kept
        return replace(moments, gram=gram, cross=torch.cat([shifted, p], 1))

    def undone(self, rows: Float64[Tensor, "classes inputs"]) -> Float64[Tensor, "classes inputs"]:
        """Rows for h that give the scores these rows (intercept last) give for h'."""
        weight = rows[:, :-1] / self.scale
        return torch.cat([weight, rows[:, -1:] - (weight @ self.mean).unsqueeze(1)], 1)
