"""Inner products of the gradients of single samples."""

from collections.abc import Iterator, Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from holdfast.curvature.per_sample import Forward, per_sample_gradients

_ENTRIES = 1 << 26
"""Entries of per-sample gradients held at a time."""


def gradient_gram(
    model: nn.Module,
    forward: Forward,
    parameters: Mapping[str, nn.Parameter],
    x: Tensor,
    task: int | Tensor | None,
    directions: Sequence[Float[Tensor, "n outputs"]],
) -> Float[Tensor, "m m"]:
    """Gram matrix of the gradients of c . outputs, c the rows of each of `directions`.

    Row ``k * n + i`` is that of direction k in sample i. Gradients of all parameters at once need
    m times as much memory as the model; here those of a few parameters are made at a time, and each
    is thrown away when its inner products are summed, in float64.
    """
    rows = len(x) * len(directions)
    gram = torch.zeros(rows, rows, dtype=torch.float64, device=x.device)
    for part in _parts(parameters, max(1, _ENTRIES // rows)):
        found = [per_sample_gradients(model, forward, part, x, task, c) for c in directions]
        for name in part:
            j = torch.cat([gradients[name].flatten(1) for gradients in found])
            gram += (j @ j.T).double()
    return gram


def _parts(parameters: Mapping[str, nn.Parameter], most: int) -> Iterator[dict[str, nn.Parameter]]:
    part: dict[str, nn.Parameter] = {}
    for name, p in parameters.items():
        if part and sum(q.numel() for q in part.values()) + p.numel() > most:
            yield part
            part = {}
        part[name] = p
    yield part
