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
        ValueError: they are neither a `Batch` nor a pair.
    """
    if isinstance(samples, Batch):
        return samples.x, samples.y, samples.task
    if len(samples) != 2:
        raise ValueError(
            f"batches must hold (x, y) pairs or Batch objects, got {len(samples)} parts"
        )
    return samples[0], samples[1], None


def forward_of(model: nn.Module) -> Forward:
    """(inputs, task) -> outputs: ``model(x, task)`` for a `Learner`, ``model(x)`` for others."""
    if isinstance(model, Learner):
        return model
    return lambda x, task: model(x)


def checked_outputs(outputs: Tensor, x: Tensor) -> Tensor:
    """The outputs, which are a matrix with a row a sample.

    Raises:
        ValueError: they are something else.
    """
    if outputs.ndim != 2 or len(outputs) != len(x):
        raise ValueError(
            f"the model must give outputs of shape ({len(x)}, outputs) for {len(x)} samples, got "
            f"{tuple(outputs.shape)}; shape them, with forward= where there is such an argument or "
            "in a module around the model"
        )
    return outputs
