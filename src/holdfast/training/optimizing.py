"""The optimizer that a run has at the moment, and the rate of each of its steps."""

from typing import Any

from torch import nn
from torch.optim import Optimizer

from holdfast.nets.learner import Learner
from holdfast.richness.rates import rates
from holdfast.starts.start import Start
from holdfast.training.optimizers import (
    build_optimizer,
    by_rate,
    carry_state,
    load_optimizer_state,
    optimizer_state,
    trainable,
)
from holdfast.training.options import Training
from holdfast.training.schedules import lr_factor


class Optimizing:
    """What steps the parameters of a run: an optimizer that is made for each task.

    Args:
        training: how each task is trained.
        start: may have a rate of its own.

    Attributes:
        optimizer: of the task that is trained, or was last; `None` before the first.
        varies: whether the learning rate differs between steps.
    """

    def __init__(self, training: Training, start: Start) -> None:
        self.optimizer: Optimizer | None = None
        self.varies = training.schedule != "constant" or type(start).rate is not Start.rate
        self._training, self._start = training, start
        self._names: list[str] = []

    def renew(self, learner: Learner, *, carry: bool) -> Optimizer:
        """An optimizer over what requires a gradient now.

        Args:
            learner: whose parameters it steps.
            carry: whether it is given what the one before it remembers.

        Raises:
            ValueError: there is nothing to train.
        """
        return self._make(learner, trainable(learner), carry)

    def rate(self, task: int, step: int, steps_per_epoch: int, epochs: int) -> float:
        """The learning rate of a step: of the schedule, times the start's own.

        Args:
            task: its position.
            step: of the task, from 0.
            steps_per_epoch: of the task.
            epochs: of the task.
        """
        own = self._start.rate(task, step, steps_per_epoch * epochs)
        return self._training.lr * lr_factor(self._training, step, steps_per_epoch, epochs) * own

    @staticmethod
    def set_rate(optimizer: Optimizer, rate: float) -> None:
        """Let the next step have this rate, times the factor of each group."""
        for group in optimizer.param_groups:
            group["lr"] = rate * group["factor"]

    def state_dict(self, amid_task: bool) -> dict[str, Any]:
        """What is remembered of each parameter, by name; nothing where the next task resets it."""
        if self.optimizer is None or (self._training.reset_optimizer and not amid_task):
            return {}
        return optimizer_state(self.optimizer, self._names)

    def load_state_dict(self, state: dict[str, Any], learner: Learner, amid_task: bool) -> None:
        """The inverse of `state_dict`, for a learner as it was then."""
        if amid_task:
            self._make(learner, trainable(learner), carry=False)
        elif state:
            # Of the task before, whose parameters may have been frozen since, or be gone.
            named = dict(learner.named_parameters())
            kept = {name: named[name] for name in state if name in named}
            self._make(learner, kept, carry=False)
        if self.optimizer is not None:
            load_optimizer_state(self.optimizer, self._names, state)

    def _make(
        self, learner: Learner, parameters: dict[str, nn.Parameter], carry: bool
    ) -> Optimizer:
        factors = rates(learner, self._training.optimizer)
        parameters = by_rate(parameters, factors)
        optimizer = build_optimizer(parameters, self._training, factors)
        if self.optimizer is not None and carry:
            carry_state(self.optimizer, self._names, optimizer, parameters)
        self.optimizer, self._names = optimizer, list(parameters)
        return optimizer
