"""What methods share that rehearse samples of earlier tasks."""

from typing import Any

from holdfast.methods.memory import Memory, check_selection
from holdfast.methods.method import Method
from holdfast.nets.learner import Learner
from holdfast.streams.batches import Batch
from holdfast.streams.stream import Stream


class RememberingMethod(Method):
    """A method around a memory, which is all that it keeps of a run.

    Args:
        memory: empty.
    """

    def __init__(self, memory: Memory) -> None:
        self._memory = memory

    def check(self, learner: Learner, stream: Stream) -> None:
        """Refuse to balance the classes of regression targets."""
        check_selection(self._memory.selection, stream)

    def forget(self) -> None:
        """Drop the memory."""
        self._memory.clear()

    def remembered(self) -> Batch | None:
        """The whole memory."""
        return self._memory.whole()

    def state_dict(self) -> dict[str, Any]:
        """The memory."""
        return {"memory": self._memory.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self._memory.load_state_dict(state["memory"])
