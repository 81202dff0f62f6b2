"""Tasks that scale the inputs and outputs of the layers of one frozen net."""

from collections.abc import Sequence
from typing import Any

from holdfast.methods.frozen_base import BaseKind, FrozenBase
from holdfast.methods.halrp.adapted import Adapted
from holdfast.methods.method import Method
from holdfast.nets.learner import Learner
from holdfast.streams.context import Context
from holdfast.streams.stream import Stream


class BatchEnsemble(Method):
    """BatchEnsemble: each task scales the inputs and outputs of every layer of one base.

    A linear layer or convolution W_0 of the base computes for task t

        y = r_t * (W_0 (s_t * x)) + b_t

    that is, W_0 times the matrix r_t s_t' of rank one, entry by entry. The first task trains the
    backbone; every later one r, s (from 1), biases, norm layers with their statistics (from those
    of the base) and its head. It is HALRP without U and V.

    Wen et al., "BatchEnsemble: an Alternative Approach to Efficient Ensemble and Lifelong
    Learning", 2020, who take the shared weights from the first task, too. There the first task has
    an r and s of its own, which change nothing in what W_0 can become.

    Args:
        base: ``first_task``, or ``pretrained``: the backbone is the base as it comes, and the
            first task scales it like all others.
        skip: names of modules of the backbone that stay as they are.
        freeze_others: leave modules that cannot be scaled as they are instead of refusing them.
    """

    def __init__(
        self,
        *,
        base: BaseKind = "first_task",
        skip: Sequence[str] = (),
        freeze_others: bool = False,
    ) -> None:
        self.base, self.skip, self.freeze_others = base, tuple(skip), freeze_others
        self._course = FrozenBase(
            "BatchEnsemble", base, _room, skip=self.skip, freeze_others=freeze_others
        )
        self._finished = 0

    def check(self, learner: Learner, stream: Stream) -> None:
        """Refuse a learner that cannot run so.

        Raises:
            ValueError: heads are not per task, the backbone differs by task already, or it has
                modules that cannot be scaled.
        """
        self._course.check(learner)

    def begin_task(self, learner: Learner, context: Context) -> None:
        """Give the task its vectors, biases and norm layers."""
        self._finished = context.index
        self._course.begin(learner, context.index, context.seed)

    def end_task(self, learner: Learner, context: Context) -> None:
        """Freeze what the task has."""
        self._finished = context.index + 1
        self._course.end(learner, context.index)

    def state_dict(self) -> dict[str, Any]:
        """How many tasks are finished; what they have is the learner's."""
        return {"finished": self._finished}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self._finished = int(state["finished"])

    def restore(self, learner: Learner, index: int) -> None:
        """Give the learner the parts of tasks 0 .. index, their values still to be loaded."""
        self._course.restore(learner, index, self._finished)


def _room(adapted: Adapted, index: int, seed: int) -> None:
    adapted.add(index)
