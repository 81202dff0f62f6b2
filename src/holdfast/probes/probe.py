"""What is measured on a learner besides accuracy and loss."""

from typing import Protocol, runtime_checkable

from holdfast.nets.learner import Learner
from holdfast.streams.batches import Batch


@runtime_checkable
class Probe(Protocol):
    """A measurement on a fixed batch; it leaves the learner as it found it."""

    def measure(self, learner: Learner, batch: Batch) -> dict[str, float]:
        """Named numbers; the names go into the record."""
