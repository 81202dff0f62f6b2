"""A spring on each parameter towards where it began, so that a network stays as trainable."""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from holdfast.methods.arguments import check_number
from holdfast.methods.halrp.swap import is_norm
from holdfast.methods.method import Method
from holdfast.nets.learner import Learner
from holdfast.nets.redraw import check_redrawable, redraw
from holdfast.seeds import derive
from holdfast.streams.batches import Batch
from holdfast.streams.context import Context
from holdfast.streams.stream import Stream


def held_parameters(model: nn.Module, norms: bool = False) -> dict[str, nn.Parameter]:
    """The trainable parameters of a model by name, those of norm layers only if `norms`."""
    left_out = {
        id(p)
        for module in model.modules()
        if is_norm(module) and not norms
        for p in module.parameters(recurse=False)
    }
    named = model.named_parameters()
    return {name: p for name, p in named if p.requires_grad and id(p) not in left_out}


@torch.no_grad()
def pull_to_start(model: nn.Module, start: Mapping[str, Tensor], strength: float) -> None:
    """Add the gradient of strength / 2 |theta - theta_0|^2 to those that are there.

    To be called between ``backward`` and the step, in a training loop of one's own:

        start = {name: p.detach().clone() for name, p in held_parameters(model).items()}

    Args:
        model: whose parameters have gradients; those without one are left alone.
        start: theta_0, by the names of the parameters that are held.
        strength: of the penalty.

    Raises:
        ValueError: a name that is no parameter, or another shape.
    """
    named = dict(model.named_parameters())
    parameters: list[Tensor] = []
    gradients: list[Tensor] = []
    centres: list[Tensor] = []
    for name, centre in start.items():
        p = named.get(name)
        if p is None or p.shape != centre.shape:
            what = "is no parameter" if p is None else f"has shape {tuple(p.shape)}"
            raise ValueError(
                f"start holds {name!r} of shape {tuple(centre.shape)}, which {what} of the model"
            )
        if p.grad is not None:
            parameters.append(p)
            gradients.append(p.grad)
            centres.append(centre.to(p))
    if parameters and strength:
        away = torch._foreach_sub(parameters, centres)
        torch._foreach_add_(gradients, away, alpha=strength)


class L2Init(Method):
    """Hold every parameter near where it began.

    The gradient of the penalty

        strength / 2 * |theta - theta_0|^2

    is added to that of the loss. theta_0 are the parameters when the first task begins (those of a
    network that was trained before, if that is what the run begins with), and of rows and heads
    that arrive later those they arrive with. The aim is a network that stays trainable: weights
    that the data do not need return to where a fresh network has them, where weight decay takes
    them to zero. `L2` instead holds what the previous task left. All trainable parameters are held,
    heads and biases too, those of norm layers if `norms` says so. Parameters without a gradient in
    a step are left alone; the loss the method returns is that of the data. Plain SGD is stable only
    while lr * strength stays below 2.

    Kumar, Marklund & Van Roy, "Maintaining plasticity in continual learning via regenerative
    regularization", 2023. Their penalty has no factor 1/2: `strength` is twice their lambda.

    Args:
        strength: of the penalty.
        norms: whether norm layers are held too.
        redraw: whether each task after the first gets a theta_0 of its own, drawn as the net draws
            its first weights and independent of them: it holds the distribution of the weights,
            not their values.
    """

    def __init__(
        self, *, strength: float = 0.01, norms: bool = False, redraw: bool = False
    ) -> None:
        check_number("strength", strength)
        self.strength, self.norms, self.redraw = strength, norms, redraw
        self._start: dict[str, Tensor] = {}

    def check(self, learner: Learner, stream: Stream) -> None:
        """With `redraw`, refuse a network that cannot draw its weights.

        Raises:
            ValueError: naming the modules.
        """
        if self.redraw:
            check_redrawable(learner)

    def begin_task(self, learner: Learner, context: Context) -> None:
        """Remember where parameters and rows that are new begin, or draw all anew."""
        if context.index == 0:
            self._start = {}
        held = held_parameters(learner, self.norms)
        if self.redraw and context.index > 0:
            other = copy.deepcopy(learner)
            redraw(other, derive(context.seed, "l2_init", context.index))
            held = {name: p for name, p in other.named_parameters() if name in held}
            self._start = {}
        for name, p in held.items():
            now = p.detach().clone()
            known = self._start.get(name)
            if known is not None:
                now[: len(known)] = known.to(now)
            self._start[name] = now

    def after_backward(self, learner: Learner, batch: Batch, context: Context) -> None:
        """Add the gradient of the penalty."""
        pull_to_start(learner, self._start, self.strength)

    def state_dict(self) -> dict[str, Any]:
        """theta_0."""
        return {"start": dict(self._start)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self._start = dict(state["start"])
