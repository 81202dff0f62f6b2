"""Optimizers over the learner's trainable parameters, and how their state outlives a task."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop

from holdfast.training.options import Training


def trainable(module: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that require a gradient, by name."""
    return {name: p for name, p in module.named_parameters() if p.requires_grad and p.numel() > 0}


def by_rate(
    parameters: dict[str, nn.Parameter], factors: Mapping[str, float]
) -> dict[str, nn.Parameter]:
    """The parameters in the order an optimizer over groups of one rate holds them."""
    order = list(dict.fromkeys(factors.get(name, 1.0) for name in parameters))
    return dict(sorted(parameters.items(), key=lambda item: order.index(factors.get(item[0], 1.0))))


def build_optimizer(
    parameters: dict[str, nn.Parameter],
    training: Training,
    factors: Mapping[str, float] = MappingProxyType({}),
) -> Optimizer:
    """The optimizer `training` names, in torch's fused form where the parameters allow it.

    Args:
        parameters: to train, by name, in the order of `by_rate`.
        training: the options.
        factors: on the learning rate of each parameter, 1 where there is none; kept in the groups
            as ``factor``. The weight decay is divided by it, so that a step shrinks all weights
            alike.

    Raises:
        ValueError: there is nothing to train.
    """
    if not parameters:
        raise ValueError("the learner has no parameters that require a gradient")
    values = list(parameters.values())
    own: dict[float, list[nn.Parameter]] = {}
    for name, p in parameters.items():
        own.setdefault(factors.get(name, 1.0), []).append(p)
    groups = [
        {
            "params": of_one_rate,
            "lr": training.lr * factor,
            "weight_decay": training.weight_decay / factor,
            "factor": factor,
        }
        for factor, of_one_rate in own.items()
    ]
    options: dict[str, Any] = {"lr": training.lr}
    # The fused form on the CPU walks memory, whatever the strides of gradient and state: they are
    # sure to be alike where the parameter is contiguous alone.
    options["fused"] = all(
        p.is_floating_point() and p.device.type in ("cpu", "cuda") and p.is_contiguous()
        for p in values
    )
    match training.optimizer:
        case "sgd":
            sgd = SGD(groups, momentum=training.momentum, **options)
            if training.momentum > 0:
                # As the first step would; the fused form cannot take some buffers and not others,
                # which happens when a head gets its first gradient late.
                for p in values:
                    sgd.state[p]["momentum_buffer"] = torch.zeros_like(p)
            return sgd
        case "adam":
            return Adam(groups, betas=training.betas, **options)
        case "adamw":
            return AdamW(groups, betas=training.betas, **options)
        case "rmsprop":
            del options["fused"]  # torch has no such form of it
            return RMSprop(groups, alpha=training.rms_decay, momentum=training.momentum, **options)


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
    held = [p for group in old.param_groups for p in group["params"]]
    kept = dict(zip(old_names, held, strict=True))
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
