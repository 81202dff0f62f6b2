"""Samples with labels, and the split dataset they belong to."""

from dataclasses import dataclass

import torch
from torch import Tensor

from holdfast.data.normalize import Normalize


@dataclass(frozen=True, eq=False)
class Split:
    """Samples `x` in their natural shape with labels or targets `y`.

    Args:
        x: (n, ...) images as uint8 (n, channels, height, width), vectors, token ids: any dtype.
        y: (n,) integer class labels (kept as int64) or (n, k) float regression targets.

    Raises:
        TypeError: `x` or `y` is no tensor, or `y` is neither integer nor float.
        ValueError: the two differ in length, are empty, hold NaN or infinity, or `y` has the
            wrong number of dimensions.

    >>> Split(torch.zeros(3, 2), torch.tensor([0, 1, 1]))
    Split(3 x (2,), float32, classes 0..1)
    """

    x: Tensor
    y: Tensor

    def __post_init__(self) -> None:
        for name, value in (("x", self.x), ("y", self.y)):
            if not isinstance(value, Tensor):
                raise TypeError(f"Split.{name} must be a torch.Tensor, got {type(value).__name__}")
        if self.x.ndim < 1 or len(self.x) == 0:
            raise ValueError(f"Split.x holds no samples (shape {tuple(self.x.shape)})")
        if self.y.ndim < 1 or len(self.x) != len(self.y):
            raise ValueError(
                f"Split.x and Split.y differ in length: {tuple(self.x.shape)} and "
                f"{tuple(self.y.shape)}"
            )
        _check_finite("Split.x", self.x)
        if self.y.is_floating_point():
            if self.y.ndim != 2:
                raise ValueError(
                    f"Split.y of regression targets must be (n, k), got {tuple(self.y.shape)}; "
                    "class labels must be integers"
                )
            _check_finite("Split.y", self.y)
        elif self.y.dtype == torch.bool or self.y.is_complex():
            raise TypeError(f"Split.y must hold integers or floats, got {self.y.dtype}")
        else:
            if self.y.ndim != 1:
                raise ValueError(f"Split.y of class labels must be (n,), got {tuple(self.y.shape)}")
            if int(self.y.min()) < 0:
                raise ValueError(f"Split.y holds a negative class label ({int(self.y.min())})")
            object.__setattr__(self, "y", self.y.to(torch.int64))

    def __len__(self) -> int:
        return len(self.x)

    def __repr__(self) -> str:
        kind = str(self.x.dtype).removeprefix("torch.")
        if self.is_regression:
            what = f"{self.y.shape[1]} targets"
        else:
            what = f"classes {int(self.y.min())}..{int(self.y.max())}"
        return f"Split({len(self)} x {self.input_shape}, {kind}, {what})"

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one sample."""
        return tuple(self.x.shape[1:])

    @property
    def is_regression(self) -> bool:
        """Whether `y` holds float targets rather than class labels."""
        return self.y.is_floating_point()

    @property
    def classes(self) -> tuple[int, ...]:
        """The class labels present, ascending; empty for regression."""
        return () if self.is_regression else tuple(torch.unique(self.y).tolist())

    def take(self, index: Tensor) -> "Split":
        """The samples at `index` (integer positions or a boolean mask), copied."""
        return Split(self.x[index], self.y[index])


@dataclass(frozen=True, eq=False)
class Dataset:
    """A dataset with its train and test split.

    Args:
        train: what is learned from.
        test: what is reported on.
        validation: held out by the dataset's authors, where they did.
        class_names: one name a class label; labels must lie below their number.
        groups: coarse group of each class label (superclass, domain, alphabet), where there is one.
        group_names: one name a group.
        normalize: how raw samples become network inputs, on the device.
        name: for display and for `config.yaml`.

    Raises:
        ValueError: the splits disagree in sample shape or kind of target, a label has no class
            name, or the groups do not cover the classes.
    """

    train: Split
    test: Split
    validation: Split | None = None
    class_names: tuple[str, ...] = ()
    groups: tuple[int, ...] = ()
    group_names: tuple[str, ...] = ()
    normalize: Normalize | None = None
    name: str = "dataset"

    def __post_init__(self) -> None:
        others = {"test": self.test, "validation": self.validation}
        for name, split in others.items():
            if split is None:
                continue
            if split.input_shape != self.train.input_shape:
                raise ValueError(
                    f"{name} samples have shape {split.input_shape}, train samples "
                    f"{self.train.input_shape}"
                )
            if split.is_regression != self.train.is_regression:
                raise ValueError(f"train and {name} must both hold classes or both hold targets")
        if self.is_regression:
            return
        highest = max(int(s.y.max()) for s in (self.train, self.test, self.validation) if s)
        if self.class_names and highest >= len(self.class_names):
            raise ValueError(
                f"label {highest} has no name: class_names holds {len(self.class_names)}"
            )
        if self.groups and highest >= len(self.groups):
            raise ValueError(f"label {highest} has no group: groups holds {len(self.groups)}")

    def __repr__(self) -> str:
        target = "regression" if self.is_regression else f"{len(self.classes)} classes"
        return (
            f"Dataset({self.name!r}, {target}, train {len(self.train)}, test {len(self.test)}, "
            f"sample {self.input_shape})"
        )

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one sample."""
        return self.train.input_shape

    @property
    def is_regression(self) -> bool:
        """Whether the targets are floats rather than class labels."""
        return self.train.is_regression

    @property
    def classes(self) -> tuple[int, ...]:
        """The class labels of the train split, ascending; empty for regression."""
        return self.train.classes


def _check_finite(name: str, values: Tensor) -> None:
    if not values.is_floating_point():
        return
    finite = torch.isfinite(values.reshape(len(values), -1)).all(dim=1)
    if not bool(finite.all()):
        bad = (~finite).nonzero().flatten()
        raise ValueError(
            f"{name} holds NaN or infinity in {len(bad)} of {len(values)} samples, "
            f"the first at position {int(bad[0])}"
        )
