"""RIFLE: the head is drawn anew now and then while a task is trained."""

import copy
from collections.abc import Iterator, Sequence

import torch
from torch import nn

from holdfast.methods.arguments import check_positive_integer
from holdfast.methods.method import Method
from holdfast.nets.heads import GrowingHead, SharedHead, TaskHeads
from holdfast.nets.learner import Learner
from holdfast.nets.redraw import redraw
from holdfast.seeds import derive
from holdfast.starts.reset_optimizer import reset_optimizer_state
from holdfast.streams.context import Context
from holdfast.streams.stream import Stream


class Rifle(Method):
    """Draw the rows of the task's classes anew `times` times, in even periods of its epochs.

    Of E epochs, after epochs round(j E / (times + 1)), j = 1 ... times. A head that fits what the
    features are sends little gradient back; one drawn anew sends much, so that deep layers go on
    moving while a pretrained net is fine-tuned. The last period trains the final head, and must be
    long enough for it.

    Rows of classes that the task does not have stay, and so does the backbone. The rows begin as
    the head draws new ones, by the run's seed, the task and the epoch; what the optimizer remembers
    of them begins anew (where the head has other rows too, all but Adam's count of steps, which
    they share). The learning rate is that of the schedule: the authors' optional cycle of the
    head's own rate is left out.

    Li et al., "RIFLE: Backpropagation in Depth for Deep Transfer Learning through Re-Initializing
    the Fully-connected LayEr", ICML 2020; the periods are those of their public code, which also
    draws once more after the last epoch, when nothing is trained any more.

    Args:
        times: the head is drawn anew in a task.
        first: in the first task too. It is taken for the pretraining; if the backbone was
            pretrained elsewhere it is not.

    Raises:
        TypeError, ValueError: `times` that is no positive integer, or `first` no truth value; from
            `check`, a head that has no known rows.
    """

    def __init__(self, *, times: int = 1, first: bool = False) -> None:
        check_positive_integer("times", times)
        if not isinstance(first, bool):
            raise TypeError(f"first must be True or False, got {first!r}")
        self.times, self.first = times, first

    def check(self, learner: Learner, stream: Stream) -> None:
        """Refuse a head whose rows are not known."""
        if not isinstance(learner.heads, (GrowingHead, SharedHead, TaskHeads)):
            raise ValueError(
                "Rifle draws rows of a GrowingHead, SharedHead or TaskHeads anew; got "
                f"{type(learner.heads).__name__}; split a model into a backbone and one of these "
                "(holdfast.build_learner)"
            )

    def check_epochs(self, epochs: Sequence[int]) -> None:
        """Refuse tasks with fewer epochs than periods."""
        drawn_in = epochs if self.first else epochs[1:]
        if drawn_in and min(drawn_in) <= self.times:
            raise ValueError(
                f"times must be below the number of epochs of a task, {min(drawn_in)}, so that "
                f"each head is trained for one or more; got {self.times}"
            )

    def begin_task(self, learner: Learner, context: Context) -> None:
        """As `check_epochs`, of a loop that has not asked it."""
        if self._draws(context):
            self.check_epochs([context.epochs] * (context.index + 1))

    def after_epoch(self, learner: Learner, context: Context, epoch: int) -> bool:
        """Draw the rows anew at the end of a period; the optimizer stays."""
        periods = self.times + 1
        ends = [round(j * context.epochs / periods) for j in range(1, periods)]
        if self._draws(context) and epoch + 1 in ends:
            self._redraw(learner, context, epoch)
        return False

    def _draws(self, context: Context) -> bool:
        return self.first or context.index > 0

    @torch.no_grad()
    def _redraw(self, learner: Learner, context: Context, epoch: int) -> None:
        fresh = copy.deepcopy(learner.heads)
        redraw(fresh, derive(context.seed, "rifle", context.index, epoch))
        rows = _rows(learner, context)
        optimizer = context.optimizer()
        parameters = zip(_layer(learner.heads, context), _layer(fresh, context), strict=True)
        for own, new in parameters:
            own[rows] = new[rows]
            if optimizer is not None:
                some = rows if len(rows) < len(own) else None
                reset_optimizer_state(optimizer, [own], some)


def _rows(learner: Learner, context: Context) -> list[int]:
    if context.stream.is_regression:
        assert isinstance(learner.heads, SharedHead)
        return list(range(learner.heads.linear.out_features))
    place = next(learner.heads.parameters()).device
    classes = torch.tensor(context.task.classes, device=place)
    return sorted(learner.columns(classes, context.index).tolist())


def _layer(heads: nn.Module, context: Context) -> Iterator[nn.Parameter]:
    """Weight and bias of the layer that the task is read out by."""
    part = heads.heads[str(context.index)] if isinstance(heads, TaskHeads) else heads
    layer = part.linear if isinstance(part, SharedHead) else part
    yield from layer.parameters()
