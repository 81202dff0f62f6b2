"""What methods share in whose runs each task adds parts of its own to one frozen base."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from holdfast.methods.arguments import check_choice
from holdfast.methods.halrp.adapted import Adapted
from holdfast.methods.halrp.checks import check_model
from holdfast.methods.halrp.kinds import ConvMode
from holdfast.methods.method import Method
from holdfast.nets.heads import TaskHeads
from holdfast.nets.learner import Learner
from holdfast.streams.context import Context
from holdfast.streams.stream import Stream

BaseKind = Literal["first_task", "pretrained"]
"""What the base is: the backbone as the first task trains it, or as it comes."""


@dataclass(frozen=True)
class FrozenBase:
    """The course of a run on a frozen base: what is trained when.

    With ``base="first_task"`` the first task trains the backbone as it is, and its head; both are
    frozen from then on. Every other task (with ``pretrained`` the first too) trains parts of its
    own and its head, which are frozen at its end: what it computes then it computes for ever.

    Args:
        method: its name in messages.
        base: see `BaseKind`.
        room: gives a task its parts: called with the adapted backbone, the task's position and
            the seed of the run.
        conv: see `ConvMode`.
        skip: names of modules of the backbone that stay as they are.
        freeze_others: whether modules that cannot be perturbed do, too.

    Raises:
        ValueError: an unknown kind of base.
    """

    method: str
    base: BaseKind
    room: Callable[[Adapted, int, int], object]
    conv: ConvMode = "flat"
    skip: tuple[str, ...] = ()
    freeze_others: bool = False

    def __post_init__(self) -> None:
        check_choice("base", self.base, BaseKind)

    def check(self, learner: Learner) -> None:
        """Refuse a learner that cannot run so.

        Raises:
            ValueError: heads are not per task, the backbone differs by task already, or it has
                modules that cannot be perturbed.
        """
        if not isinstance(learner.heads, TaskHeads):
            raise ValueError(
                f"{self.method} gives each task parts and a head of its own and needs heads "
                f"'per_task', got {type(learner.heads).__name__}; use a task_incremental stream, "
                "or heads 'per_task' in a domain_incremental one"
            )
        if learner.per_task:
            raise ValueError(
                f"{self.method} adapts the learner's backbone, which differs by task already; give "
                "it a plain one"
            )
        check_model(learner.backbone, self.conv, (), self.skip, self.freeze_others)

    def begin(self, learner: Learner, index: int, seed: int) -> None:
        """Give the task its parts, and let gradients reach them and its head alone."""
        adapted = self.adapted(learner)
        if str(index) == adapted.base_task:
            return
        if str(index) not in adapted.tasks:
            self.room(adapted, index, seed)
        learner.requires_grad_(False)
        for _, parameter in adapted.own(index):
            parameter.requires_grad_(True)
        learner.heads.get_submodule(f"heads.{index}").requires_grad_(True)

    def end(self, learner: Learner, index: int) -> None:
        """Freeze all that has been learned."""
        adapted = self.adapted(learner)
        learner.requires_grad_(False)
        if str(index) == adapted.base_task:
            adapted.freeze()

    def restore(self, learner: Learner, index: int, finished: int) -> None:
        """The structure and what is trained in the phase of task `index`; tensors to be loaded."""
        for i in range(index + 1):
            self.begin(learner, i, seed=0)
        if finished > index:
            learner.requires_grad_(False)

    def adapted(self, learner: Learner) -> Adapted:
        """The learner's backbone, adapted if it was plain."""
        if not isinstance(learner.backbone, Adapted):
            learner.backbone = Adapted(
                learner.backbone,
                self.conv,
                skip=self.skip,
                freeze_others=self.freeze_others,
                base_task=0 if self.base == "first_task" else None,
            )
        return learner.backbone


class FrozenBaseMethod(Method):
    """A method whose tasks add parts of their own to one frozen base, and nothing else.

    Args:
        course: of its runs.
    """

    def __init__(self, course: FrozenBase) -> None:
        self._course = course
        self._finished = 0

    def check(self, learner: Learner, stream: Stream) -> None:
        """Refuse a learner that cannot run so.

        Raises:
            ValueError: heads are not per task, the backbone differs by task already, or it has
                modules that cannot be adapted.
        """
        self._course.check(learner)

    def begin_task(self, learner: Learner, context: Context) -> None:
        """Give the task its parts."""
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
