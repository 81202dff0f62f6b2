"""Sums of products of features, float64 whatever the features are."""

from collections.abc import Iterator

import torch
from torch import Tensor

ROWS = 1024
"""Rows at a time: their float64 copy stays near the processor, and memory stays constant."""

BLOCK = 128
"""Columns at a time: blocks below the diagonal are left out, almost half of all products."""

ROWS_ON_DEVICE, BLOCK_ON_DEVICE = 16384, 1024
"""The same on an accelerator, which wants larger pieces."""


def add_products(scatter: Tensor, features: Tensor) -> None:
    """Add features^T features to `scatter`, in place: its upper triangle.

    The products of two floats of 24 bits are exact in float64, and so are those of 11 and 8 bits:
    float32, float16 and bfloat16 features lose nothing, and only sums are rounded. Each chunk is
    summed by itself before it is added, so that rounding grows with the number of chunks, not with
    that of samples.

    Args:
        scatter: (d, d) float64; what it holds below the diagonal has no meaning (see `mirrored`).
        features: (n, d) of any float type, on any device.
    """
    on_cpu = scatter.device.type == "cpu"
    rows, block = (ROWS, BLOCK) if on_cpu else (ROWS_ON_DEVICE, BLOCK_ON_DEVICE)
    for some in features.split(rows):
        exact = some.to(scatter.device, torch.float64)
        for i in range(0, len(scatter), block):
            scatter[i : i + block, i:] += exact[:, i : i + block].T @ exact[:, i:]


def add_rows(sums: Tensor, positions: Tensor, features: Tensor) -> None:
    """Add row i of the features to row positions[i] of the sums, for each i, in place.

    Args:
        sums: (classes, d) float64.
        positions: (n,) the row of each sample, on the device of the sums.
        features: (n, d) of any float type, on any device.
    """
    for where, some in zip(positions.split(ROWS), features.split(ROWS), strict=True):
        sums.index_add_(0, where, some.to(sums.device, torch.float64))


def by_position(positions: Tensor, features: Tensor) -> Iterator[tuple[int, Tensor]]:
    """The features of each position that occurs, ascending, a copy of one at a time."""
    order = positions.argsort(stable=True)
    present, counts = positions.unique(return_counts=True)
    for position, rows in zip(
        present.tolist(), order.to(features.device).split(counts.tolist()), strict=True
    ):
        yield position, features[rows]


def mirrored(scatter: Tensor) -> Tensor:
    """The symmetric matrix that has the upper triangle of `scatter`; a new tensor."""
    return scatter.triu() + scatter.triu(1).mT


def augmented(scatter: Tensor, total: Tensor, count: int | float) -> Tensor:
    """Sum of [h, 1] [h, 1]^T from the sums of h h^T (its upper triangle), of h and of 1."""
    width = len(total)
    gram = scatter.new_empty(width + 1, width + 1)
    gram[:width, :width] = mirrored(scatter)
    gram[:width, width] = gram[width, :width] = total
    gram[width, width] = count
    return gram
