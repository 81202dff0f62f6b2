"""Tasks that scale the inputs and outputs of the layers of one frozen net."""

from collections.abc import Sequence

from holdfast.methods.frozen_base import BaseKind, FrozenBase, FrozenBaseMethod
from holdfast.methods.halrp.adapted import Adapted


class BatchEnsemble(FrozenBaseMethod):
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
        super().__init__(
            FrozenBase("BatchEnsemble", base, _room, skip=self.skip, freeze_others=freeze_others)
        )


def _room(adapted: Adapted, index: int, seed: int) -> None:
    adapted.add(index)
