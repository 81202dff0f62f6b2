"""What a method, a start or a probe is told about the phase it works in."""

from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import torch
from torch import Tensor

from holdfast.streams.batches import Source
from holdfast.streams.stream import Stream, Task

Reduction = Literal["mean", "none"]


@runtime_checkable
class Criterion(Protocol):
    """A loss of logits (n, outputs) and columns (n,) or targets (n, outputs)."""

    def __call__(self, logits: Tensor, y: Tensor, reduction: Reduction = "mean") -> Tensor:
        """The mean over samples, or one loss a sample."""


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
    """

    index: int
    stream: Stream
    source: Source
    criterion: Criterion
    batch_size: int
    generator: torch.Generator
    device: torch.device
    seed: int

    @property
    def task(self) -> Task:
        """The current task."""
        return self.stream[self.index]
