"""Which source serves the tasks of a training phase."""

from collections.abc import Sequence

import torch
from torch.utils.data import DataLoader

from holdfast.streams.batches import Columns, Loaded, Resident, Source
from holdfast.streams.stream import Task
from holdfast.streams.streamed import Streamed, fit


def source(
    tasks: Sequence[tuple[int, Task]], columns: Columns, device: torch.device | str = "cpu"
) -> Source:
    """The training source of the tasks at the given stream positions.

    `Resident` where the samples fit on the device, `Streamed` where they do not, `Loaded` where
    they come as `DataLoader`s.

    Raises:
        TypeError: some of the tasks hold tensors and others a `DataLoader`.
    """
    if are_loaded([task for _, task in tasks]):
        return Loaded(tasks, columns, device)
    if fit(tasks, device):
        return Resident.of(tasks, columns, device)
    return Streamed(tasks, columns, device)


def are_loaded(tasks: Sequence[Task]) -> bool:
    """Whether the training samples of the tasks come as `DataLoader`s.

    Raises:
        TypeError: those of some do and those of others do not.
    """
    names = [task.name for task in tasks if isinstance(task.train, DataLoader)]
    if names and len(names) < len(tasks):
        raise TypeError(f"tasks {names} are fed by a DataLoader, the others are not; use one form")
    return bool(names)
