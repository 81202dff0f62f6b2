"""Training samples too many for the device: read, moved and transformed batch by batch."""

import math
import os
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from holdfast.streams.batches import Batch, Columns
from holdfast.streams.stream import Task

_Part = tuple[int, Tensor, Tensor, Tensor]
"""Position of the task, its raw samples and columns in the batch, and their places there."""


class Streamed:
    """The batches `Resident` would give, made when they are needed.

    The raw samples stay where they are, in memory or in a file mapped into it; a `DataLoader`
    gathers the rows of a batch (in pinned memory for CUDA), the task's transform runs on the
    device. Order and values are those of `Resident`, bit for bit.
    """

    def __init__(
        self,
        tasks: Sequence[tuple[int, Task]],
        columns: Columns,
        device: torch.device | str = "cpu",
    ) -> None:
        self.tasks, self.device = dict(tasks), torch.device(device)
        self.rows = _Rows(tasks, columns, self.device)

    def __len__(self) -> int:
        return len(self.rows)

    def steps(self, size: int) -> int:
        """Number of batches an epoch, the last one possibly short."""
        return -(-len(self) // size)

    def epoch(self, size: int, seed: int, skip: int = 0) -> Iterator[Batch]:
        """The batches of one shuffled epoch, the first `skip` left out."""
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))
        return self._read(order.split(size)[skip:])

    def batches(self, size: int) -> Iterator[Batch]:
        """All samples once, in their stored order."""
        return self._read(torch.arange(len(self)).split(size))

    def _read(self, indices: Sequence[Tensor]) -> Iterator[Batch]:
        loader = DataLoader(
            self.rows,
            batch_size=None,
            sampler=indices,
            collate_fn=lambda parts: parts,
            pin_memory=self.device.type == "cuda",
            generator=torch.Generator(),
        )
        for parts in loader:
            yield self._batch(parts)

    def _batch(self, parts: Sequence[_Part]) -> Batch:
        xs, ys, ids, places = [], [], [], []
        for position, x, y, place in parts:
            x = x.to(self.device, non_blocking=True)
            xs.append(self.tasks[position].inputs(x))
            ys.append(y.to(self.device, non_blocking=True))
            ids.append(torch.full((len(x),), position, device=self.device))
            places.append(place)
        if len(self.tasks) == 1:
            return Batch(xs[0], ys[0], parts[0][0])
        back = torch.cat(places).argsort().to(self.device)
        return Batch(torch.cat(xs)[back], torch.cat(ys)[back], torch.cat(ids)[back])


class _Rows(Dataset):
    """All samples in a row, task after task; an item is what an index tensor picks."""

    def __init__(
        self, tasks: Sequence[tuple[int, Task]], columns: Columns, device: torch.device
    ) -> None:
        self.parts: list[tuple[int, Tensor, Tensor]] = []
        for position, task in tasks:
            if isinstance(task.train, DataLoader):
                raise TypeError(f"task {task.name!r} is fed by a DataLoader; use Loaded")
            y = columns(task.train.y.to(device), position).cpu()
            self.parts.append((position, task.train.x, y))
        sizes = torch.tensor([len(y) for _, _, y in self.parts])
        self.ends = sizes.cumsum(0)
        self.starts = (self.ends - sizes).tolist()

    def __len__(self) -> int:
        return int(self.ends[-1])

    def __getitem__(self, index: Tensor) -> list[_Part]:
        which = torch.bucketize(index, self.ends, right=True)
        picked = []
        for i in which.unique().tolist():
            place = (which == i).nonzero().flatten()
            row = index[place] - self.starts[i]
            position, x, y = self.parts[i]
            picked.append((position, x[row], y[row], place))
        return picked


def fit(tasks: Sequence[tuple[int, Task]], device: torch.device | str = "cpu") -> bool:
    """Whether the training samples may lie on the device as float32 network inputs.

    They may take half of what is free on a GPU, and a quarter of the machine's memory.
    """
    device = torch.device(device)
    rows = sum(len(t.train) for _, t in tasks if not isinstance(t.train, DataLoader))
    needed = 4 * rows * math.prod(tasks[0][1].input_shape)
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return needed <= free // 2
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return True  # a system that does not tell
    return needed <= memory // 4
