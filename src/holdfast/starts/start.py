"""Where training on the next task begins."""

from typing import Any

from holdfast.nets.learner import Learner
from holdfast.streams.context import Context


class Start:
    """Carry on from the weights as they are, and the base of every start.

    `prepare` runs before each task, after the heads made room for it (new rows as
    `torch.nn.Linear` draws them) and before the method's `begin_task`.
    """

    def prepare(self, learner: Learner, context: Context) -> None:
        """Change the learner's parameters in place."""

    def state_dict(self) -> dict[str, Any]:
        """All that must survive a kill."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""


class CarryOn(Start):
    """Training goes on from the weights of the task before."""
