"""Averaged gradient episodic memory: no step against the gradient of the memory."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from holdfast.methods.arguments import check_positive_integer
from holdfast.methods.memory import Memory, Selection, remember_task
from holdfast.methods.remembering import RememberingMethod
from holdfast.nets.learner import Learner
from holdfast.streams.batches import Batch
from holdfast.streams.context import Context


class AGEM(RememberingMethod):
    """A-GEM: project the gradient where it would, to first order, raise the loss on the memory.

    With g the gradient of the batch and r that of a batch drawn from the memory, over all
    parameters together, g . r < 0 is answered by

        g <- g - (g . r) / (r . r) r,

    the closest gradient that has no negative product with r. After a task all its training samples
    are offered to the memory once. A parameter without a gradient counts as one with gradient 0,
    and stays without one where nothing is projected.

    Chaudhry et al., "Efficient Lifelong Learning with A-GEM", 2019, equation 11. The memory batch
    passes the network in training mode, so that it moves BatchNorm's running statistics too. The
    paper keeps the same number of samples of every task, which ``reservoir`` does on average for
    tasks of one size.

    Args:
        memory: most samples kept.
        selection: ``reservoir`` or ``class_balanced``, see `Memory`.
        batch_size: samples drawn from the memory a step; `None` draws as many as the training
            batch has.
    """

    def __init__(
        self,
        *,
        memory: int = 500,
        selection: Selection = "reservoir",
        batch_size: int | None = None,
    ) -> None:
        super().__init__(Memory(memory, selection))
        if batch_size is not None:
            check_positive_integer("batch_size", batch_size)
        self.memory, self.selection, self.batch_size = memory, selection, batch_size

    def after_backward(self, learner: Learner, batch: Batch, context: Context) -> None:
        """Project the gradients of the learner."""
        if len(self._memory) == 0:
            return
        memory = self._memory
        memory.to(batch.x.device)
        kept = memory.at(memory.draw(self.batch_size or len(batch), context.generator))
        loss = context.criterion(learner(kept.x, kept.task), kept.y)
        parameters = [p for p in learner.parameters() if p.requires_grad]
        reference = torch.autograd.grad(loss, parameters, allow_unused=True)
        project(parameters, reference)

    def end_task(self, learner: Learner, context: Context) -> None:
        """Offer the task's samples to the memory."""
        remember_task(self._memory, learner, context)


@torch.no_grad()
def project(parameters: Sequence[Tensor], reference: Sequence[Float[Tensor, "..."] | None]) -> None:
    """Remove from the gradients of the parameters, in place, what opposes the reference.

    Args:
        parameters: their ``grad`` is g, `None` standing for 0.
        reference: r, one of each parameter's shape or `None` for 0.
    """
    known = [(p, r) for p, r in zip(parameters, reference, strict=True) if r is not None]
    shared = [(p.grad, r) for p, r in known if p.grad is not None]
    if not shared:
        return
    product = _dot(*zip(*shared, strict=True))
    if not product < 0:
        return
    moved = [r for _, r in known]
    steps = torch._foreach_mul(moved, product / _dot(moved, moved))
    for (p, _), step in zip(known, steps, strict=True):
        p.grad = -step if p.grad is None else p.grad.sub_(step)


def _dot(a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
    return torch.stack([x.flatten() @ y.flatten() for x, y in zip(a, b, strict=True)]).sum()
