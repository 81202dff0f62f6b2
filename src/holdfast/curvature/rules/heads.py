"""The heads of a learner whose weights are not those of a layer of their own."""

from typing import Any

from jaxtyping import Float
from torch import Tensor

from holdfast.curvature.registry import rule
from holdfast.curvature.rules.linear import linear_squares, scaled_squares
from holdfast.nets.heads import GrowingHead, TaskHeads


@rule(GrowingHead)
def growing_head(
    head: GrowingHead, inputs: tuple[Any, ...], grads: Float[Tensor, "k n outputs"]
) -> dict[str, Tensor]:
    """A linear layer."""
    return scaled_squares(linear_squares(inputs[0], grads), head.readout.multiplier)


@rule(TaskHeads)
def task_heads(
    heads: TaskHeads, inputs: tuple[Any, ...], grads: Float[Tensor, "k n outputs"]
) -> dict[str, Tensor]:
    """A linear layer for the samples of each task; with one task for all, its layer has a rule."""
    features, task = inputs
    squares: dict[str, Tensor] = {}
    if isinstance(task, int):
        return squares
    for index in heads.tasks:
        rows, layer = task == index, f"heads.{index}.linear"
        outputs = len(heads.get_parameter(f"{layer}.weight"))
        own = linear_squares(features[rows], grads[:, rows, :outputs])
        own = scaled_squares(own, heads.readout.multiplier)
        squares |= {f"{layer}.{name}": value for name, value in own.items()}
    return squares
