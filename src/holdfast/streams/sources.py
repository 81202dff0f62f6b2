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
    loaded = [isinstance(task.train, DataLoader) for _, task in tasks]
    if all(loaded):
        return Loaded(tasks, columns, device)
    if any(loaded):
        names = [task.name for (_, task), is_loader in zip(tasks, loaded, strict=True) if is_loader]
        raise TypeError(f"tasks {names} are fed by a DataLoader, the others are not; use one form")
    if fit(tasks, device):
        return Resident.of(tasks, columns, device)
    return Streamed(tasks, columns, device)
