"""Tasks with norm layers of their own in one frozen net."""

from typing import Any

from holdfast.methods.frozen_base import BaseKind, FrozenBase
from holdfast.methods.halrp.adapted import Adapted
from holdfast.methods.halrp.swap import is_norm
from holdfast.methods.method import Method
from holdfast.nets.learner import Learner
from holdfast.streams.context import Context
from holdfast.streams.stream import Stream


class BatchNormOnly(Method):
    """Each task has norm layers of its own in one net, and nothing else.

    The first task trains the backbone; every later one the scale and shift of each norm layer,
    their running statistics (both from those of the base), and its head. Norm layers of any kind
    count: batch, layer, group, instance, RMS.

    The smallest perturbation there is, as a baseline of HALRP (Li et al., 2024) has it; Bilen &
    Vedaldi ("Universal representations: The missing link between faces, text, planktonic organisms
    and cat breeds", 2017) learn many domains so.

    Args:
        biases: whether each task has biases of its own in linear layers and convolutions, too. In
            front of a batch norm a bias changes nothing.
        base: ``first_task``, or ``pretrained``: the backbone is the base as it comes, and the
            first task has norm layers of its own like all others.
    """

    def __init__(self, *, biases: bool = False, base: BaseKind = "first_task") -> None:
        self.biases, self.base = biases, base
        self._course = FrozenBase("BatchNormOnly", base, self._room, freeze_others=True)
        self._finished = 0

    def check(self, learner: Learner, stream: Stream) -> None:
        """Refuse a learner that cannot run so.

        Raises:
            ValueError: heads are not per task, the backbone differs by task already, or it has no
                norm layers.
        """
        self._course.check(learner)
        if not any(is_norm(module) for module in learner.backbone.modules()):
            raise ValueError(
                f"BatchNormOnly trains norm layers, of which the {type(learner.backbone).__name__} "
                "has none; take lenet, alexnet, resnet18 or vit, or give mlp or cnn norm='batch' "
                "or 'layer'"
            )

    def begin_task(self, learner: Learner, context: Context) -> None:
        """Give the task its norm layers."""
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

    def _room(self, adapted: Adapted, index: int, seed: int) -> None:
        adapted.add(index, scaled=False, biased=self.biases)
