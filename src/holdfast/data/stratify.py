"""A part of the samples with every class in its share."""

import torch
from jaxtyping import Int, Shaped
from torch import Tensor

from holdfast.seeds import generator


def stratified(
    y: Shaped[Tensor, "n *k"],
    *,
    per_class: int | None = None,
    fraction: float | None = None,
    seed: int = 0,
) -> Int[Tensor, " m"]:
    """Positions of a random part of each class, ascending.

    Parts of one seed are nested: 10 a class are among the 20 a class.

    Args:
        y: (n,) class labels, or (n, k) targets, which count as one class.
        per_class: samples of each class.
        fraction: share of each class in (0, 1], rounded to whole samples and at least one.
        seed: of the draw; each class has its own stream, whatever the others hold.

    Raises:
        ValueError: none or both of `per_class` and `fraction` are given, one is out of range, a
            class holds fewer than `per_class` samples, or `per_class` is asked of targets.
    """
    if (per_class is None) == (fraction is None):
        raise ValueError(
            f"give either per_class or fraction, got per_class={per_class}, fraction={fraction}"
        )
    if fraction is not None and not 0 < fraction <= 1:
        raise ValueError(f"fraction must lie in (0, 1], got {fraction}")
    if per_class is not None and per_class < 1:
        raise ValueError(f"per_class must be at least 1, got {per_class}")
    if y.ndim > 1:
        if per_class is not None:
            raise ValueError("per_class is for class labels; use fraction for regression targets")
        y = torch.zeros(len(y), dtype=torch.int64)
    labels, counts = torch.unique(y.cpu(), return_counts=True)
    members = torch.argsort(y.cpu(), stable=True).split(counts.tolist())
    chosen = []
    for label, positions in zip(labels.tolist(), members, strict=True):
        if per_class is not None and per_class > len(positions):
            raise ValueError(
                f"per_class is {per_class}, but class {label} holds {len(positions)} samples"
            )
        keep = per_class or max(1, round((fraction or 1.0) * len(positions)))
        order = torch.randperm(len(positions), generator=generator(seed, "stratified", label))
        chosen.append(positions[order[:keep]])
    return torch.cat(chosen).sort().values
