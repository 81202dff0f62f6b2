"""Samples as they are given, and how a model is called on them."""

from collections.abc import Sequence

from torch import Tensor, nn

from holdfast.curvature.per_sample import Forward
from holdfast.nets.learner import Learner
from holdfast.streams.batches import Batch

Samples = Batch | Sequence[Tensor]
"""A `Batch`, or inputs and labels."""


def unpacked(samples: Samples) -> tuple[Tensor, Tensor, int | Tensor | None]:
    """Inputs, labels and task of samples.

    Raises:
        ValueError: they are neither a `Batch` nor a pair, or there are none.
    """
    if isinstance(samples, Batch):
        x, y, task = samples.x, samples.y, samples.task
    elif len(samples) == 2:
        x, y, task = samples[0], samples[1], None
    else:
        raise ValueError(
            f"batches must hold (x, y) pairs or Batch objects, got {len(samples)} parts"
        )
    if len(x) == 0:
        raise ValueError("samples must be one or more, got an empty batch")
    return x, y, task


def forward_of(model: nn.Module) -> Forward:
    """(inputs, task) -> outputs: ``model(x, task)`` for a `Learner`, ``model(x)`` for others."""
    if isinstance(model, Learner):
        return model
    return lambda x, task: model(x)


def checked_outputs(outputs: object, x: Tensor) -> Tensor:
    """The outputs, which are a matrix with a row a sample.

    Raises:
        TypeError: they are no tensor, but a mapping or a tuple that holds one, say.
        ValueError: they are of another shape.
    """
    if not isinstance(outputs, Tensor):
        raise TypeError(
            f"the model must give a tensor of outputs ({len(x)}, outputs), got a "
            f"{type(outputs).__name__}; take the tensor out of it, with forward= where there is "
            "such an argument or in a module around the model"
        )
    if outputs.ndim != 2 or len(outputs) != len(x):
        raise ValueError(
            f"the model must give outputs of shape ({len(x)}, outputs) for {len(x)} samples, got "
            f"{tuple(outputs.shape)}; shape them, with forward= where there is such an argument or "
            "in a module around the model"
        )
    return outputs
