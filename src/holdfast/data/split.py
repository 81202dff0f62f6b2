"""Samples with labels, and the split dataset they belong to."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from holdfast.data import arrays
from holdfast.data.hub import read_hub
from holdfast.data.normalize import Normalize
from holdfast.data.parquet import read_folder
from holdfast.data.parts import SPLITS, Parts
from holdfast.data.stratify import stratified
from holdfast.data.text import Encoder


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
            object.__setattr__(self, "y", self.y.to(torch.int64))
            if int(self.y.min()) < 0:
                raise ValueError(f"Split.y holds a negative class label ({int(self.y.min())})")

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

    def subset(
        self, per_class: int | None = None, fraction: float | None = None, seed: int = 0
    ) -> "Split":
        """A random part with every class in its share, in the stored order; see `stratified`.

        >>> Split(torch.zeros(6, 2), torch.tensor([0, 0, 0, 1, 1, 1])).subset(per_class=2)
        Split(4 x (2,), float32, classes 0..1)
        """
        return self.take(stratified(self.y, per_class=per_class, fraction=fraction, seed=seed))


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
            name, the groups do not cover the classes, or a group has no name.
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
        strangers = [g for g in self.groups if not 0 <= g < len(self.group_names)]
        if self.group_names and strangers:
            raise ValueError(
                f"group {strangers[0]} has no name: group_names holds {len(self.group_names)}"
            )
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

    @classmethod
    def from_arrays(
        cls,
        x_train: object,
        y_train: object,
        x_test: object,
        y_test: object,
        x_validation: object | None = None,
        y_validation: object | None = None,
        *,
        class_names: Sequence[str] | None = None,
        groups: Sequence[int] = (),
        group_names: Sequence[str] = (),
        regression: bool | None = None,
        normalize: Normalize | Literal["auto"] | None = "auto",
        name: str = "arrays",
    ) -> "Dataset":
        """A dataset of your own arrays, tensors or lists.

        Memory is shared where the dtype allows it.

        Args:
            x_train: (n, ...) samples; images are (n, channels, height, width). uint8 is kept,
                floats become float32, other integers int64 (token ids).
            y_train: (n,) class labels that sort (integers, strings, ...), numbered 0 .. C - 1 in
                their order, or (n,) or (n, k) float regression targets, kept as (n, k).
            x_test: likewise, as are the validation arrays.
            y_test: likewise; class labels must occur in `y_train`.
            x_validation: given with `y_validation`, or not at all.
            y_validation: given with `x_validation`, or not at all.
            class_names: one name a class. Integer labels are then positions among the names and
                are kept, string labels are names among them.
            groups: coarse group of each class.
            group_names: one name a group.
            regression: whether the targets are regression targets; by default those of a float
                dtype are. False takes floats that are whole numbers as class labels.
            normalize: ``"auto"`` standardises uint8 samples by the train split and leaves others.
            name: for display.

        Raises:
            TypeError: an array does not hold numbers, or labels do not sort.
            ValueError: shapes do not match, a split is empty, the data hold NaN or infinity, or a
                label is not a class.

        >>> Dataset.from_arrays([[0.0], [1.0]], ["no", "yes"], [[2.0]], ["yes"]).class_names
        ('no', 'yes')
        """
        if (x_validation is None) != (y_validation is None):
            raise ValueError("x_validation and y_validation must be given together")
        x, y = {"train": x_train, "test": x_test}, {"train": y_train, "test": y_test}
        if x_validation is not None:
            x["validation"], y["validation"] = x_validation, y_validation
        parts = arrays.from_arrays(x, y, class_names, regression, normalize)
        return replace(cls._of(parts, name), groups=tuple(groups), group_names=tuple(group_names))

    @classmethod
    def from_torch(
        cls,
        train: object,
        test: object,
        validation: object | None = None,
        *,
        class_names: Sequence[str] | None = None,
        regression: bool | None = None,
        normalize: Normalize | Literal["auto"] | None = "auto",
        name: str = "torch",
    ) -> "Dataset":
        """A dataset of map-style `torch.utils.data` datasets of (x, y) pairs.

        All samples are read once, into memory, so random transforms are drawn once. PIL images
        become uint8 (channels, height, width). The arguments are those of `from_arrays`; class
        names default to the attribute ``classes`` of `train`, where it has one.

        Raises:
            TypeError: a dataset is not map-style, or its items are no (x, y) pairs.
            ValueError: a dataset is empty, its samples differ in shape, or as in `from_arrays`.
        """
        given = {"train": train, "test": test, "validation": validation}
        x, y, found = arrays.from_torch({n: d for n, d in given.items() if d is not None})
        names = class_names if class_names is not None else found
        return cls._of(arrays.from_arrays(x, y, names, regression, normalize), name)

    @classmethod
    def from_parquet(
        cls,
        folder: str | Path,
        *,
        x: str | None = None,
        y: str | None = None,
        group: str | None = None,
        encode: Encoder | None = None,
        name: str | None = None,
    ) -> "Dataset":
        """A folder with train.parquet, test.parquet and perhaps validation.parquet (hub layout).

        Images (PNG, WebP, JPEG) become uint8 (n, channels, height, width), sentences what
        `encode` makes of them, lists of numbers vectors. What is decoded is kept on disk and read
        from there next time (see `holdfast.data.cache`).

        Args:
            folder: of the files; shards named ``train-00000-of-00002.parquet`` are joined.
            x: column of the samples; by default that of the known dataset `name`, else the first
                of the usual names (image, img, text, ...).
            y: column of the class labels or float targets, found likewise.
            group: column of the coarse group of each sample's class.
            encode: sentences -> tensor; `bag_of_words` by default.
            name: by default that of the folder.

        Raises:
            FileNotFoundError: the folder or one of its files is not there.
            ValueError: a file cannot be read, a column is not there, or a sample or label is
                missing.
            ImportError: pyarrow or Pillow is not installed.
        """
        place = Path(folder)
        name = name or place.resolve().name
        return cls._of(read_folder(place, name, x, y, group, encode), name)

    @classmethod
    def from_hub(
        cls,
        name: str,
        *,
        config: str | None = None,
        x: str | None = None,
        y: str | None = None,
        group: str | None = None,
        encode: Encoder | None = None,
    ) -> "Dataset":
        """A dataset of the Hugging Face hub, fetched and kept by the package `datasets`.

        Args:
            name: a known dataset (mnist, fashion_mnist, cifar10, cifar100, omniglot, clinc150) or
                ``owner/dataset``.
            config: the configuration of the dataset, where it has several.
            x: as in `from_parquet`, as are `y`, `group` and `encode`.
            y: see `x`.
            group: see `x`.
            encode: see `x`.

        Raises:
            ConnectionError: it is neither on this machine nor to be had from the hub.
            ValueError: the name is unknown, or as in `from_parquet`.
            ImportError: the package datasets, pyarrow or Pillow is not installed.
        """
        return cls._of(read_hub(name, config, x, y, group, encode), name)

    @classmethod
    def _of(cls, parts: Parts, name: str) -> "Dataset":
        splits = {s: _split(s, parts.x[s], parts.y[s]) for s in SPLITS if s in parts.x}
        return cls(
            **splits,
            class_names=parts.class_names,
            groups=parts.groups,
            group_names=parts.group_names,
            normalize=parts.normalize,
            name=name,
        )

    def subset(
        self,
        per_class: int | None = None,
        fraction: float | None = None,
        seed: int = 0,
        splits: Collection[str] = ("train",),
    ) -> "Dataset":
        """The dataset with a random part of some splits, every class in its share.

        Class names, groups and `normalize` stay as they are. Parts of one seed are nested.

        Args:
            per_class: samples of each class; or
            fraction: share of each class in (0, 1].
            seed: of the draw.
            splits: which splits are cut down.

        Raises:
            ValueError: as in `stratified`, or a split is not there.
        """
        cut = {}
        for name in splits:
            split = getattr(self, name) if name in SPLITS else None
            if split is None:
                held = [s for s in SPLITS if getattr(self, s) is not None]
                raise ValueError(f"splits holds {name!r}, the dataset has {held}")
            cut[name] = split.subset(per_class, fraction, seed)
        return replace(self, **cut)


def _split(name: str, x: Tensor, y: Tensor) -> Split:
    try:
        return Split(x, y)
    except (TypeError, ValueError) as error:
        raise type(error)(f"the {name} split: {error}") from error


def _check_finite(name: str, values: Tensor) -> None:
    if not values.is_floating_point() or bool(torch.isfinite(values.sum())):
        return  # a sum that is finite has finite terms; one that is not may have overflowed
    finite = torch.isfinite(values.reshape(len(values), -1)).all(dim=1)
    if not bool(finite.all()):
        bad = (~finite).nonzero().flatten()
        raise ValueError(
            f"{name} holds NaN or infinity in {len(bad)} of {len(values)} samples, "
            f"the first at position {int(bad[0])}; leave these out or fill them in"
        )
