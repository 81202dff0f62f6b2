"""What is measured on a learner besides accuracy and loss."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

from holdfast.nets.learner import Learner
from holdfast.streams.batches import Batch

LossKind = Literal["cross_entropy", "mse"]


@runtime_checkable
class Probe(Protocol):
    """A measurement on a fixed batch; it leaves the learner as it found it.

    It may have more: ``before`` (see `Before`), ``state_dict`` and ``load_state_dict`` (see
    `Stateful`), and ``columns``, the names that its numbers get in the table of a study (see
    `holdfast.records.probe_means`), by which the metrics of a study are checked before it starts.
    """

    def measure(self, learner: Learner, batch: Batch) -> dict[str, float]:
        """Named numbers; the names go into the record."""


@dataclass(frozen=True)
class Phase:
    """The training on a task that is about to begin.

    Args:
        index: position of the task in the stream.
        learning_rates: of each parameter that will be trained, by name: the largest of its
            schedule.
        optimizer: ``sgd``, ``adam`` or ``adamw``.
        momentum: of ``sgd``.
        loss: ``cross_entropy``, or ``mse``, half the squared distance; a mean over samples.
    """

    index: int
    learning_rates: Mapping[str, float]
    optimizer: str = "sgd"
    momentum: float = 0.0
    loss: LossKind = "cross_entropy"


@runtime_checkable
class Before(Protocol):
    """A probe that looks at the learner before it is trained on a task too."""

    def before(self, learner: Learner, batch: Batch, phase: Phase) -> None:
        """Called for each of the tasks 0 .. `phase.index` when training is about to begin.

        With `Training.evaluate_tasks` ``current`` for the last of them alone.

        The heads have made room for the task, start and method have done their part. The batch
        is the one that `measure` is shown of the task afterwards.
        """


@runtime_checkable
class Stateful(Protocol):
    """A probe whose state must survive a kill."""

    def state_dict(self) -> dict[str, Any]:
        """All of it: nested dicts and lists of tensors, numbers and strings."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`; tensors come on the CPU."""
