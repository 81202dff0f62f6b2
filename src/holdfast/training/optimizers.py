"""Optimizers over the learner's trainable parameters, and how their state outlives a task."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from holdfast.training.options import Training


def trainable(module: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that require a gradient, by name."""
    return {name: p for name, p in module.named_parameters() if p.requires_grad and p.numel() > 0}


def build_optimizer(parameters: dict[str, nn.Parameter], training: Training) -> Optimizer:
    """The optimizer `training` names, in torch's fused form where the parameters allow it.

    Raises:
        ValueError: there is nothing to train.
    """
    if not parameters:
        raise ValueError("the learner has no parameters that require a gradient")
    values = list(parameters.values())
    options: dict[str, Any] = {"lr": training.lr, "weight_decay": training.weight_decay}
    # The fused form on the CPU walks memory, whatever the strides of gradient and state: they are
    # sure to be alike where the parameter is contiguous alone.
    options["fused"] = all(
        p.is_floating_point() and p.device.type in ("cpu", "cuda") and p.is_contiguous()
        for p in values
    )
    match training.optimizer:
        case "sgd":
            sgd = SGD(values, momentum=training.momentum, **options)
            if training.momentum > 0:
                # As the first step would; the fused form cannot take some buffers and not others,
                # which happens when a head gets its first gradient late.
                for p in values:
                    sgd.state[p]["momentum_buffer"] = torch.zeros_like(p)
            return sgd
        case "adam":
            return Adam(values, betas=training.betas, **options)
        case "adamw":
            return AdamW(values, betas=training.betas, **options)


def carry_state(
    old: Optimizer,
    old_names: Sequence[str],
    new: Optimizer,
    parameters: dict[str, nn.Parameter],
) -> None:
    """Give `new` the state `old` kept for parameters of the same name.

    A parameter that grew along its first dimension keeps the state of its old rows; that of the
    new rows is zero. One that changed otherwise starts anew.
    """
    kept = dict(zip(old_names, old.param_groups[0]["params"], strict=True))
    for name, parameter in parameters.items():
        before = kept.get(name)
        if before is not None and before in old.state and _fits(before, parameter):
            new.state[parameter] = {
                key: _grown(value, before, parameter) for key, value in old.state[before].items()
            }


def _fits(before: Tensor, after: Tensor) -> bool:
    if before.shape == after.shape:
        return True
    alike = before.ndim == after.ndim and before.shape[1:] == after.shape[1:]
    return alike and len(before) < len(after)


def _grown(value: Any, before: Tensor, after: Tensor) -> Any:
    if before.shape == after.shape or not isinstance(value, Tensor) or value.ndim == 0:
        return value
    grown = torch.zeros_like(after, dtype=value.dtype)
    grown[: len(value)] = value
    return grown


def optimizer_state(optimizer: Optimizer, names: Sequence[str]) -> dict[str, Any]:
    """What the optimizer keeps for each of its parameters, by the parameter's name."""
    return {names[i]: dict(kept) for i, kept in optimizer.state_dict()["state"].items()}


def load_optimizer_state(optimizer: Optimizer, names: Sequence[str], state: dict[str, Any]) -> None:
    """The inverse of `optimizer_state`, for an optimizer over parameters of these names."""
    whole = optimizer.state_dict()
    whole["state"] = {i: state[name] for i, name in enumerate(names) if name in state}
    optimizer.load_state_dict(whole)
