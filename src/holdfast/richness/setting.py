"""What a coordinate check trained, and by which rates: what a likely cause is told from."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

from torch import nn
from torch.optim import SGD, Adam, Optimizer

from holdfast.nets.scaled import Scaling
from holdfast.richness.compare import compare_widths
from holdfast.richness.rates import OptimizerName, is_parametrized, rates, scaling_of
from holdfast.richness.validate import validate


@dataclass(frozen=True)
class Setting:
    """What a coordinate check trained, and how.

    Args:
        parametrization: of the model; `None` for one that is not parametrized.
        ratios: N / N_0 at each size; empty for a model that is not parametrized.
        branches: factor of the residual branches at each size, 1 where they are not scaled.
        readout: how it is to start: ``zero``, ``random``, or ``unknown`` where the model is not
            parametrized.
        optimizer: name of the optimizer's class.
        rule: the optimizer with whose rule it must be trained; `None` where there is no rule.
        follows: the optimizers whose rules its rates follow, at all sizes with one eta_0.
        lr: eta_0.
        steps: k.
        problems: of the models, in words, found before training.
    """

    parametrization: str | None
    ratios: tuple[float, ...]
    branches: tuple[float, ...]
    readout: Literal["zero", "random", "unknown"]
    optimizer: str
    rule: OptimizerName | None
    follows: tuple[OptimizerName, ...]
    lr: float
    steps: int
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sketch:
    """What there is to say of the model and optimizer of one size.

    Args:
        scalings: of its layers; empty for a model that is not parametrized.
        optimizer: name of the optimizer's class.
        rule: the optimizer with whose rule it must be trained, if there is one.
        units: by optimizer, the least and the largest of rate / factor of the parameters.
    """

    scalings: tuple[Scaling, ...]
    optimizer: str
    rule: OptimizerName | None
    units: dict[OptimizerName, tuple[float, float]]


def sketch(model: nn.Module, optimizer: Optimizer) -> Sketch:
    """Look at a model and its optimizer."""
    given = {id(p): float(g["lr"]) for g in optimizer.param_groups for p in g["params"]}
    named = {n: given[id(p)] for n, p in model.named_parameters() if id(p) in given}
    units: dict[OptimizerName, tuple[float, float]] = {}
    for name in get_args(OptimizerName):
        factors = rates(model, name)
        quotients = [lr / factors[n] for n, lr in named.items() if n in factors]
        units[name] = (min(quotients, default=0.0), max(quotients, default=0.0))
    found = (scaling_of(module) for module in model.modules())
    rule: OptimizerName | None = None
    if isinstance(optimizer, SGD | Adam):
        rule = "sgd" if isinstance(optimizer, SGD) else "adam"
    return Sketch(tuple(s for s in found if s is not None), type(optimizer).__name__, rule, units)


def problems_of(narrow: nn.Module, wide: nn.Module) -> tuple[str, ...]:
    """What `validate` finds in the smaller model and `compare_widths` between the two."""
    if not is_parametrized(narrow) or not is_parametrized(wide):
        return ()
    found = validate(narrow)
    if _width(wide) > _width(narrow):
        found += compare_widths(narrow, wide)
    return tuple(map(str, found))


def _width(model: nn.Module) -> float:
    return next(s.ratio * s.base for s in map(scaling_of, model.modules()) if s is not None)


def setting_of(
    sketches: Iterable[Sketch], lr: float, steps: int, problems: tuple[str, ...]
) -> Setting:
    """The setting, from the sketch of each size."""
    all_sizes = list(sketches)
    first, known = all_sizes[0], all(s.scalings for s in all_sizes)
    readouts = [s for s in first.scalings if "readout" in s.roles.values()]
    follows = [
        name
        for name in get_args(OptimizerName)
        if _alike([end for s in all_sizes for end in s.units[name]])
    ]
    return Setting(
        parametrization=first.scalings[0].parametrization if known else None,
        ratios=tuple(s.scalings[0].ratio for s in all_sizes) if known else (),
        branches=tuple(min((o.branch for o in s.scalings), default=1.0) for s in all_sizes),
        readout="unknown" if not readouts else "zero" if readouts[0].std == 0 else "random",
        optimizer=first.optimizer,
        rule=first.rule,
        follows=tuple(follows),
        lr=lr,
        steps=steps,
        problems=problems,
    )


def _alike(values: list[float]) -> bool:
    return min(values) > 0 and max(values) / min(values) < 1 + 1e-6
