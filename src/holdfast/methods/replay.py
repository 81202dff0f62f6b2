"""Rehearsal of samples kept from earlier tasks."""

import torch
from torch import Tensor

from holdfast.methods.arguments import check_number, check_positive_integer
from holdfast.methods.memory import Memory, Selection, rehearse, remember_task
from holdfast.methods.remembering import RememberingMethod
from holdfast.nets.learner import Learner
from holdfast.streams.batches import Batch
from holdfast.streams.context import Context


class Replay(RememberingMethod):
    """Experience replay: train on each batch together with samples kept from earlier tasks.

    From the second task on each batch B is joined by a batch M drawn from the memory, in one
    forward pass (BatchNorm sees them as one batch). The loss is

        mean over B and M of l                       (`weight` None: every sample counts the same)
        mean over B of l + weight * mean over M of l (`weight` a number)

    and that is also the training loss of the record; its training accuracy is that of B. After a
    task all its training samples are offered to the memory once, so that with ``reservoir`` it
    holds a uniform sample of everything seen, however many epochs were trained. Inputs are kept
    as the network sees them.

    Rolnick et al., "Experience Replay for Continual Learning", 2019; Chaudhry et al., "On Tiny
    Episodic Memories in Continual Learning", 2019, who add samples of the current task during its
    single epoch too; here the memory holds earlier tasks alone.

    Args:
        memory: most samples kept.
        selection: ``reservoir`` or ``class_balanced``, see `Memory`.
        batch_size: samples drawn from the memory a step; `None` draws as many as the training
            batch has.
        weight: of the memory's loss, see above.
    """

    def __init__(
        self,
        *,
        memory: int = 500,
        selection: Selection = "reservoir",
        batch_size: int | None = None,
        weight: float | None = None,
    ) -> None:
        super().__init__(Memory(memory, selection))
        if batch_size is not None:
            check_positive_integer("batch_size", batch_size)
        if weight is not None:
            check_number("weight", weight)
        self.memory, self.selection = memory, selection
        self.batch_size, self.weight = batch_size, weight

    def loss(self, learner: Learner, batch: Batch, context: Context) -> tuple[Tensor, Tensor]:
        """The loss on the batch and the samples drawn, and the logits of the batch."""
        if len(self._memory) == 0:
            return super().loss(learner, batch, context)
        index = self._memory.draw(self.batch_size or len(batch), context.generator)
        logits, old, y = rehearse(learner, batch, self._memory, index)
        loss, rehearsed = context.criterion(logits, batch.y), context.criterion(old, y)
        if self.weight is None:
            share = len(index) / (len(batch) + len(index))
            return torch.lerp(loss, rehearsed, share), logits
        return loss + self.weight * rehearsed, logits

    def end_task(self, learner: Learner, context: Context) -> None:
        """Offer the task's samples to the memory."""
        remember_task(self._memory, learner, context)
