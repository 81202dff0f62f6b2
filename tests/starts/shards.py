"""Samples, and sums over them by definition."""

import torch
from torch import Tensor

from holdfast.starts import FeatureStatistics


def samples(n: int, width: int, classes: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Correlated features off the origin in float32, and labels that all occur for large n."""
    generator = torch.Generator().manual_seed(seed)
    mixed = torch.randn(n, width, generator=generator) @ torch.randn(
        width, width, generator=generator
    )
    return mixed + 2, torch.randint(classes, (n,), generator=generator)


def streamed(
    x: Tensor, y: Tensor, size: int = 37, per_class: bool = False, backbone: str | None = None
) -> FeatureStatistics:
    """Statistics of the samples, batch by batch."""
    found = FeatureStatistics(x.shape[1], per_class=per_class, backbone=backbone)
    for features, labels in zip(x.split(size), y.split(size), strict=True):
        found.update(features, labels)
    return found


def weighted(x: Tensor, y: Tensor, classes: tuple[int, ...], w: Tensor) -> tuple[Tensor, Tensor]:
    """Gram and cross moments, a sample at a time."""
    d = x.shape[1]
    gram = torch.zeros(d + 1, d + 1, dtype=torch.float64)
    cross = torch.zeros(len(classes), d + 1, dtype=torch.float64)
    for h, label, share in zip(x.double(), y.tolist(), w.double(), strict=True):
        long = torch.cat([h, torch.ones(1, dtype=torch.float64)])
        gram += share * long.outer(long)
        cross[classes.index(label)] += share * long
    return gram, cross
