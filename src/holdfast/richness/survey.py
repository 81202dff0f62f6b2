"""What a model is made of, as far as a parametrization must know; nothing is changed here."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from torch import nn

from holdfast.nets.heads import GrowingHead, Head, SharedHead, TaskHeads
from holdfast.nets.learner import Learner
from holdfast.richness.batch_norm import batch_norms
from holdfast.richness.branches import Branched, survey_branches
from holdfast.richness.logits import survey_attention
from holdfast.richness.options import Richness
from holdfast.richness.registry import (
    Attention,
    Description,
    Matrix,
    describe_layer,
    find_branches,
)
from holdfast.signatures import nearest

_TRANSPARENT = (
    nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.Flatten, nn.Unflatten,
    nn.Identity, nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d,
    nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d,
)  # fmt: skip
"""What leaves a ReLU behind it one."""


@dataclass(frozen=True)
class Found:
    """The layers of a model and their places.

    Args:
        layers: what the rules say, by path, in the model's order; heads and what is frozen as a
            whole are left out.
        head: of a learner.
        readout: path of the layer that gives the outputs, of a model that is no learner.
        inputs: paths of the layers that see data.
        width: N.
        gains: by path of the matrix layers between.
        branched: the residual branches.
        attention: whose logits are scaled, by path.
    """

    layers: dict[str, Description]
    head: Head | None
    readout: str | None
    inputs: tuple[str, ...]
    width: int
    gains: dict[str, float]
    branched: Branched
    attention: dict[str, Attention]


def survey(model: nn.Module, options: Richness) -> Found:
    """Look at a model.

    Raises:
        ValueError: what `holdfast.richness.parametrize` refuses.
    """
    head = model.heads if isinstance(model, Learner) else None
    if head is not None and type(head) not in (SharedHead, GrowingHead, TaskHeads):
        raise ValueError(
            f"heads of type {type(head).__name__} have no rule; there are rules for SharedHead, "
            "GrowingHead and TaskHeads"
        )
    own = set(head.modules()) if isinstance(head, Head) else set()
    layers = _layers((path, m) for path, m in model.named_modules() if m not in own)
    _refuse_tied(model, layers)
    _refuse_batch_norm(model, options)
    readout = None if head is not None else _readout(model, layers, options)
    if head is not None and options.readout is not None:
        raise ValueError(
            "readout is given for a Learner, whose heads are the readout; leave it out"
        )
    matrices = {p: k for p, k in layers.items() if isinstance(k, Matrix) and p != readout}
    inputs = _inputs(matrices, options)
    return Found(
        layers=layers,
        head=head if isinstance(head, Head) else None,
        readout=readout,
        inputs=inputs,
        width=_width(model, matrices, head, readout, layers, options),
        gains=_gains(model, matrices, inputs, options),
        branched=survey_branches(model, options),
        attention=survey_attention(model, options),
    )


def _layers(modules: Iterable[tuple[str, nn.Module]]) -> dict[str, Description]:
    found: dict[str, Description] = {}
    for path, module in modules:
        parameters = list(module.parameters(recurse=False))
        if not any(p.requires_grad for p in parameters):
            continue
        description = describe_layer(module)
        if description is None:
            kind = type(module)
            raise ValueError(
                f"{path or 'the model'} is a {kind.__module__}.{kind.__qualname__}, a layer type "
                "without a rule. Register what its parameters are: "
                f"@holdfast.richness.layer_rule({kind.__name__}) on a function that returns "
                "Matrix(fan_in, fan_out) for one weight in a map that is linear in the layer's "
                "first argument, or Vectors() for gains, biases and tokens; or freeze it"
            )
        for name in ("scaling", "multiplier"):
            if hasattr(module, name):
                raise ValueError(
                    f"{path or 'the model'} ({type(module).__name__}) has an attribute {name!r} "
                    "where the parametrization keeps its own; rename it, or let a module within "
                    "hold the parameters"
                )
        if isinstance(description, Matrix):
            _check_matrix(path or "the model", module, description)
        found[path] = description
    return found


def _check_matrix(path: str, layer: nn.Module, description: Matrix) -> None:
    own = dict(layer.named_parameters(recurse=False))
    if description.weight not in own:
        raise ValueError(
            f"the rule of {path} ({type(layer).__name__}) names its weight {description.weight!r}; "
            f"the layer has {', '.join(own)}"
        )
    for name, parameter in own.items():
        if name != description.weight and sum(size > 1 for size in parameter.shape) > 1:
            raise ValueError(
                f"{path} ({type(layer).__name__}) has a second matrix, {name} of shape "
                f"{tuple(parameter.shape)}, beside {description.weight}; a rule holds for one "
                "weight and vectors: give each matrix a layer of its own"
            )


def _refuse_tied(model: nn.Module, layers: dict[str, Description]) -> None:
    owner: dict[int, str] = {}
    for path in layers:
        for name, parameter in model.get_submodule(path).named_parameters(recurse=False):
            here = f"{path}.{name}" if path else name
            if id(parameter) in owner:
                raise ValueError(
                    f"{owner[id(parameter)]} and {here} are one parameter; two layers with "
                    "multipliers of their own cannot share it: give each a weight"
                )
            owner[id(parameter)] = here


def _refuse_batch_norm(model: nn.Module, options: Richness) -> None:
    if options.parametrization == "sp" or options.batch_norm == "keep":
        return
    names = batch_norms(model)
    shown = ", ".join(names[:3]) + (" ..." if len(names) > 3 else "")
    if names and options.batch_norm == "group" and options.weights == "keep":
        raise ValueError(
            f"batch_norm='group' replaces BatchNorm ({shown}), so that weights='keep' could not "
            "keep the features; give batch_norm='keep', or weights='draw'"
        )
    if names and options.batch_norm == "refuse":
        raise ValueError(
            f"the model has BatchNorm ({shown}): it divides by the size of activations, which "
            "undoes the multipliers before it, and its running statistics mix tasks, so that "
            "forgetting is not of the weights alone. Give batch_norm='group' to replace each by "
            "GroupNorm with one group, or batch_norm='keep' to go on all the same"
        )


def _readout(model: nn.Module, layers: dict[str, Description], options: Richness) -> str:
    named = options.readout
    if named is not None:
        if not isinstance(layers.get(named), Matrix):
            raise ValueError(
                f"readout {named!r} is no trainable layer with a weight; there are "
                f"{', '.join(p for p, k in layers.items() if isinstance(k, Matrix))}"
            )
        return named
    linear = {p for p in layers if isinstance(model.get_submodule(p), nn.Linear)}
    # What sees data takes no layer's outputs: three classes of images of three channels are fine.
    data = _inputs({p: k for p, k in layers.items() if isinstance(k, Matrix)}, options)
    taken = {p: _inputs_of(model.get_submodule(p)) for p in layers if p not in data}
    candidates = []
    for path in sorted(linear):
        kind = layers[path]
        others = {size for other, size in taken.items() if other != path}
        if isinstance(kind, Matrix) and kind.fan_out not in others:
            candidates.append(path)
    if len(candidates) == 1:
        return candidates[0]
    found = f"several could be ({', '.join(candidates)})" if candidates else "none was found"
    raise ValueError(
        f"readout must name the layer that gives the outputs: {found} among the linear layers "
        "whose outputs are no other layer's inputs. A backbone alone has none: join it with heads "
        "(holdfast.build_learner) first"
    )


def _inputs_of(layer: nn.Module) -> int | None:
    for name in ("in_features", "in_channels", "embed_dim", "num_features", "num_channels"):
        size = getattr(layer, name, None)
        if isinstance(size, int):
            return size
    kind = describe_layer(layer)
    if isinstance(kind, Matrix):
        return kind.fan_in
    weight = getattr(layer, "weight", None)
    return None if weight is None else int(weight.shape[-1])


def _inputs(matrices: dict[str, Matrix], options: Richness) -> tuple[str, ...]:
    if options.inputs is not None:
        for name in options.inputs:
            if name not in matrices:
                raise ValueError(
                    f"inputs names {name!r}, which is none of the layers with a weight"
                    f"{nearest(name, matrices)}: {', '.join(matrices)}"
                )
        return options.inputs
    tables = tuple(path for path, kind in matrices.items() if kind.fan_in is None)
    return tables or tuple(matrices)[:1]


def _width(
    model: nn.Module,
    matrices: dict[str, Matrix],
    head: nn.Module | None,
    readout: str | None,
    layers: dict[str, Description],
    options: Richness,
) -> int:
    if options.width is not None:
        return options.width
    if matrices:
        return list(matrices.values())[-1].fan_out
    if isinstance(head, Head):
        return head.width
    kind = layers[readout] if readout is not None else None
    return int(kind.fan_in or 1) if isinstance(kind, Matrix) else 1


def _gains(
    model: nn.Module, matrices: dict[str, Matrix], inputs: tuple[str, ...], options: Richness
) -> dict[str, float]:
    """sqrt(2) for hidden layers that come behind a ReLU in the model's order, or the gain given."""
    gains: dict[str, float] = {}
    behind_relu = False
    told = _behind(model)
    for path, module in model.named_modules():
        if path in matrices:
            after_relu = isinstance(told[path], nn.ReLU) if path in told else behind_relu
            auto = math.sqrt(2) if after_relu else 1.0
            if path not in inputs and matrices[path].fan_in is not None:
                gains[path] = auto if options.gain == "auto" else float(options.gain)
        if any(True for _ in module.children()) or isinstance(module, nn.Sequential):
            continue
        if not isinstance(module, _TRANSPARENT):
            behind_relu = isinstance(module, nn.ReLU)
    return gains


def _behind(model: nn.Module) -> dict[str, nn.Module]:
    """The modules that layers are called after, where the rule of their block tells."""
    told: dict[str, nn.Module] = {}
    for path, block in model.named_modules():
        found = find_branches(block)
        for layer, before in found.behind.items() if found else ():
            told[f"{path}.{layer}" if path else layer] = block.get_submodule(before)
    return told
