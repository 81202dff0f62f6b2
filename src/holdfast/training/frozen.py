"""What is held still while a task is trained: the backbone, or the rows of old classes."""

import torch
from torch import Tensor, nn

from holdfast.nets.heads import GrowingHead, Head, SharedHead, TaskHeads
from holdfast.nets.learner import Learner
from holdfast.streams.stream import Stream
from holdfast.training.options import Training


class Freezing:
    """Holds still what ``training.freeze_backbone`` and ``training.freeze_old_rows`` name.

    Args:
        training: the options.
    """

    def __init__(self, training: Training) -> None:
        self.backbone, self.old_rows = training.freeze_backbone, training.freeze_old_rows
        self._rows: FrozenRows | None = None

    def check(self, learner: Learner, stream: Stream) -> None:
        """Refuse a learner or stream whose old rows cannot be told.

        Raises:
            TypeError, ValueError: see `FrozenRows`.
        """
        if self.old_rows:
            FrozenRows(learner, stream, 0)

    def freeze_backbone(self, learner: Learner, index: int) -> None:
        """Before the task at position `index`: the backbone, where it is its turn."""
        if self._holds_backbone(index):
            learner.backbone.requires_grad_(False)

    def begin(self, learner: Learner, stream: Stream, index: int) -> None:
        """Before the first step, or the first after a kill, with the learner in training mode."""
        if self._holds_backbone(index):
            learner.backbone.eval()  # no running statistics move, no dropout draws
        if self.old_rows:
            self._rows = FrozenRows(learner, stream, index)

    def before_step(self) -> None:
        """No gradient moves what is held."""
        if self._rows is not None:
            self._rows.still()

    def after_step(self) -> None:
        """Nothing else has moved it either."""
        if self._rows is not None:
            self._rows.put_back()

    def _holds_backbone(self, index: int) -> bool:
        return self.backbone == "always" or (self.backbone == "after_first" and index > 0)


class FrozenRows:
    """The rows of the classes of earlier tasks, which stay as they are, bit for bit.

    Their gradients become zero before the optimizer's step, so that they count neither in the
    clipped norm nor in any moment; weight decay, and moments from before, move them all the same,
    and are undone after it. Rows of classes that the current task brings too are old ones.

    Harun & Kanan, "Overcoming the Stability Gap in Continual Learning", 2024, freeze the old rows
    of the output layer (OOCF) by the gradient alone.

    Args:
        learner: whose heads have made room for the current task.
        stream: of classes.
        index: position of the current task.

    Raises:
        ValueError: the stream has no classes.
        TypeError: the heads are of a kind whose rows are not known.
    """

    def __init__(self, learner: Learner, stream: Stream, index: int) -> None:
        if stream.is_regression:
            raise ValueError(
                "training.freeze_old_rows needs class labels: the rows of a head for regression "
                "targets belong to no task"
            )
        heads = learner.heads
        if not isinstance(heads, (GrowingHead, SharedHead, TaskHeads)):
            raise TypeError(
                "training.freeze_old_rows needs a GrowingHead, SharedHead or TaskHeads, got "
                f"{type(heads).__name__}"
            )
        self.kept: list[tuple[nn.Parameter, Tensor, Tensor]] = []
        for i in range(index):
            layer = _layer(heads, i)
            for parameter in layer.parameters(recurse=False):
                classes = torch.tensor(stream[i].classes, device=parameter.device)
                rows = learner.columns(classes, i)
                self.kept.append((parameter, rows, parameter.detach()[rows]))

    @torch.no_grad()
    def still(self) -> None:
        """Before the step: no gradient of these rows is left."""
        for parameter, rows, _ in self.kept:
            if parameter.grad is not None:
                parameter.grad.index_fill_(0, rows, 0.0)

    @torch.no_grad()
    def put_back(self) -> None:
        """After the step: these rows are what they were."""
        for parameter, rows, values in self.kept:
            parameter.index_copy_(0, rows, values)


def _layer(heads: Head, index: int) -> nn.Module:
    """The module whose own parameters, weight and bias, hold the rows of a task's classes."""
    if isinstance(heads, TaskHeads):
        head = heads.heads[str(index)]
        assert isinstance(head, SharedHead)
        return head.linear
    return heads.linear if isinstance(heads, SharedHead) else heads
