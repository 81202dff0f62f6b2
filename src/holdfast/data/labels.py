"""Class labels of any kind as 0 .. C - 1, with a name each."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor


def encode(
    labels: Mapping[str, np.ndarray], class_names: Sequence[str] | None = None
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The labels of each split as positions among the classes.

    Classes are the labels of the train split in ascending order, named by `str`. With
    `class_names`, integers are positions among the names and strings are names among them.

    Args:
        labels: (n,) labels of each split, ``train`` among them; integers, strings, booleans or
            objects that sort.
        class_names: the names of the classes, where they are known.

    Raises:
        TypeError: labels cannot be sorted (kinds are mixed, or some are missing).
        ValueError: a label is not one-dimensional, is not among the classes, or a class name is
            there twice.

    >>> encode({"train": np.array([7, 3, 7])})
    ({'train': tensor([1, 0, 1])}, ('3', '7'))
    """
    for name, values in labels.items():
        if values.ndim != 1:
            raise ValueError(
                f"y_{name} must hold one class label a sample, shape (n,), got {values.shape}; "
                "for one-hot labels pass their argmax"
            )
    if class_names is None:
        classes = _distinct(labels["train"], "y_train")
        names = tuple(str(c) for c in classes)
        known = "among those of y_train"
    else:
        names = tuple(class_names)
        if len(set(names)) != len(names):
            twice = sorted({n for n in names if names.count(n) > 1})
            raise ValueError(f"class_names holds {twice[:5]} more than once")
        numbered = all(v.dtype.kind in "iub" for v in labels.values())
        classes = list(range(len(names))) if numbered else list(names)
        known = f"among the {len(names)} class_names"
    position = {c: i for i, c in enumerate(classes)}
    encoded = {}
    for name, values in labels.items():
        present = _distinct(values, f"y_{name}")
        strangers = [p for p in present if p not in position]
        if strangers:
            raise ValueError(f"y_{name} holds labels {strangers[:5]} that are not {known}")
        encoded[name] = torch.from_numpy(_positions(values, present, position))
    return encoded, names


def _distinct(values: np.ndarray, where: str) -> list:
    """The distinct labels, ascending, as Python objects."""
    try:
        if values.dtype.kind == "O":
            return sorted(set(values.tolist()))
        return np.unique(values).tolist()
    except TypeError as error:
        kinds = sorted({type(v).__name__ for v in values.tolist()})
        raise TypeError(f"{where} mixes labels that do not sort: {kinds}") from error


def _positions(values: np.ndarray, present: list, position: Mapping) -> np.ndarray:
    if values.dtype.kind == "O":
        return np.array([position[v] for v in values.tolist()], dtype=np.int64)
    lookup = np.array([position[p] for p in present], dtype=np.int64)
    return lookup[np.searchsorted(np.asarray(present, dtype=values.dtype), values)]
