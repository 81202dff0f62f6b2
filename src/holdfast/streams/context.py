"""What a method, a start or a probe is told about the phase it works in."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.optim import Optimizer

from holdfast.streams.batches import Batch, Source
from holdfast.streams.stream import Stream, Task

Reduction = Literal["mean", "none"]
Loss = Literal["cross_entropy", "mse"]


@runtime_checkable
class Criterion(Protocol):
    """A loss of logits (n, outputs) and columns (n,) or targets (n, outputs)."""

    def __call__(self, logits: Tensor, y: Tensor, reduction: Reduction = "mean") -> Tensor:
        """The mean over samples, or one loss a sample."""


def nothing() -> None:
    """No sample is remembered, no optimizer made."""
    return None


@dataclass(frozen=True, eq=False)
class Context:
    """The phase a hook is called in.

    Args:
        index: position of the current task in the stream.
        stream: the whole stream (a method looks at later tasks at its own peril).
        source: the training samples of this phase, in the learner's columns, on the device.
        criterion: the training loss.
        batch_size: of training.
        generator: for draws of the method and the start; its state is checkpointed. On the CPU.
        device: where the learner lives.
        seed: of the run, for draws that must not depend on what was drawn before
            (see `holdfast.seeds.derive`).
        loss: what `criterion` is of the two.
        remembered: gives the samples that the method keeps of earlier tasks now, in the learner's
            columns with the position of each one's task, or `None`; they are the method's own, to
            be read alone.
        epochs: of training on each task.
        optimizer: gives the optimizer of the task, for methods that change what it remembers of a
            parameter; `None` before there is one.
    """

    index: int
    stream: Stream
    source: Source
    criterion: Criterion
    batch_size: int
    generator: torch.Generator
    device: torch.device
    seed: int
    loss: Loss = "cross_entropy"
    remembered: Callable[[], Batch | None] = nothing
    epochs: int = 1
    optimizer: Callable[[], Optimizer | None] = nothing

    @property
    def task(self) -> Task:
        """The current task."""
        return self.stream[self.index]
