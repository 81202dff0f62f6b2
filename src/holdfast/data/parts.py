"""What a dataset is made of, before it is one: tensors of each split and the names of classes."""

from dataclasses import dataclass

from torch import Tensor

from holdfast.data.normalize import Normalize

SPLITS = ("train", "test", "validation")


@dataclass(frozen=True, eq=False)
class Parts:
    """The fields of a `Dataset`, as readers hand them over.

    x and y are keyed by the name of the split; ``train`` and ``test`` are always there.
    """

    x: dict[str, Tensor]
    y: dict[str, Tensor]
    class_names: tuple[str, ...] = ()
    groups: tuple[int, ...] = ()
    group_names: tuple[str, ...] = ()
    normalize: Normalize | None = None
