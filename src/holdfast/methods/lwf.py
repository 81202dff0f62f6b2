"""Learning without forgetting: keep the outputs the old network gives on the new samples."""

import copy
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from holdfast.methods.arguments import check_number
from holdfast.methods.method import Method
from holdfast.nets.heads import TaskHeads
from holdfast.nets.learner import Learner
from holdfast.streams.batches import Batch
from holdfast.streams.context import Context
from holdfast.streams.stream import Stream


class LwF(Method):
    """Learning without forgetting: distil the network as it was after the previous task.

    On the samples of the current task alone,

        loss = l + strength * sum over old outputs of KL(softmax(z / T) || softmax(f / T)),

    z the logits of the old network (in evaluation mode, one forward pass a batch), f those of the
    learner, T the temperature. An output is

    - task-incremental with a head a task: each earlier task's head, the KL summed over heads;
    - else: the columns of all classes met in earlier tasks (class-incremental: the old rows of the
      head; domain-incremental: all columns).

    The distillation is part of the training loss of the record.

    Li & Hoiem, "Learning without Forgetting", 2017, equations 2-5. The KL differs from their
    cross-entropy by the entropy of the old outputs, which has no gradient. Like them, and unlike
    Hinton et al. (2015), we put no factor T^2 before it. They train the new head alone first and
    the whole network after; here all is trained at once.

    Args:
        strength: of the distillation (their lambda_o).
        temperature: T.
    """

    def __init__(self, *, strength: float = 1.0, temperature: float = 2.0) -> None:
        check_number("strength", strength)
        check_number("temperature", temperature, positive=True)
        self.strength, self.temperature = strength, temperature
        self._teacher: Learner | None = None
        self._columns = torch.empty(0, dtype=torch.int64)
        self._saved: dict[str, Any] = {}

    def check(self, learner: Learner, stream: Stream) -> None:
        """Refuse regression and networks of one backbone a task.

        Raises:
            ValueError: naming the reason.
        """
        if stream.is_regression:
            raise ValueError(
                "LwF distils class probabilities, the stream has regression targets; use Replay, "
                "DERpp or EWC"
            )
        if learner.per_task:
            raise ValueError(
                "LwF distils old outputs on new samples through one backbone, the learner's "
                "backbone differs by task"
            )

    def forget(self) -> None:
        """Drop the old network."""
        self._teacher, self._saved = None, {}

    def loss(self, learner: Learner, batch: Batch, context: Context) -> tuple[Tensor, Tensor]:
        """The loss on the batch and the distance to the old network, and the logits."""
        teacher = self._teacher
        if teacher is None or self.strength == 0:
            return super().loss(learner, batch, context)
        features = learner.features(batch.x, batch.task)
        logits = learner.heads(features, batch.task)
        loss = context.criterion(logits, batch.y)
        with torch.no_grad():
            old = teacher.features(batch.x)
        if isinstance(teacher.heads, TaskHeads):
            for task in teacher.heads.tasks:
                loss = loss + self.strength * distillation(
                    learner.heads(features, task), teacher.heads(old, task), self.temperature
                )
            return loss, logits
        wanted = teacher.heads(old).index_select(1, self._columns)
        given = logits.index_select(1, self._columns)
        return loss + self.strength * distillation(given, wanted, self.temperature), logits

    def end_task(self, learner: Learner, context: Context) -> None:
        """Keep a copy of the learner, which teaches the next task."""
        self._teacher = copy.deepcopy(learner).eval().requires_grad_(False)
        if not isinstance(learner.heads, TaskHeads):
            met = context.stream.tasks[: context.index + 1]
            labels = dict.fromkeys(label for task in met for label in task.classes)
            self._columns = learner.columns(
                torch.tensor(list(labels), device=context.device), context.index
            )

    def state_dict(self) -> dict[str, Any]:
        """The old network, if there is one, and the columns it teaches."""
        if self._teacher is None:
            return {}
        return {"teacher": self._teacher.state_dict(), "columns": self._columns}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`, as far as it goes before `restore`."""
        self._teacher, self._saved = None, dict(state)

    def restore(self, learner: Learner, index: int) -> None:
        """Rebuild the old network in the structure of the learner."""
        saved, self._saved = self._saved, {}
        if not saved:
            return
        teacher = copy.deepcopy(learner).eval().requires_grad_(False)
        if isinstance(teacher.heads, TaskHeads):
            for task in teacher.heads.tasks:
                if f"heads.heads.{task}.known" not in saved["teacher"]:
                    del teacher.heads.heads[str(task)]
        teacher.load_state_dict(saved["teacher"])
        self._teacher = teacher
        self._columns = saved["columns"].to(next(learner.parameters()).device)


def distillation(
    logits: Float[Tensor, "n outputs"], wanted: Float[Tensor, "n outputs"], temperature: float
) -> Float[Tensor, ""]:
    """Mean over samples of KL(softmax(z / T) || softmax(f / T)).

    Args:
        logits: f.
        wanted: z.
        temperature: T.

    >>> distillation(torch.tensor([[1.0, 3.0]]), torch.tensor([[5.0, 7.0]]), 2.0).item()
    0.0
    """
    return functional.kl_div(
        functional.log_softmax(logits / temperature, dim=1),
        functional.log_softmax(wanted / temperature, dim=1),
        log_target=True,
        reduction="batchmean",
    )
