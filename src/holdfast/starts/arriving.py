"""Features, labels and classes, looked at before anything is changed."""

import math
import operator
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

LARGEST = 1e150
"""Features beyond it are refused: their squares leave the range of float64."""


@dataclass(frozen=True)
class Batch:
    """Features and the classes they belong to.

    Args:
        features: (n, width), detached.
        classes: the labels that occur, in the order of their first samples.
        positions: (n,) position of each sample's class among `classes`.
    """

    features: Tensor
    classes: tuple[int, ...]
    positions: Tensor


def batch(features: Tensor, labels: Tensor, width: int, number: int, device: torch.device) -> Batch:
    """A batch, checked; `positions` on `device`.

    Raises:
        TypeError: features that are no floating-point tensor, labels that are no integer tensor.
        ValueError: another width than `width`, no samples, another number of labels, a negative
            label, or a feature that is not finite, with the number of the batch and the row.
    """
    _check_kinds(features, labels)
    if features.ndim != 2 or features.shape[1] != width:
        raise ValueError(
            f"features of batch {number} must have shape (n, {width}), got {tuple(features.shape)}"
        )
    if labels.shape != features.shape[:1]:
        raise ValueError(
            f"labels of batch {number} must have shape ({len(features)},), one a row of features; "
            f"got {tuple(labels.shape)}"
        )
    if len(features) == 0:
        raise ValueError(f"batch {number} has no samples; leave it out")
    features = features.detach()
    _check_finite(features, number)
    labels = labels.to(device, torch.int64)
    present, positions = labels.unique(return_inverse=True)
    if present[0] < 0:
        raise ValueError(
            f"labels of batch {number} must be class numbers >= 0, got {int(present[0])} at row "
            f"{int((labels < 0).nonzero()[0])}; leave samples without a class out"
        )
    # `unique` sorts; classes come in the order of their first samples.
    rows = torch.arange(len(labels), device=device)
    first = torch.full_like(present, len(labels))
    order = first.scatter_reduce_(0, positions, rows, "amin").argsort()
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order), device=device)
    return Batch(features, tuple(present[order].tolist()), rank[positions])


def class_numbers(classes: Iterable[int], name: str) -> tuple[int, ...]:
    """Classes that were given as the argument `name`.

    Raises:
        TypeError: they are no integers.
    """
    try:
        return tuple(operator.index(c) for c in classes)
    except TypeError:
        raise TypeError(
            f"{name} must hold classes as integers, the labels of their samples; got {classes!r}"
        ) from None


def _check_kinds(features: Tensor, labels: Tensor) -> None:
    if not isinstance(features, Tensor) or not features.is_floating_point():
        kind = features.dtype if isinstance(features, Tensor) else type(features).__name__
        raise TypeError(
            f"features must be a tensor of float16, bfloat16, float32 or float64, got {kind}"
        )
    if not isinstance(labels, Tensor) or labels.is_floating_point() or labels.dtype == torch.bool:
        kind = labels.dtype if isinstance(labels, Tensor) else type(labels).__name__
        raise TypeError(f"labels must be a tensor of integers, one class a sample, got {kind}")


def _check_finite(features: Tensor, number: int) -> None:
    low, high = (bound.item() for bound in features.aminmax())
    if math.isfinite(low) and math.isfinite(high) and max(-low, high) <= LARGEST:
        return
    # In float64: as a float32 the bound itself would be infinite.
    row, column = (~(features.double().abs() <= LARGEST)).nonzero()[0].tolist()
    raise ValueError(
        f"features of batch {number} hold {features[row, column].item()} at row {row}, column "
        f"{column} (counted from 0); they must be finite and within {LARGEST:g}. Nothing of this "
        "batch was taken in"
    )
