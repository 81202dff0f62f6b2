"""Samples that are also in the moments, with the weights they have there."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64, Int, Int64
from torch import Tensor

from holdfast.seeds import generator as seeded_generator
from holdfast.starts.moments import Moments
from holdfast.starts.statistics import FeatureStatistics


class NotAmongError(ValueError):
    """The samples cannot be among those of the moments."""


@dataclass(frozen=True)
class Sample:
    """Features, the column of each one's class, and its weight in the moments.

    Args:
        features: (n, d).
        columns: (n,) row of the moments' cross-products that is of the sample's class.
        weights: (n,) what each sample counts in the moments.
        classes: number C of columns.
    """

    features: Float64[Tensor, "n d"]
    columns: Int64[Tensor, " n"]
    weights: Float64[Tensor, " n"]
    classes: int

    @classmethod
    def of(
        cls,
        moments: Moments,
        statistics: FeatureStatistics,
        features: Float[Tensor, "n d"],
        labels: Int[Tensor, " n"],
    ) -> "Sample":
        """Those of the given samples whose classes are in the moments.

        Raises:
            ValueError: more samples of a class than the statistics hold.
        """
        device = moments.gram.device
        positions = {c: i for i, c in enumerate(moments.classes)}
        columns = torch.tensor([positions.get(int(c), -1) for c in labels], device=device)
        known = columns >= 0
        held = dict(zip(statistics.classes, statistics.counts.tolist(), strict=True))
        counts = torch.tensor([held[c] for c in moments.classes], device=device)
        given = torch.bincount(columns[known], minlength=len(counts))
        for c, n, most in zip(moments.classes, given.tolist(), counts.tolist(), strict=True):
            if n > most:
                raise ValueError(
                    f"features hold {n} samples of class {c}, but the statistics only {most}; give "
                    "samples that are among those of the statistics"
                )
        own = (moments.weights / counts)[columns[known]]
        chosen = features.to(device, torch.float64)[known]
        return cls(chosen, columns[known], own, len(counts))

    def targets(self) -> Float64[Tensor, "n classes"]:
        """One-hot rows."""
        return torch.nn.functional.one_hot(self.columns, self.classes).double()

    def part(self, chosen: Tensor) -> "Sample":
        """Some of the samples."""
        return Sample(
            self.features[chosen], self.columns[chosen], self.weights[chosen], self.classes
        )

    def split(
        self, held_out: float, generator: torch.Generator | None = None
    ) -> tuple["Sample", "Sample"]:
        """What stays, and a share of each class: at least one sample of those with two or more.

        Raises:
            ValueError: a share outside (0, 1), or no class with two samples.
        """
        if not 0 < held_out < 1:
            raise ValueError(f"held_out must lie in (0, 1), got {held_out}")
        draw = generator or seeded_generator(0, "held_out")
        order = torch.randperm(len(self.columns), generator=draw, device=draw.device)
        order = order.to(self.columns.device)
        out = torch.zeros(len(order), dtype=torch.bool, device=order.device)
        for column in range(self.classes):
            own = order[self.columns[order] == column]
            if len(own) > 1:
                out[own[: max(1, round(held_out * len(own)))]] = True
        if not out.any():
            raise ValueError("nothing can be held out: no class has two samples")
        return self.part(~out), self.part(out)

    def removed_from(self, moments: Moments) -> Moments:
        """Moments of the other samples, which keep their weights among each other.

        Raises:
            NotAmongError: these samples cannot be in the moments.
        """
        left = 1 - float(self.weights.sum())
        inputs = torch.cat([self.features, torch.ones_like(self.features[:, :1])], 1)
        weighted = inputs * self.weights.unsqueeze(1)
        gram = moments.gram - weighted.T @ inputs
        cross = moments.cross - self.targets().T @ weighted
        lowest = torch.linalg.eigvalsh(gram)[0]
        if left <= 0 or lowest < -1e-9 * moments.gram.diagonal().max():
            raise NotAmongError(
                "the samples are not among those of the moments: without them the Gram matrix has "
                f"the eigenvalue {float(lowest):.1e}; features must be of the same net"
            )
        shares = moments.weights - self.targets().T @ self.weights
        samples = moments.samples - len(self.columns)
        return Moments(gram / left, cross / left, shares / left, moments.classes, samples)
