"""Tasks that see the pixels of one dataset in different places."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from holdfast.data.split import Dataset
from holdfast.seeds import generator
from holdfast.streams.stream import Scenario, Stream, Transform
from holdfast.streams.views import views


@dataclass(frozen=True, eq=False)
class Permute:
    """Positions of a sample exchanged: position i of the result holds position ``order[i]``.

    Args:
        order: a permutation of the positions.
        dims: how many of a sample's last dimensions the positions number, row by row; what lies
            before them (the channels) moves along.

    >>> Permute(torch.tensor([2, 0, 1]), dims=1)(torch.tensor([[5, 6, 7]]))
    tensor([[7, 5, 6]])
    """

    order: Int64[Tensor, " positions"]
    dims: int

    def __call__(self, x: Tensor) -> Tensor:
        """Permute a batch (n, ...), on its own device."""
        flat = x.flatten(-self.dims)
        return flat.index_select(-1, self.order.to(x.device)).view(x.shape)


def permuted(
    dataset: Dataset,
    tasks: int = 10,
    similarity: float = 0.0,
    scenario: Scenario = "domain_incremental",
    permute_first: bool = False,
    mix_channels: bool = False,
    validation: float = 0.0,
    seed: int = 0,
) -> Stream:
    """One dataset whose pixels are permuted anew for each task.

    A fraction p = `similarity` of the pixels stays in place in every task: the centred rectangle
    of round(height sqrt(p)) x round(width sqrt(p)) pixels, and of vectors the centred run of
    round(p length) entries. The others are permuted among themselves, all permutations alike (so
    about one pixel more stays by chance). p = 1 makes all tasks the same, p = 0 is Permuted-MNIST
    (Goodfellow et al., 2014).

    Args:
        dataset: of images (n, ..., height, width) or vectors (n, length).
        tasks: number of tasks.
        similarity: fraction of the pixels left in place, in [0, 1].
        scenario: ``domain_incremental``, or ``task_incremental`` for a head a task.
        permute_first: permute the first task too; else it sees the samples as they are.
        mix_channels: permute the channel values of all pixels as one vector; else the channels of
            a pixel move together.
        validation: fraction of the training samples held out, see `hold_out`.
        seed: of the permutations and of what is held out.

    Raises:
        ValueError: `similarity` outside [0, 1], no tasks, samples that are single numbers, or a
            class-incremental scenario.
    """
    if not 0 <= similarity <= 1:
        raise ValueError(f"similarity must lie in [0, 1], got {similarity}")
    if tasks < 1:
        raise ValueError(f"tasks must be a positive integer, got {tasks}")
    shape = dataset.input_shape
    if not shape:
        raise ValueError(f"{dataset.name!r} has samples of shape (): there is nothing to permute")
    dims = min(len(shape), 2)
    kept = kept_in_place(shape[-dims:], similarity)
    if mix_channels:
        kept, dims = kept.expand(math.prod(shape[:-dims]), -1).flatten(), len(shape)
    transforms: dict[str, Transform] = {}
    for i in range(tasks):
        order = torch.arange(len(kept))
        if i > 0 or permute_first:
            free = (~kept).nonzero().flatten()
            drawn = torch.randperm(len(free), generator=generator(seed, "permutation", i))
            order[free] = free[drawn]
        original = i == 0 and not permute_first
        transforms["original" if original else f"permutation {i}"] = Permute(order, dims)
    return views(dataset, transforms, scenario, True, validation, seed)


def kept_in_place(shape: tuple[int, ...], similarity: float) -> Bool[Tensor, " positions"]:
    """Which positions of an image (height, width) or a vector (length,) stay, row by row."""
    kept = torch.zeros(shape, dtype=torch.bool)
    share = similarity ** (1 / len(shape))
    sides = [round(side * share) for side in shape]
    starts = [(side - inner) // 2 for side, inner in zip(shape, sides, strict=True)]
    box = tuple(slice(a, a + inner) for a, inner in zip(starts, sides, strict=True))
    kept[box] = True
    return kept.flatten()
