"""Arrays and map-style datasets of the user's own as the parts of a dataset."""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset, TensorDataset

from holdfast.data.images import pixels
from holdfast.data.labels import encode
from holdfast.data.normalize import Normalize
from holdfast.data.parts import Parts


def from_arrays(
    x: Mapping[str, object],
    y: Mapping[str, object],
    class_names: Sequence[str] | None = None,
    regression: bool | None = None,
    normalize: Normalize | Literal["auto"] | None = "auto",
) -> Parts:
    """The parts of a dataset given as arrays; see `Dataset.from_arrays`."""
    samples = {name: as_samples(value, f"x_{name}") for name, value in x.items()}
    targets = {name: as_array(value, f"y_{name}") for name, value in y.items()}
    for name in samples:
        if len(samples[name]) == 0:
            raise ValueError(f"x_{name} holds no samples (shape {tuple(samples[name].shape)})")
        if targets[name].ndim == 0 or len(targets[name]) != len(samples[name]):
            raise ValueError(
                f"x_{name} and y_{name} differ in length: {tuple(samples[name].shape)} and "
                f"{targets[name].shape}"
            )
    floats = [name for name, value in targets.items() if value.dtype.kind == "f"]
    if regression is None:
        if floats and len(floats) < len(targets):
            raise ValueError(
                f"y_{floats[0]} holds floats, the other targets do not; set regression=True "
                "or regression=False"
            )
        regression = bool(floats)
    if normalize == "auto":
        images = samples["train"].dtype == torch.uint8
        normalize = Normalize.of(samples["train"]) if images else None
    if regression:
        if class_names:
            raise ValueError("class_names are for class labels, but the targets are floats")
        return Parts(samples, {n: _targets(v, n) for n, v in targets.items()}, normalize=normalize)
    for name in floats:
        targets[name] = _whole(targets[name], name)
    labels, names = encode(targets, class_names)
    return Parts(samples, labels, names, normalize=normalize)


def from_torch(
    datasets: Mapping[str, object],
) -> tuple[dict[str, object], dict[str, object], Sequence[str] | None]:
    """All samples and targets of map-style datasets of (x, y) pairs, read once, in order.

    PIL images become uint8 (channels, height, width); arrays and tensors keep their shape.

    Returns:
        x, y and the names of the classes, where the train dataset has them as `classes`.

    Raises:
        TypeError: a dataset is not map-style, or its items are no pairs.
        ValueError: it is empty, or its samples differ in shape.
    """
    x: dict[str, object] = {}
    y: dict[str, object] = {}
    for name, dataset in datasets.items():
        x[name], y[name] = _read(dataset, name)
    classes = getattr(datasets["train"], "classes", None)
    named = isinstance(classes, (list, tuple)) and all(isinstance(c, str) for c in classes)
    return x, y, classes if named else None


def as_array(value: object, where: str) -> np.ndarray:
    """Anything `numpy.asarray` takes, without letting a list of mixed kinds turn into strings.

    Raises:
        TypeError: it is a sparse matrix, or no array.
        ValueError: rows differ in length.
    """
    if isinstance(value, Tensor):
        return value.detach().cpu().numpy()
    if hasattr(value, "toarray"):
        raise TypeError(f"{where} is a sparse matrix; pass {where}.toarray()")
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{where} is no regular array: {error}") from error
    if array.dtype.kind in "US" and isinstance(value, (list, tuple)):
        return np.array(value, dtype=object)
    return array


def as_samples(value: object, where: str) -> Tensor:
    """Samples as a tensor: floats as float32, uint8 kept, other integers as int64 (token ids).

    Raises:
        TypeError: the array does not hold numbers.
    """
    if isinstance(value, Tensor) and not value.is_complex():
        value = value.detach().cpu()
        if value.is_floating_point() or value.dtype == torch.bool:
            return value.to(torch.float32)
        return value if value.dtype == torch.uint8 else value.to(torch.int64)
    array = as_array(value, where)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{where} must hold real numbers, got dtype {array.dtype}")
    if array.dtype.kind in "fb":
        with np.errstate(over="ignore"):  # what float32 cannot hold is refused as infinite
            array = array.astype(np.float32, copy=False)
    elif array.dtype != np.uint8:
        array = array.astype(np.int64, copy=False)
    # torch shares the memory of an array only where it may write to it
    if not array.flags.writeable or not array.flags.c_contiguous or not array.dtype.isnative:
        array = np.array(array, dtype=array.dtype.newbyteorder("="), order="C")
    return torch.from_numpy(array)


def _targets(values: np.ndarray, name: str) -> Tensor:
    if values.dtype.kind not in "fiub":
        raise TypeError(f"y_{name} must hold real numbers for regression, got {values.dtype}")
    targets = torch.from_numpy(np.array(values, dtype=np.float32))
    return targets[:, None] if targets.ndim == 1 else targets


def _whole(values: np.ndarray, name: str) -> np.ndarray:
    wrong = ~np.isfinite(values) | (values != np.floor(values))
    if wrong.any():
        raise ValueError(
            f"y_{name} must hold whole numbers as class labels, got {values[wrong][0]} at position "
            f"{int(np.flatnonzero(wrong)[0])}; for regression targets set regression=True"
        )
    return values.astype(np.int64)


def _read(dataset: object, name: str) -> tuple[object, object]:
    if isinstance(dataset, TensorDataset):
        if len(dataset.tensors) != 2:
            raise TypeError(f"{name} must hold (x, y) pairs, got {len(dataset.tensors)} tensors")
        return dataset.tensors
    if isinstance(dataset, IterableDataset) or not (
        hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")
    ):
        raise TypeError(
            f"{name} must be a map-style dataset with __len__ and __getitem__, got "
            f"{type(dataset).__name__}; collect its samples and use from_arrays"
        )
    samples, targets = [], []
    for i in range(len(dataset)):
        item = dataset[i]
        if not isinstance(item, (tuple, list)) or len(item) != 2:
            raise TypeError(f"item {i} of {name} is no (x, y) pair but a {type(item).__name__}")
        samples.append(_sample(item[0], f"item {i} of {name}"))
        targets.append(_target(item[1]))
        if samples[-1].shape != samples[0].shape:
            raise ValueError(
                f"item {i} of {name} has shape {samples[-1].shape}, item 0 {samples[0].shape}"
            )
    if not samples:
        raise ValueError(f"{name} is empty")
    return np.stack(samples), targets


def _sample(value: object, where: str) -> np.ndarray:
    if hasattr(value, "convert") and hasattr(value, "getbands"):  # a PIL image
        image = pixels(value, where)
        return image[None] if image.ndim == 2 else image.transpose(2, 0, 1)
    return as_array(value, where)


def _target(value: object) -> object:
    if isinstance(value, Tensor):
        value = value.detach().cpu().numpy()
    return value.item() if isinstance(value, np.ndarray | np.generic) and value.ndim == 0 else value
