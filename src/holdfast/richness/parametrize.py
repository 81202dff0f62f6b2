"""Standard, neural-tangent and maximal-update parametrization of any model."""

import math
from collections.abc import Sequence
from typing import Literal, TypeVar

import torch
from torch import nn

import holdfast.richness.attention
import holdfast.richness.rules  # noqa: F401  both register rules
from holdfast.nets.heads import SharedHead, TaskHeads
from holdfast.nets.redraw import redraw, redraw_known
from holdfast.nets.scaled import SCALED, Readout, Role, Scaled, Scaling, scale
from holdfast.richness.batch_norm import group_norm
from holdfast.richness.branches import scale_branches
from holdfast.richness.logits import scale_logits
from holdfast.richness.options import BatchNormChoice, Parametrization, Richness
from holdfast.richness.rates import is_parametrized
from holdfast.richness.registry import Description, Matrix
from holdfast.richness.survey import Found, survey
from holdfast.richness.within import ScaleInput

_M = TypeVar("_M", bound=nn.Module)


def parametrize(
    model: _M,
    parametrization: Parametrization = "mup",
    *,
    gamma0: float = 1.0,
    base_width: int = 64,
    readout_std: int = 0,
    depth_scaling: bool = True,
    gain: float | Literal["auto"] = "auto",
    weights: Literal["draw", "keep"] = "draw",
    batch_norm: BatchNormChoice = "refuse",
    width: int | None = None,
    base_head_dim: int | None = None,
    readout: str | None = None,
    inputs: Sequence[str] | None = None,
    branches: Sequence[str] | None = None,
    seed: int = 0,
) -> _M:
    """Set how the model scales with its width and how far it moves: one dial from lazy to rich.

    Raw weights are normal with variance 1; forward multipliers make layers of them,

        h = gain / sqrt(fan_in) W phi(h'),    f = 1 / (gamma sqrt(fan_in)) w . phi(h),

    and `param_groups` gives the rates to train with (SGD: eta_0 gamma^2). With N the width:

    - ``mup``: gamma = gamma_0 sqrt(N / N_0). Activations move by an amount free of the width, which
      gamma_0 sets: lazy towards 0, rich at 1.
    - ``ntp``: gamma = gamma_0, by default 1. The wider the lazier: NTP at width N is muP at
      gamma_0 = sqrt(N_0 / N), the same function along training, so that both are one at the base
      width.
    - ``sp``: the layers and weights as they are, one rate for all; gamma = gamma_0. What most
      people train, for comparison. It equals NTP only up to rates of layers.

    The model is changed in place: layers become their scaled forms (`holdfast.nets.scaled`, of
    the same class and with the same parameters), multipliers live in modules as plain floats. So
    it can be copied, exported, compiled and wrapped; a state dict goes into a fresh model that was
    parametrized alike, and into no other.

    Args:
        model: a `Learner`, whose heads are the readout, or any module that ends in one.
        parametrization: see above.
        gamma0: richness gamma_0, in units of the base width.
        base_width: N_0; 64 in Graldi et al. (2025), whose theory counts in absolute units,
            gamma_0 / sqrt(N_0).
        readout_std: of the raw readout weights at the start. With 0 the model starts as f = 0,
            its tangent kernel that of the last layer alone, and features move as gamma_0^2 for
            small gamma_0; with 1 as gamma_0.
        depth_scaling: multiply residual branches by 1 / sqrt(L), L their number, so that the
            optimal gamma_0 carries over to other depths. Blocks without a rule
            (`branch_rule`) must be named in `branches`. ``sp`` leaves branches alone, and so do
            weights that keep their function.
        gain: of hidden layers. ``auto`` takes sqrt(2) for a layer behind a `torch.nn.ReLU`, which
            keeps the size of activations over depth, and 1 elsewhere.
        weights: ``draw`` new ones, and start everything else as its layer does (what no
            `reset_parameters` draws stays); ``keep`` those of a pretrained model, whose features
            stay as they are while multipliers and rates change. The readout is drawn anew either
            way.
        batch_norm: BatchNorm undoes multipliers, and mixes tasks in its statistics: ``refuse``
            it, ``keep`` it, or replace it by ``group`` norm with one group. ``sp`` keeps it.
        width: N; by default the number of features or channels of the last hidden layer.
        base_head_dim: where wider models have wider attention heads, their width at the base
            width: logits are then multiplied by sqrt(base_head_dim / d), so that they are divided
            by the width d of a head in place of its root. By default heads are taken to get more
            and not wider. ``sp`` leaves logits alone.
        readout: name of the layer that gives the outputs. Without it, the one linear layer whose
            outputs feed no other layer's inputs.
        inputs: names of the layers that see data, whose fan-in does not grow with the width. By
            default embeddings, or the first layer.
        branches: names of modules each of which is a residual branch: its output is added to
            the stream.
        seed: of the weights.

    Raises:
        TypeError, ValueError: naming the argument, or the layer: a type without a rule (and how to
            register one), no or several candidates for the readout, BatchNorm, a model that was
            parametrized already. The model is untouched then.

    Graldi et al., 2025, table 1; Yang & Hu, 2021; Bordelon et al., 2024.
    """
    for name, names in (("inputs", inputs), ("branches", branches)):
        # A tuple made of a string would hold its letters.
        if isinstance(names, str) or not isinstance(names, Sequence | None):
            raise TypeError(f"{name} must be a list of names, got {names!r}")
    options = Richness(
        parametrization=parametrization, gamma0=gamma0, base_width=base_width,
        readout_std=readout_std, depth_scaling=depth_scaling, gain=gain, weights=weights,
        batch_norm=batch_norm, width=width, base_head_dim=base_head_dim, readout=readout,
        inputs=None if inputs is None else tuple(inputs),
        branches=None if branches is None else tuple(branches),
    )  # fmt: skip
    return apply(model, options, seed)


def apply(model: _M, options: Richness, seed: int = 0) -> _M:
    """`parametrize` with its options in one object.

    Raises:
        TypeError, ValueError: as `parametrize`.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch module, got {type(model).__name__}")
    if is_parametrized(model):
        raise ValueError("model is parametrized already; parametrize a fresh one")
    found = survey(model, options)
    ratio = found.width / options.base_width
    gamma = options.gamma0
    if options.parametrization == "mup":
        gamma *= math.sqrt(ratio)
    if options.batch_norm == "group" and options.parametrization != "sp":
        group_norm(model)
    scale_branches(model, found.branched, options)
    read = _read(model)
    for path, kind in found.layers.items():
        layer = model.get_submodule(path)
        _apply(layer, path, kind, found, options, gamma, ratio, layer in read)
    _apply_head(found, options, gamma, ratio)
    scale_logits(model, found.attention, options.base_head_dim)
    if options.parametrization != "sp" and options.weights == "draw":
        redraw_known(model, seed, "richness")
    elif options.parametrization != "sp" or not options.readout_std:
        readout = found.head if found.readout is None else model.get_submodule(found.readout)
        assert readout is not None
        redraw(readout, seed, "richness")
    return model


def _apply(
    layer: nn.Module,
    path: str,
    kind: Description,
    found: Found,
    options: Richness,
    gamma: float,
    ratio: float,
    read: bool,
) -> None:
    is_readout, standard = path == found.readout, options.parametrization == "sp"
    names = [name for name, _ in layer.named_parameters(recurse=False)]
    roles: dict[str, Role] = dict.fromkeys(names, "vector")
    std, multiplier, fan_in, gain = None, 1.0, None, found.gains.get(path, 1.0)
    if isinstance(kind, Matrix):
        fan_in = kind.fan_in
        stays = path in found.inputs or fan_in is None or not kind.grows
        roles[kind.weight] = "readout" if is_readout else "input" if stays else "hidden"
        if not standard:
            std = 1.0
            multiplier = gain if fan_in is None else gain / math.sqrt(fan_in)
        if is_readout:
            multiplier /= gamma
            std = float(options.readout_std) if not standard or not options.readout_std else None
            roles = {n: r if r == "readout" else "offset" for n, r in roles.items()}
    elif kind.tokens:
        roles.update({name: "input" for name in kind.tokens if name in roles})
        std = None if standard else 1.0
    scaling = Scaling(
        options.parametrization, roles, std, gain, fan_in, gamma, ratio,
        options.base_width, found.branched.factor(path),
    )  # fmt: skip
    keep = options.weights == "keep" and not is_readout and not standard
    if isinstance(kind, Matrix) and keep:
        with torch.no_grad():
            layer.get_parameter(kind.weight).div_(multiplier)
    if isinstance(layer, Scaled) or type(layer) in SCALED:
        scale(layer, multiplier, scaling, read)
        return
    layer.scaling = scaling  # type: ignore[assignment]
    if isinstance(kind, Matrix) and multiplier != 1.0:
        layer.multiplier = multiplier  # type: ignore[assignment]
        layer.register_forward_pre_hook(ScaleInput(), with_kwargs=True)


def _read(model: nn.Module) -> set[nn.Module]:
    """Linear layers whose weights their block reads, which skips them in evaluation."""
    blocks = [m for m in model.modules() if isinstance(m, nn.TransformerEncoderLayer)]
    return {layer for block in blocks for layer in (block.linear1, block.linear2)}


def _apply_head(found: Found, options: Richness, gamma: float, ratio: float) -> None:
    head = found.head
    if head is None:
        return
    standard = options.parametrization == "sp"
    scaling = Scaling(
        options.parametrization,
        {"weight": "readout", "bias": "offset"},
        std=None if standard and options.readout_std else float(options.readout_std),
        fan_in=head.width,
        gamma=gamma,
        ratio=ratio,
        base=options.base_width,
    )
    multiplier = 1 / gamma if standard else 1 / (gamma * math.sqrt(head.width))
    head.readout = Readout(multiplier, scaling.std, scaling)
    layers = [head] if isinstance(head, SharedHead) else []
    if isinstance(head, TaskHeads):
        layers = [h for h in head.heads.values() if isinstance(h, SharedHead)]
    for own in layers:
        scale(own.linear, multiplier, scaling)
