"""Tasks with norm layers of their own in one frozen net."""

from holdfast.methods.frozen_base import BaseKind, FrozenBase, FrozenBaseMethod
from holdfast.methods.halrp.adapted import Adapted
from holdfast.methods.halrp.swap import is_norm
from holdfast.nets.learner import Learner
from holdfast.streams.stream import Stream


class BatchNormOnly(FrozenBaseMethod):
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
        super().__init__(FrozenBase("BatchNormOnly", base, self._room, freeze_others=True))

    def check(self, learner: Learner, stream: Stream) -> None:
        """Refuse a learner that cannot run so.

        Raises:
            ValueError: heads are not per task, the backbone differs by task already, or it has no
                norm layers.
        """
        super().check(learner, stream)
        if not any(is_norm(module) for module in learner.backbone.modules()):
            raise ValueError(
                f"BatchNormOnly trains norm layers, of which the {type(learner.backbone).__name__} "
                "has none; take lenet, alexnet, resnet18 or vit, or give mlp or cnn norm='batch' "
                "or 'layer'"
            )

    def _room(self, adapted: Adapted, index: int, seed: int) -> None:
        adapted.add(index, scaled=False, biased=self.biases)
