"""The numbers that U and V may be stored in."""

from collections.abc import Iterator
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from holdfast.methods.arguments import check_choice
from holdfast.methods.halrp.adapted import Adapted, Task
from holdfast.methods.halrp.int8 import quantised
from holdfast.methods.halrp.kinds import Shape
from holdfast.methods.halrp.layers import Perturbation, perturbed_layers

Storage = Literal["float32", "bfloat16", "int8"]
"""Of an entry of U or V: 4, 2 or 1 bytes. ``int8`` has a scale for each rank, a column of U or a
row of V, in bfloat16."""

_BYTES = {"float32": 4, "bfloat16": 2, "int8": 1}


def rounded(
    matrix: Float[Tensor, "rows columns"], storage: Storage, axis: int
) -> Float[Tensor, "rows columns"]:
    """The nearest matrix that can be stored so; one that can be already is left as it is.

    Args:
        matrix: U, or V.
        storage: see `Storage`.
        axis: that ranks are numbered along: 1 of U, 0 of V.
    """
    if storage == "int8":
        return quantised(matrix, axis).values(axis, matrix.dtype)
    return matrix.to(torch.float32 if storage == "float32" else torch.bfloat16).to(matrix.dtype)


def low_rank_matrices(model: nn.Module, task: str) -> Iterator[tuple[str, nn.Parameter, int]]:
    """U and V of a task in each perturbed layer: its name, the matrix, and the axis of ranks."""
    for name, layer in perturbed_layers(model):
        own = layer.tasks[task] if task in layer.tasks else None  # noqa: SIM401 (no dict)
        if isinstance(own, Perturbation):
            yield name, own.U, 1
            yield name, own.V, 0


def check_storage(storage: str, model: nn.Module) -> None:
    """Refuse an unknown storage, or one that parameters of the model cannot hold exactly.

    Raises:
        ValueError: naming the storages there are, or the type of the parameters.
    """
    check_choice("storage", storage, Storage)
    narrow = {
        str(layer.base.weight.dtype).removeprefix("torch.")
        for _, layer in perturbed_layers(model)
        if layer.base.weight.dtype in (torch.float16, torch.bfloat16)
    }
    if storage == "int8" and narrow:
        raise ValueError(
            f"storage 'int8' needs parameters of float32 or float64, which hold its grid exactly; "
            f"the model has {', '.join(sorted(narrow))}: choose 'bfloat16'"
        )


@torch.no_grad()
def quantise(model: Adapted, task: Task, storage: Storage) -> None:
    """Put U and V of a task on the grid of a storage, so that storing them changes nothing more.

    Raises:
        ValueError: the task is unknown or folded, the storage is unknown, or the parameters cannot
            hold its grid.
    """
    name = model.known(task)
    model.refuse_folded(name, "quantised")
    check_storage(storage, model)
    for _, matrix, axis in low_rank_matrices(model, name):
        matrix.copy_(rounded(matrix, storage, axis))


def rank_bytes(shape: Shape, storage: Storage) -> int:
    """Bytes of one more rank of a layer: entries, and the two scales of ``int8``."""
    return shape.cost_of_rank * _BYTES[storage] + (4 if storage == "int8" else 0)
