"""Optimizer state of parameters that grew by rows."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Adagrad, Optimizer, Rprop

from holdfast.starts.heads import Replacement


def grow_optimizer(optimizer: Optimizer, replacements: Iterable[Replacement]) -> None:
    """Let an optimizer train the parameters of a grown head in the place of the old ones.

    Each new parameter takes the old one's place in its group, with the group's options, and the old
    one's state: whatever has the parameter's shape (momentum, moments) keeps the values of its old
    rows and starts new rows as the optimizer starts its own state, mostly at zero; numbers such as
    the step count stay. A step on the old rows is then what it would have been without growth. New
    rows share that step count, so Adam no longer corrects the bias of their moments: their first
    step is (1 - beta1) / sqrt(1 - beta2) = 3.2 times (at its defaults) the one a new Adam takes.

    A learning-rate schedule holds on to the optimizer, not to parameters, and goes on where it was.
    For a schedule that spans one task (cosine, one cycle) make a new one over the same optimizer,
    after setting each group's ``initial_lr`` and ``lr``. Gradients of the old parameters are gone:
    grow between a step and the next ``backward``.

    Args:
        optimizer: any of torch's whose state is of the parameter's shape or a number: SGD, Adam,
            AdamW, RMSprop, Adagrad and others.
        replacements: `GrowthReport.replacements`, or `Replacement`s of parameters grown otherwise
            along their first dimension.

    Raises:
        ValueError: the optimizer does not hold a parameter, or keeps state that has no rows
            (Adafactor, LBFGS). Nothing has been changed then.
    """
    slots = {
        id(p): (group, i) for group in optimizer.param_groups for i, p in enumerate(group["params"])
    }
    planned = []
    for replacement in replacements:
        before, after, _ = replacement
        if id(before) not in slots:
            raise ValueError(
                f"the optimizer does not hold a parameter of shape {tuple(before.shape)} that was "
                "replaced: give it the optimizer that trained the head before it grew, once; a "
                "parameter that was not trained is added with optimizer.add_param_group"
            )
        if before.shape[1:] != after.shape[1:] or len(after) < len(before):
            raise ValueError(
                f"a parameter of shape {tuple(before.shape)} cannot have grown by rows to "
                f"{tuple(after.shape)}"
            )
        group, place = slots[id(before)]
        state = {
            name: _grown(optimizer, group, name, value, replacement)
            for name, value in optimizer.state.get(before, {}).items()
        }
        planned.append((group, place, before, after, state))
    for group, place, before, after, state in planned:
        group["params"][place] = after
        if optimizer.state.pop(before, None) is not None:
            optimizer.state[after] = state


def _grown(
    optimizer: Optimizer, group: dict[str, Any], name: str, value: Any, change: Replacement
) -> Any:
    if not isinstance(value, Tensor) or value.ndim == 0:
        return value
    if value.shape != change.before.shape:
        raise ValueError(
            f"{type(optimizer).__name__} keeps {name!r} of shape {tuple(value.shape)} for a "
            f"parameter of shape {tuple(change.before.shape)}: it has no rows that could be kept; "
            "make a new optimizer"
        )
    grown = torch.zeros_like(change.after, dtype=value.dtype, requires_grad=False)
    grown[: len(value)] = value
    grown[list(change.fresh)] = first_value(optimizer, group, name)
    return grown


def first_value(optimizer: Optimizer, group: dict[str, Any], name: str) -> float:
    """What an optimizer starts this state at."""
    if isinstance(optimizer, Adagrad) and name == "sum":
        return float(group["initial_accumulator_value"])
    if isinstance(optimizer, Rprop) and name == "step_size":
        return float(group["lr"])
    return 0.0
