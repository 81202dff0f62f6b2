"""The chunks in which the samples of a phase arrived, a batch of each."""

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from holdfast.seeds import generator
from holdfast.streams.batches import Batch
from holdfast.streams.context import Context

_ROWS = 1024
"""Samples looked at together."""


def chunk_batches(context: Context, samples: int) -> list[Batch]:
    """One batch of each chunk of the phase's samples, in the order in which they arrived.

    Where each task begins with the samples of the one before (`holdfast.streams.growing`), a chunk
    is what a task added; else it is the samples of a task, those of earlier ones first, which a
    method such as `holdfast.methods.Joint` rehearses. Samples are drawn by the run's seed and the
    position of the task.

    Args:
        context: of the phase.
        samples: of a batch at most; a smaller chunk is taken whole.
    """
    draws = generator(context.seed, "chunks", context.index)
    priority = torch.rand(len(context.source), generator=draws)
    ends = _ends(context)
    held: dict[int, tuple[Tensor, Batch]] = {}
    first = 0
    for batch in context.source.batches(_ROWS):
        rows = torch.arange(first, first + len(batch))
        first += len(batch)
        chunk = batch.tasks().cpu() if ends is None else torch.bucketize(rows, ends, right=True)
        for number in chunk.unique().tolist():
            own = (chunk == number).nonzero()[:, 0]
            new = priority[rows[own]], _at(batch, own)
            held[number] = _lowest([held[number], new] if number in held else [new], samples)
    return [batch for _, (_, batch) in sorted(held.items())]


def _ends(context: Context) -> Tensor | None:
    """Where chunks end among the samples of the task, if it holds the earlier tasks first."""
    trains = [task.train for task in context.stream[: context.index + 1]]
    last = trains[-1]
    if isinstance(last, DataLoader) or len(context.source) != len(last):
        return None
    for train in trains:
        if isinstance(train, DataLoader) or len(train) > len(last):
            return None
        x, y = last.x[: len(train)], last.y[: len(train)]
        # Views of one tensor are known at once.
        if x.data_ptr() != train.x.data_ptr() and not (
            torch.equal(x, train.x) and torch.equal(y, train.y)
        ):
            return None
    return torch.tensor(sorted({len(train) for train in trains}))


def _at(batch: Batch, rows: Tensor) -> Batch:
    rows = rows.to(batch.x.device)
    task = batch.task[rows] if isinstance(batch.task, Tensor) else batch.task
    return Batch(batch.x[rows], batch.y[rows], task)


def _lowest(parts: list[tuple[Tensor, Batch]], samples: int) -> tuple[Tensor, Batch]:
    """The `samples` of lowest priority, in the order in which they are stored."""
    priority = torch.cat([p for p, _ in parts])
    batches = [b for _, b in parts]
    task = batches[0].task
    whole = Batch(
        torch.cat([b.x for b in batches]),
        torch.cat([b.y for b in batches]),
        torch.cat([b.tasks() for b in batches]) if isinstance(task, Tensor) else task,
    )
    rows = priority.argsort(stable=True)[:samples].sort().values
    return priority[rows], _at(whole, rows)
