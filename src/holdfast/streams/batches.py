"""Batches of a training phase: from tensors on the device, or from a person's DataLoaders."""

from collections.abc import Callable, Iterator, Sequence, Sized
from dataclasses import dataclass
from typing import Protocol, cast, runtime_checkable

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from holdfast.seeds import derive, seeded
from holdfast.streams.stream import Task

Columns = Callable[[Tensor, int], Tensor]
"""(labels, task position) -> columns of the learner's logits; `Learner.columns` is one."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What a training step sees, on the device.

    x: (n, ...) network inputs, already transformed.
    y: (n,) the logit column of each sample (see `Learner.columns`), or (n, k) targets.
    task: position in the stream, one for all samples or (n,) one each.
    """

    x: Tensor
    y: Tensor
    task: int | Tensor

    def __len__(self) -> int:
        return len(self.x)

    def tasks(self) -> Tensor:
        """(n,) the task position of each sample."""
        if isinstance(self.task, Tensor):
            return self.task
        return torch.full((len(self.x),), self.task, device=self.x.device)


@runtime_checkable
class Source(Protocol):
    """Where the batches of a phase come from. The order is a pure function of the seed."""

    def __len__(self) -> int:
        """Number of samples."""

    def steps(self, size: int) -> int:
        """Number of batches an epoch."""

    def epoch(self, size: int, seed: int, skip: int = 0) -> Iterator[Batch]:
        """The batches of one shuffled epoch, the first `skip` left out."""

    def batches(self, size: int) -> Iterator[Batch]:
        """All samples once, in their stored order, in batches of at most `size`."""


class Resident:
    """Samples held on the device as network inputs; a batch is an index away.

    Args:
        x: (n, ...) network inputs on the device.
        y: (n,) columns or (n, k) targets on the device.
        task: position in the stream, one for all or (n,) one each.
    """

    def __init__(self, x: Tensor, y: Tensor, task: int | Tensor) -> None:
        self.x, self.y, self.task = x, y, task

    @classmethod
    def of(
        cls,
        tasks: Sequence[tuple[int, Task]],
        columns: Columns,
        device: torch.device | str = "cpu",
    ) -> "Resident":
        """The training samples of the tasks at the given positions, transformed on the device."""
        xs, ys, ids = [], [], []
        for position, task in tasks:
            if isinstance(task.train, DataLoader):
                raise TypeError(f"task {task.name!r} is fed by a DataLoader; use Loaded")
            xs.append(transformed(task, task.train.x, device))
            ys.append(columns(task.train.y.to(device), position))
            ids.append(torch.full((len(task.train),), position, device=device))
        if len(xs) == 1:
            return cls(xs[0], ys[0], tasks[0][0])
        return cls(torch.cat(xs), torch.cat(ys), torch.cat(ids))

    def __len__(self) -> int:
        return len(self.x)

    def steps(self, size: int) -> int:
        """Number of batches an epoch, the last one possibly short."""
        return -(-len(self) // size)

    def at(self, index: Tensor) -> Batch:
        """The samples at `index`, copied."""
        # index_select copies whole rows: three times as fast as indexing with a tensor on the CPU.
        task = self.task.index_select(0, index) if isinstance(self.task, Tensor) else self.task
        return Batch(self.x.index_select(0, index), self.y.index_select(0, index), task)

    def epoch(self, size: int, seed: int, skip: int = 0) -> Iterator[Batch]:
        """The batches of one shuffled epoch, the first `skip` left out."""
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))
        for index in order.to(self.x.device).split(size)[skip:]:
            yield self.at(index)

    def batches(self, size: int) -> Iterator[Batch]:
        """All samples once, in their stored order: views, nothing is copied."""
        for start in range(0, len(self), size):
            part = slice(start, start + size)
            task = self.task[part] if isinstance(self.task, Tensor) else self.task
            yield Batch(self.x[part], self.y[part], task)


class Loaded:
    """Batches of a person's own `DataLoader`s; the loader's batch size and order are kept.

    An epoch runs through the loaders in turn. The loader draws (its order, augmentation) from
    torch's global generator, seeded for it by the epoch and hidden from everybody else, or from a
    generator of its own, seeded likewise; so a resumed epoch repeats the interrupted one. A loader
    that draws from elsewhere (`random`, numpy) cannot be resumed bit for bit.
    """

    def __init__(
        self,
        tasks: Sequence[tuple[int, Task]],
        columns: Columns,
        device: torch.device | str = "cpu",
    ) -> None:
        self.tasks, self.columns, self.device = list(tasks), columns, torch.device(device)

    def _loader(self, task: Task) -> DataLoader:
        if isinstance(task.train, DataLoader):
            return task.train
        raise TypeError(f"task {task.name!r} holds tensors; use Resident")

    def __len__(self) -> int:
        return sum(len(cast(Sized, self._loader(task).dataset)) for _, task in self.tasks)

    def steps(self, size: int) -> int:
        """Number of batches an epoch; `size` is the loader's own business."""
        return sum(len(self._loader(t)) for _, t in self.tasks)

    def epoch(self, size: int, seed: int, skip: int = 0) -> Iterator[Batch]:
        """The batches of one epoch, the first `skip` drawn and dropped."""
        for position, task in self.tasks:
            loader = self._loader(task)
            own = getattr(loader, "generator", None)
            if own is not None:
                own.manual_seed(derive(seed, "loader", position))
            with seeded(seed, "loader", position):
                batches, state = iter(loader), torch.get_rng_state()
            while True:
                with torch.random.fork_rng(devices=[]):
                    torch.set_rng_state(state)
                    drawn = next(batches, None)
                    state = torch.get_rng_state()
                if drawn is None:
                    break
                if skip > 0:
                    skip -= 1
                else:
                    yield self._batch(task, position, *drawn)

    def batches(self, size: int) -> Iterator[Batch]:
        """One pass over the loaders, whatever their order."""
        return self.epoch(size, seed=0)

    def _batch(self, task: Task, position: int, x: Tensor, y: Tensor) -> Batch:
        x = task.inputs(x.to(self.device, non_blocking=True))
        return Batch(x, self.columns(y.to(self.device, non_blocking=True), position), position)


_CHUNK = 16384
"""Rows transformed at a time: bounds the temporary memory of a transform."""


def transformed(task: Task, x: Tensor, device: torch.device | str) -> Tensor:
    """Raw samples of a task as network inputs on the device."""
    parts = [task.inputs(part.to(device)) for part in x.split(_CHUNK)]
    return parts[0] if len(parts) == 1 else torch.cat(parts)
