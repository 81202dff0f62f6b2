"""Dark experience replay: rehearsal of samples together with the logits they once had."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional

from holdfast.methods.arguments import check_number, check_positive_integer
from holdfast.methods.memory import Memory, rehearse
from holdfast.methods.remembering import RememberingMethod
from holdfast.nets.learner import Learner
from holdfast.streams.batches import Batch
from holdfast.streams.context import Context


class DERpp(RememberingMethod):
    """DER++: match the logits samples had when they were met, and their labels.

    With two independent draws M, M' from the memory, f the logits now and z those stored,

        loss = mean over the batch of l + alpha * mean (f(M) - z)^2 + beta * mean over M' of l.

    The memory is a reservoir over all samples trained on, offered after each step with the logits
    they had in it: it needs no task boundaries, and a sample met in several epochs is offered each
    time. ``beta=0`` is DER.

    Buzzega et al., "Dark Experience for General Continual Learning: a Strong, Simple Baseline",
    2020, algorithm 2. As in the authors' code the squared differences are averaged over logits as
    well as samples, where the paper writes a squared norm. Differences:

    - The batch and both draws pass the network together, so that BatchNorm normalises over all
      three and updates its running statistics once; the authors pass them one by one. Networks
      without batch statistics compute the same.
    - Heads grow here: a stored sample is compared in the columns it had logits for, the authors'
      head has those of all tasks from the start.

    Args:
        memory: most samples kept.
        alpha: weight of the logits.
        beta: weight of the labels.
        batch_size: samples of each draw; `None` draws as many as the training batch has.
    """

    def __init__(
        self,
        *,
        memory: int = 500,
        alpha: float = 0.5,
        beta: float = 0.5,
        batch_size: int | None = None,
    ) -> None:
        super().__init__(Memory(memory))
        check_number("alpha", alpha)
        check_number("beta", beta)
        if batch_size is not None:
            check_positive_integer("batch_size", batch_size)
        self.memory, self.alpha, self.beta, self.batch_size = memory, alpha, beta, batch_size
        self._logits: Tensor | None = None

    def loss(self, learner: Learner, batch: Batch, context: Context) -> tuple[Tensor, Tensor]:
        """The loss of batch and memory, and the logits of the batch."""
        memory = self._memory
        if len(memory) == 0:
            loss, logits = super().loss(learner, batch, context)
            self._logits = logits.detach()
            return loss, logits
        size = self.batch_size or len(batch)
        draws = [memory.draw(size, context.generator) for _ in range(2)]
        logits, old, y = rehearse(learner, batch, memory, torch.cat(draws))
        first, second = old.chunk(2)
        dark = logit_distance(first, *memory.logits_at(draws[0]))
        loss = context.criterion(logits, batch.y)
        loss = loss + self.alpha * dark
        loss = loss + self.beta * context.criterion(second, y[len(first) :])
        self._logits = logits.detach()
        return loss, logits

    def after_step(self, learner: Learner, batch: Batch, context: Context) -> None:
        """Offer the batch to the memory, with the logits it had before the step."""
        self._memory.add(batch, context.generator, logits=self._logits)
        self._logits = None


def logit_distance(
    logits: Float[Tensor, "n outputs"],
    stored: Float[Tensor, "n stored"],
    width: Int64[Tensor, " n"],
) -> Float[Tensor, ""]:
    """Mean of (f - z)^2 over the logits stored: the first `width` columns of each row.

    Args:
        logits: f, with at least the columns of z.
        stored: z.
        width: on the CPU.

    >>> f, z = torch.tensor([[1.0, 5.0]]), torch.tensor([[3.0, 0.0]])
    >>> logit_distance(f, z, torch.tensor([1])).item()
    4.0
    """
    if logits.shape == stored.shape and int(width.min()) == stored.shape[1]:
        return functional.mse_loss(logits, stored)
    columns = torch.arange(stored.shape[1], device=stored.device)
    beyond = columns >= width.to(stored.device).unsqueeze(1)
    apart = (logits[:, : stored.shape[1]] - stored).masked_fill(beyond, 0.0)
    return apart.square().sum() / int(width.sum())
