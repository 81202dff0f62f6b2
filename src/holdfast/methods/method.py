"""What protects earlier tasks while the next is learned: the hooks every method may fill."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from torch import Tensor

from holdfast.nets.learner import Learner
from holdfast.streams.batches import Batch
from holdfast.streams.context import Context
from holdfast.streams.stream import Stream


class Method:
    """Plain training, and the base of every method: each hook may be overridden.

    Called for each task, in this order: the heads make room, the start prepares, `begin_task`;
    then for each batch `batch`, `loss`, backward, `after_backward`, the step, `after_step`;
    after each epoch `after_epoch`, at the end `end_task`. Before the first task, `forget`. The
    optimizer is built after `begin_task` over the parameters that require a gradient. A method
    knows nothing of the loop that calls it.

    Options are public attributes, set once by the constructor; state has names that start with
    an underscore.
    """

    def __repr__(self) -> str:
        options = [f"{k}={v!r}" for k, v in vars(self).items() if not k.startswith("_")]
        return f"{type(self).__name__}({', '.join(options)})"

    def check(self, learner: Learner, stream: Stream) -> None:
        """Refuse, before any work, a learner or stream the method cannot serve (`ValueError`)."""

    def check_epochs(self, epochs: Sequence[int]) -> None:
        """Refuse, before any work, numbers of epochs of the tasks that do not do (`ValueError`)."""

    def rehearses(self, index: int) -> Sequence[int]:
        """Positions of the tasks whose training samples the phase of task `index` runs over."""
        return (index,)

    def remembered(self) -> Batch | None:
        """The samples kept of earlier tasks, each with the position of its task; to be read alone.

        `None` where the method keeps none. A start may look at them (`Context.remembered`).
        """
        return None

    def forget(self) -> None:
        """Drop what earlier tasks left: before the first of a run, for one that served another."""

    def begin_task(self, learner: Learner, context: Context) -> None:
        """Before training on a task; the learner has made room for it."""

    def batch(self, batch: Batch, context: Context) -> Batch:
        """The batch to train on in place of the one that was drawn, of as many samples."""
        return batch

    def loss(self, learner: Learner, batch: Batch, context: Context) -> tuple[Tensor, Tensor]:
        """The scalar to minimise, and the logits of `batch` for the training metrics."""
        logits = learner(batch.x, batch.task)
        return context.criterion(logits, batch.y), logits

    def after_backward(self, learner: Learner, batch: Batch, context: Context) -> None:
        """May change the gradients."""

    def after_step(self, learner: Learner, batch: Batch, context: Context) -> None:
        """May change the parameters, or remember the batch."""

    def after_epoch(self, learner: Learner, context: Context, epoch: int) -> bool:
        """After an epoch of the task, counted from 0; may change what is trained.

        Returns:
            whether it did, so that the optimizer is to be made anew over the parameters that
            require a gradient now.
        """
        return False

    def end_task(self, learner: Learner, context: Context) -> None:
        """After training on a task."""

    def evaluated(self, learner: Learner) -> AbstractContextManager[None]:
        """Within it the learner is as it is to be evaluated, and after it as it was.

        Entered for evaluations within a task, of methods that do not train what they keep.
        """
        return nullcontext()

    def state_dict(self) -> dict[str, Any]:
        """All that must survive a kill: nested dicts and lists of tensors, numbers and strings."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`, after which the method goes on as if never stopped."""

    def restore(self, learner: Learner, index: int) -> None:
        """Give a fresh learner the structure it had in the phase of task `index`.

        Called on resume after `load_state_dict` and before the learner's tensors are loaded; the
        heads have made room for tasks 0 .. index. Only a method that changes the structure of the
        learner needs it.
        """
