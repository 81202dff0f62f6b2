"""The learning rate of each parameter of a parametrized model."""

import math
from collections.abc import Iterator
from typing import Any, Literal, get_args

from torch import nn

from holdfast.nets.heads import Head
from holdfast.nets.scaled import Role, Scaling

OptimizerName = Literal["sgd", "adam", "adamw"]


def rate(scaling: Scaling, role: Role, optimizer: OptimizerName) -> float:
    """The factor by which the learning rate eta_0 is multiplied for a parameter.

    With gamma the divisor of the output, r = N / N_0 the width over the base width and, for layers
    in residual branches multiplied by 1 / sqrt(L), b = 1 / sqrt(L), else b = 1:

    | role | SGD | Adam, AdamW |
    |---|---|---|
    | input matrix, vector | gamma^2 | gamma r^(-1/2) b |
    | hidden matrix | gamma^2 | gamma r^(-1) b |
    | readout matrix | gamma^2 | gamma r^(-1/2) |
    | bias of the readout | 1 | 1 |

    In muP gamma = gamma_0 r^(1/2), so that SGD has eta_0 gamma_0^2 r throughout, and Adam
    eta_0 gamma_0 but for hidden matrices, eta_0 gamma_0 r^(-1/2) b: an entry moves by the rate
    whatever the gradient, a sum over N of them by N times that.  The bias of the readout adds to
    the output without the divisor, hence its own line. ``sp`` has one rate for all, gamma^2 or
    gamma.

    Yang & Hu, 2021; Yang et al., 2022 (Adam); Bordelon et al., 2024 (depth); Graldi et al., 2025,
    table 1 (SGD). The bias of the readout and vectors are ours, by the same rule: a step changes
    activations by an amount free of width.
    """
    sgd = optimizer == "sgd"
    if scaling.parametrization == "sp":
        return scaling.gamma**2 if sgd else scaling.gamma
    if role == "offset":
        return 1.0
    if sgd:
        return scaling.gamma**2
    power = 1.0 if role == "hidden" else 0.5
    return scaling.gamma * scaling.ratio**-power * scaling.branch


def scaling_of(module: nn.Module) -> Scaling | None:
    """How a module's own parameters scale, if it is part of a parametrized model."""
    found = module.readout.scaling if isinstance(module, Head) else None
    found = getattr(module, "scaling", None) if found is None else found
    return found if isinstance(found, Scaling) else None


def multiplier_of(module: nn.Module) -> float:
    """By which a module's weight is multiplied on the way."""
    if isinstance(module, Head):
        return module.readout.multiplier
    return float(getattr(module, "multiplier", 1.0))


def is_parametrized(model: nn.Module) -> bool:
    """Whether `holdfast.richness.parametrize` was here."""
    return any(scaling_of(module) is not None for module in model.modules())


def scaled_parameters(
    model: nn.Module,
) -> Iterator[tuple[str, nn.Parameter, Scaling | None, Role | None]]:
    """Each trainable parameter with its name, how its module scales, and its role there."""
    seen: set[int] = set()
    for path, module in model.named_modules():
        scaling = scaling_of(module)
        for name, parameter in module.named_parameters(recurse=False):
            if id(parameter) in seen or not parameter.requires_grad:
                continue
            seen.add(id(parameter))
            role = None if scaling is None else scaling.roles.get(name)
            yield f"{path}.{name}" if path else name, parameter, scaling, role


def rates(model: nn.Module, optimizer: str = "sgd") -> dict[str, float]:
    """The factor on the learning rate of each trainable parameter, by name; see `rate`.

    All 1 for a model that is not parametrized.

    Raises:
        ValueError: a parametrized model and an optimizer without a rule, or a parameter that was
            added to a parametrized model and belongs to no layer with a scaling.
    """
    if not is_parametrized(model):
        return {name: 1.0 for name, p in model.named_parameters() if p.requires_grad}
    known = get_args(OptimizerName)
    if optimizer not in known:
        raise ValueError(
            f"optimizer must be one of {', '.join(known)}, got {optimizer!r}: how fast the others "
            "move features at another width is not known to us, and guessing would be silent"
        )
    factors: dict[str, float] = {}
    for name, _, scaling, role in scaled_parameters(model):
        if scaling is None or role is None:
            raise ValueError(
                f"parameter {name} is in no layer that was parametrized; call "
                "holdfast.richness.parametrize on the whole model, after all layers are there"
            )
        factors[name] = rate(scaling, role, optimizer)  # type: ignore[arg-type]
    return factors


def param_groups(
    model: nn.Module,
    optimizer: Literal["sgd", "adam", "adamw"] = "sgd",
    lr: float = 0.1,
    weight_decay: float = 0.0,
) -> list[dict[str, Any]]:
    """Groups for a torch optimizer, with the rate that each parameter should have.

    ``torch.optim.SGD(param_groups(model, "sgd", lr=0.1))``. Schedulers of torch multiply the rates
    and leave their ratios as they are.

    Args:
        model: parametrized; of another one all parameters make a single group.
        optimizer: ``sgd`` (with or without momentum), ``adam`` or ``adamw``.
        lr: eta_0.
        weight_decay: of ``sgd`` and ``adamw``, per unit of eta_0: a step decays every weight by
            lr * weight_decay of itself, at every width and gamma_0.

    Returns:
        dicts with ``params``, ``lr``, ``weight_decay`` and ``factor``, the rate over `lr`; groups
        in order of the first of their parameters.

    Raises:
        ValueError: see `rates`; a rate that is not positive; a weight decay with ``adam``, whose
            decay goes through the normalised gradient and has no rule.
    """
    if not 0 < lr < math.inf:
        raise ValueError(f"lr must be positive and finite, got {lr}")
    if not 0 <= weight_decay < math.inf:
        raise ValueError(f"weight_decay must be 0 or more, and finite; got {weight_decay}")
    factors = check_rates(model, optimizer, weight_decay)
    named = dict(model.named_parameters())
    groups: dict[float, list[nn.Parameter]] = {}
    for name, factor in factors.items():
        groups.setdefault(factor, []).append(named[name])
    return [
        {"params": own, "lr": lr * f, "weight_decay": weight_decay / f, "factor": f}
        for f, own in groups.items()
    ]


def check_rates(model: nn.Module, optimizer: str, weight_decay: float) -> dict[str, float]:
    """`rates`, for training with a weight decay.

    Raises:
        ValueError: see `rates`; or a weight decay that scales in no known way.
    """
    factors = rates(model, optimizer)
    if weight_decay and optimizer == "adam" and is_parametrized(model):
        raise ValueError(
            f"weight_decay {weight_decay} with optimizer 'adam' has no rule in a parametrized "
            "model: it is normalised away with the gradient; use 'adamw'"
        )
    return factors
