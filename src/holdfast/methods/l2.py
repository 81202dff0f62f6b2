"""A spring on each shared parameter, equally stiff for all."""

from typing import Any

import torch
from torch import Tensor, nn

from holdfast.methods.arguments import check_number
from holdfast.methods.method import Method
from holdfast.nets.heads import TaskHeads
from holdfast.nets.learner import Learner
from holdfast.streams.batches import Batch
from holdfast.streams.context import Context


class L2(Method):
    """Hold every shared parameter near where the previous task left it.

    The gradient of the penalty

        strength / 2 * sum over shared parameters i of (theta_i - theta*_i)^2

    is added to that of the loss on the current batch, theta* the parameters after the previous
    task. It is the penalty of `EWC` with the identity in place of the Fisher information, around
    the latest parameters alone: what holding weights does when it is blind to which of them the old
    tasks need.

    Shared is all that is trainable but the heads of tasks (`TaskHeads`). Rows that a growing head
    adds later are free; parameters that get no gradient from a batch are left as they are. Running
    statistics are not held. The loss the method returns is that of the data alone. Plain SGD is
    stable only while lr * strength stays below 2.

    The L2 baseline of Kirkpatrick et al. (2017, section 2) and of Yoon et al. ("Scalable and
    Order-robust Continual Learning with Additive Parameter Decomposition", 2020).

    Args:
        strength: of the penalty.
    """

    def __init__(self, *, strength: float = 0.01) -> None:
        check_number("strength", strength)
        self.strength = strength
        self._centre: dict[str, Tensor] = {}

    def forget(self) -> None:
        """Drop the centre."""
        self._centre = {}

    @torch.no_grad()
    def after_backward(self, learner: Learner, batch: Batch, context: Context) -> None:
        """Add the gradient of the penalty."""
        if self.strength == 0 or not self._centre:
            return
        parameters, gradients, centres = [], [], []
        for name, p in _shared(learner).items():
            centre = self._centre.get(name)
            if centre is None or p.grad is None:
                continue
            grown = p.shape != centre.shape
            parameters.append(p[: len(centre)] if grown else p)
            gradients.append(p.grad[: len(centre)] if grown else p.grad)
            centres.append(centre.to(p))
        if parameters:
            away = torch._foreach_sub(parameters, centres)
            torch._foreach_add_(gradients, away, alpha=self.strength)

    def end_task(self, learner: Learner, context: Context) -> None:
        """Remember where the task left the shared parameters."""
        self._centre = {name: p.detach().clone() for name, p in _shared(learner).items()}

    def state_dict(self) -> dict[str, Any]:
        """The shared parameters after the previous task."""
        return {"centre": dict(self._centre)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self._centre = dict(state["centre"])


def _shared(learner: Learner) -> dict[str, nn.Parameter]:
    own = set(learner.heads.parameters()) if isinstance(learner.heads, TaskHeads) else set()
    named = learner.named_parameters()
    return {name: p for name, p in named if p.requires_grad and p not in own}
