"""Where training on the next task begins."""

from typing import Any

from holdfast.nets.learner import Learner
from holdfast.streams.context import Context
from holdfast.streams.stream import Stream


class Start:
    """Carry on from the weights as they are, and the base of every start.

    `prepare` runs before each task, after the heads made room for it (new rows as
    `torch.nn.Linear` draws them) and before the method's `begin_task`; `end_task` after the
    method's. Where the backbone differs by task (``learner.per_task``) the new one is not there yet
    when `prepare` runs: ask for features of earlier tasks, or for none. Options are public
    attributes; state has names that start with an underscore.
    """

    def check(self, learner: Learner, stream: Stream) -> None:
        """Refuse, before any work, a learner or stream the start cannot serve (`ValueError`)."""

    def prepare(self, learner: Learner, context: Context) -> dict[str, Any] | None:
        """Change the learner's parameters in place.

        Returns:
            what was done, in JSON values, for `Record.starts`; `None` where there is nothing to
            tell.
        """

    def rate(self, index: int, step: int, steps: int) -> float:
        """What the learning rate of the schedule is multiplied by.

        Asked before each step where a start overrides it, by the loop alone.

        Args:
            index: position of the task.
            step: of the task, from 0.
            steps: of the task in all.
        """
        return 1.0

    def end_task(self, learner: Learner, context: Context) -> None:
        """After training on a task: what the next start needs of it may be kept, samples not."""

    def state_dict(self) -> dict[str, Any]:
        """All that must survive a kill."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""


class CarryOn(Start):
    """Training goes on from the weights of the task before."""
