"""The data of a diagnosis: read once, and from then on in one place for all arms."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from holdfast.data.arrays import as_array, as_samples, from_torch
from holdfast.data.split import Split
from holdfast.streams.batches import transformed
from holdfast.streams.stream import Stream, Task, Transform

Samples = Split | DataLoader | TorchDataset | Sequence[Any]
"""A `Split`, a pair (x, y) of tensors or arrays, map-style data of pairs, or a `DataLoader`."""

OLD, NEW = 0, 1
"""Positions of the two phases in a stream: what there was yesterday, and all there is today."""


def two_phases(
    old: Samples,
    new: Samples,
    test: Samples,
    device: torch.device,
    transform: Transform | None = None,
) -> Stream:
    """The two phases as a stream: the old samples, then old and new ones together.

    Samples are read and transformed once and lie on the device; the phases share their memory.
    What an augmenting loader draws is drawn once.

    Args:
        old: samples that yesterday's weights were trained on.
        new: samples that came since.
        test: samples that accuracy is told on.
        device: where they are put.
        transform: of raw samples (n, ...) into inputs of the net; see `Task`.

    Raises:
        TypeError: one of them is nothing that holds samples and class labels, or `transform` is no
            function.
        ValueError: one is empty, they differ in shape, the training data hold one class alone, or
            the test data one that they lack; a transform that loses samples.
    """
    given = {"old": old, "new": new, "test": test}
    splits = {name: samples(data, name) for name, data in given.items()}
    for name, split in splits.items():
        if split.input_shape != splits["old"].input_shape:
            raise ValueError(
                f"{name} holds samples of shape {split.input_shape}, old of shape "
                f"{splits['old'].input_shape}; they must be alike"
            )
    if transform is not None and not callable(transform):
        raise TypeError(f"transform must be a function of samples (n, ...), got {transform!r}")
    raw = Task("test", splits["test"], splits["test"], transform=transform)
    ready = {}
    for name, split in splits.items():
        x = transformed(raw, split.x, device)
        if len(x) != len(split):
            raise ValueError(
                f"transform made {len(x)} inputs of the {len(split)} samples of {name}"
            )
        ready[name] = Split(x, split.y.to(device))
    together = Split(
        torch.cat([ready["old"].x, ready["new"].x]), torch.cat([ready["old"].y, ready["new"].y])
    )
    classes = together.classes
    if len(classes) < 2:
        raise ValueError(f"old and new hold the class {classes[0]} alone: there is nothing to tell")
    strangers = sorted(set(ready["test"].classes) - set(classes))
    if strangers:
        raise ValueError(f"test holds labels {strangers[:5]} that neither old nor new has")
    count = len(ready["old"])
    first = Split(together.x[:count], together.y[:count])
    tasks = [
        Task("old", first, ready["test"], classes=classes),
        Task("old and new", together, ready["test"], classes=classes),
    ]
    return Stream(tasks, "domain_incremental", "diagnosis")


def training_split(stream: Stream, phase: int) -> Split:
    """The training samples of a phase."""
    split = stream[phase].train
    assert isinstance(split, Split)
    return split


def samples(data: object, name: str) -> Split:
    """Samples with class labels, read once into memory.

    Raises:
        TypeError: it is none of the kinds of `Samples`, or the labels are no integers.
        ValueError: it is empty, samples differ in shape, or x and y in length.
    """
    if isinstance(data, Split):
        found = data
    elif isinstance(data, DataLoader):
        found = _loaded(data, name)
    elif isinstance(data, (tuple, list)) and len(data) == 2 and not _is_pair(data[0]):
        found = _split(name, as_samples(data[0], f"{name} x"), as_array(data[1], f"{name} y"))
    elif hasattr(data, "__getitem__") and hasattr(data, "__len__"):
        x, y, _ = from_torch({"train": data})
        found = _split(name, as_samples(x["train"], f"{name} x"), as_array(y["train"], f"{name} y"))
    else:
        raise TypeError(
            f"{name} must be a pair (x, y) of tensors, a Split, a map-style dataset of such pairs "
            f"or a DataLoader; got {type(data).__name__}"
        )
    if found.is_regression:
        raise TypeError(f"{name} must hold class labels, integers of shape (n,); got float targets")
    return found


def _is_pair(item: object) -> bool:
    """Whether the data are a list of two (x, y) pairs rather than a pair themselves."""
    return isinstance(item, (tuple, list)) and len(item) == 2 and isinstance(item[0], Tensor)


def _loaded(loader: DataLoader, name: str) -> Split:
    x, y = [], []
    # A loader draws from the global generators, which are not ours to move.
    with torch.random.fork_rng(devices=[]):
        for batch in loader:
            if not isinstance(batch, (tuple, list)) or len(batch) != 2:
                raise TypeError(f"{name} must give batches (x, y), got a {type(batch).__name__}")
            x.append(as_samples(batch[0], f"{name} x"))
            y.append(torch.as_tensor(batch[1]))
    if not x:
        raise ValueError(f"{name} is a DataLoader without batches")
    return _split(name, torch.cat(x), torch.cat(y).cpu().numpy())


def _split(name: str, x: Tensor, y: Any) -> Split:
    try:
        return Split(x, torch.as_tensor(y))
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name}: {error}") from error
