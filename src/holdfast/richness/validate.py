"""What is not as a parametrization says, why that matters, and what to do about it."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from holdfast.nets.scaled import Scaling
from holdfast.richness.batch_norm import batch_norms, group_norm
from holdfast.richness.rates import (
    is_parametrized,
    multiplier_of,
    scaled_parameters,
    scaling_of,
)
from holdfast.richness.registry import describe_layer


@dataclass(frozen=True)
class Problem:
    """A way in which a model is not what its parametrization says.

    Args:
        where: path of a parameter or module; of several, with commas between.
        what: is wrong, and what comes of it.
        fix: what to do.
        repair: does it to the model, in place; `None` where only a person can.
    """

    where: str
    what: str
    fix: str
    repair: Callable[[], None] | None = field(default=None, repr=False, compare=False)

    def __str__(self) -> str:
        return f"{self.where}: {self.what}. {self.fix}."


def validate(model: nn.Module, trained: bool = False) -> list[Problem]:
    """Look a parametrized model over, before training.

    Found are: readouts that were to start at 0 and do not; raw weights of another spread than they
    were drawn with, as after a state dict of a plain model was loaded; BatchNorm that was kept;
    parameters that were added, and layers that were put in the place of others, after
    `parametrize`; parts that come from models of another width or gamma_0.

    Args:
        model: parametrized.
        trained: whether the weights may have moved, by training or because ``weights="keep"`` kept
            them: what they are is then not looked at.

    Returns:
        The problems, which print as sentences; none where all is well.

    Raises:
        ValueError: the model is not parametrized.

    >>> from holdfast.richness import parametrize
    >>> model = parametrize(nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 3)))
    >>> validate(model)
    []
    >>> _ = nn.init.ones_(model[2].bias)
    >>> (problem,) = validate(model)
    >>> print(problem.where, "|", problem.fix)
    2.bias | Set it to 0, which repair() does, or ask for readout_std=1
    >>> problem.repair()
    >>> validate(model)
    []
    """
    if not is_parametrized(model):
        raise ValueError("model is not parametrized; call holdfast.richness.parametrize first")
    weights = [] if trained else _weights(model)
    return [*_strangers(model), *_mixed(model), *_norms(model), *weights]


def _strangers(model: nn.Module) -> Iterator[Problem]:
    for name, _, scaling, role in scaled_parameters(model):
        if scaling is not None and role is not None:
            continue
        path, _, own = name.rpartition(".")
        layer = model.get_submodule(path)
        if scaling is None and describe_layer(layer) is not None:
            came = f"is of a plain {type(layer).__name__} that came after parametrize"
        else:
            came = "came after parametrize"
        yield Problem(
            name,
            f"{came}: no rate is known for it, and the layer counts with the multiplier "
            f"{multiplier_of(layer):.4g} at every width",
            "Put all layers in their places, then call parametrize on the whole; or freeze it, if "
            f"{own} is not to be trained",
        )


def _mixed(model: nn.Module) -> Iterator[Problem]:
    first: tuple[str, Scaling] | None = None
    for path, module in model.named_modules():
        scaling = scaling_of(module)
        if scaling is None:
            continue
        first = first or (path, scaling)
        if _setting(scaling) != _setting(first[1]):
            yield Problem(
                path,
                f"was parametrized with {_said(scaling)}, {first[0]} with {_said(first[1])}: one "
                "learning rate eta_0 means another movement in each of them",
                "Put the parts together plain, then call parametrize on the whole",
            )


def _setting(scaling: Scaling) -> tuple[str, float, float, int]:
    return scaling.parametrization, scaling.gamma, scaling.ratio, scaling.base


def _said(scaling: Scaling) -> str:
    width = scaling.ratio * scaling.base
    return f"{scaling.parametrization}, width {width:.4g} and gamma {scaling.gamma:.4g}"


def _norms(model: nn.Module) -> Iterator[Problem]:
    names = batch_norms(model)
    standard = all(s.parametrization == "sp" for s in map(scaling_of, model.modules()) if s)
    if names and not standard:
        yield Problem(
            ", ".join(names),
            "BatchNorm divides by the size of activations, which undoes the multipliers of the "
            "layers before it: how far they move is then not set by gamma_0; and its running "
            "statistics follow the task at hand, so that forgetting is not of the weights alone",
            "Replace it by GroupNorm with one group: batch_norm='group' of parametrize, or "
            "repair(), which does it here",
            lambda: group_norm(model),
        )


def _weights(model: nn.Module) -> Iterator[Problem]:
    for name, parameter, scaling, role in scaled_parameters(model):
        if scaling is None or role is None or scaling.std is None or parameter.numel() == 0:
            continue
        layer = model.get_submodule(name.rpartition(".")[0])
        if role in ("readout", "offset") and scaling.std == 0:
            if bool(parameter.detach().any()):
                yield _not_zero(name, parameter)
        elif role in ("input", "hidden", "readout"):
            yield from _spread(name, parameter, layer, scaling.std)


def _not_zero(name: str, parameter: nn.Parameter) -> Problem:
    return Problem(
        name,
        "the readout was asked to start at 0 and does not, so that the output at the start is not "
        "0: it depends on the width, training first undoes it, and features move as gamma_0 in "
        "place of gamma_0^2 for small gamma_0",
        "Set it to 0, which repair() does, or ask for readout_std=1",
        lambda: _set(parameter, lambda p: p.zero_()),
    )


def _spread(name: str, parameter: nn.Parameter, layer: nn.Module, std: float) -> Iterator[Problem]:
    values = parameter.detach().double()
    if isinstance(layer, nn.Embedding) and layer.padding_idx is not None:
        values = values[torch.arange(len(values), device=values.device) != layer.padding_idx]
    if values.numel() == 0:
        return
    found, multiplier = float(values.square().mean().sqrt()), multiplier_of(layer)
    # Six standard errors of the spread of normal draws, and some more for tokens and the like.
    if abs(found / std - 1) <= 0.1 + 6 / math.sqrt(2 * values.numel()):
        return
    yield Problem(
        name,
        f"raw entries have a spread of {found:.3g} where {std:.3g} was drawn; multiplied by "
        f"{multiplier:.3g} on the way, activations and rates are off by as much. So it is after a "
        "state dict of a plain model was loaded, or weights were drawn by hand",
        "Load such weights into the plain model and call parametrize(..., weights='keep'); "
        "repair() divides these by the multiplier, which is the same. If they are trained raw "
        "weights, or kept ones, validate with trained=True",
        lambda: _set(parameter, lambda p: p.div_(multiplier)),
    )


@torch.no_grad()
def _set(parameter: nn.Parameter, change: Callable[[Tensor], Tensor]) -> None:
    change(parameter)
