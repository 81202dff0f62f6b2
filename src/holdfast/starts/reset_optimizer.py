"""What an optimizer remembers of parameters, begun anew."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from holdfast.nets.learner import Learner
from holdfast.starts.grow_optimizer import first_value
from holdfast.streams.context import Context

_NUMBERS = {"step": 0.0, "mu_product": 1.0}
"""State that is one number a parameter, with the value it starts at."""


@torch.no_grad()
def reset_optimizer_state(
    optimizer: Optimizer, parameters: Iterable[nn.Parameter], rows: Sequence[int] | None = None
) -> None:
    """Let an optimizer go on as if these parameters had come to it just now.

    Momentum and moments start again as the optimizer starts them, mostly at zero, and so does the
    number of steps, without which Adam would no longer correct the bias of the new moments and take
    steps several times too large. Options such as the learning rate stay, and so does all that is
    remembered of other parameters. Call it after weights were drawn anew or moved by hand: their
    moments are of gradients at weights that are gone.

    Args:
        optimizer: of torch, whose state is of the shape of its parameter or a step count: SGD,
            Adam, AdamW, RMSprop, Adagrad and others.
        parameters: those to forget; one that the optimizer does not hold has no state.
        rows: along the first dimension, to forget these alone. The step count, which all rows
            share, stays.

    Raises:
        ValueError: state of a kind whose first value is not known (LBFGS, Adafactor, ASGD).
            Nothing has been changed then.
    """
    groups = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    planned: list[tuple[dict[str, Any], str, Any, float]] = []
    for p in parameters:
        state = optimizer.state.get(p, {})
        for name, value in state.items():
            if value is None:
                continue
            if name in _NUMBERS:
                if rows is None:
                    planned.append((state, name, value, _NUMBERS[name]))
            elif isinstance(value, Tensor) and value.shape == p.shape:
                first = first_value(optimizer, groups[id(p)], name)
                planned.append((state, name, value, first))
            else:
                raise ValueError(
                    f"optimizer {type(optimizer).__name__} keeps {name!r}, and what that begins "
                    "with is not known; make a new optimizer"
                )
    for state, name, value, first in planned:
        if not isinstance(value, Tensor):
            state[name] = type(value)(first)
        elif rows is not None:
            value[list(rows)] = first
        else:
            value.fill_(first)


def forget_in_run(learner: Learner, context: Context, names: Iterable[str]) -> None:
    """Reset what the optimizer of the last task, if it is carried on, keeps of parameters."""
    optimizer = context.optimizer()
    if optimizer is None:
        return
    named = dict(learner.named_parameters())
    chosen = [named[name] for name in names]
    if any(name.startswith("heads.") for name in names):
        # A head that grew since has new parameters, and its state waits at the old ones.
        here = {id(p) for p in learner.parameters()}
        held = [p for group in optimizer.param_groups for p in group["params"]]
        chosen += [p for p in held if id(p) not in here]
    reset_optimizer_state(optimizer, chosen)
