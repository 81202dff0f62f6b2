"""A configuration at several widths of its net, and in standard parametrization."""

import math
from collections.abc import Mapping
from copy import deepcopy

from holdfast.config import Config, override, resolve
from holdfast.richness.options import Richness

_RELU_GAIN = math.sqrt(2)


def at_width(config: Config, width: int) -> Config:
    """A configuration with its net at a width, resolved.

    Raises:
        ValueError: it is wrong, the net takes no width, or its richness is not muP or fixes the
            width.
    """
    if not isinstance(config, Mapping):
        raise ValueError(f"config must be the configuration of a run, got {config!r}")
    net = _net_without_width(config)
    if net is not None and "width" not in net:
        raise ValueError(
            f"net {net['name']!r} takes no width, which a narrow copy needs; take mlp, cnn, "
            "residual, resnet18 or vit, or a factory of your own with an argument `width` by its "
            "import path (package.module:Name)"
        )
    config = deepcopy(dict(config))
    override(config, "net.width", width)
    config = resolve(config)
    richness = config["richness"] or {"parametrization": "mup", "width": None}
    if richness["parametrization"] != "mup":
        raise ValueError(
            f"richness.parametrization is {richness['parametrization']!r}; gamma0 of a narrow copy "
            "holds for a wide net in 'mup' alone: leave it out"
        )
    if richness["width"] is not None:
        raise ValueError(
            f"richness.width is fixed at {richness['width']} whatever the width of the net; leave "
            "it out"
        )
    return config


def own_width(config: Config) -> int:
    """The width that a configuration gives its net.

    Raises:
        ValueError: it gives none.
    """
    net = config.get("net") if isinstance(config, Mapping) else None
    width: int | None = net.get("width") if isinstance(net, Mapping) else None
    if width is None:
        raise ValueError(
            "target_width is needed, the width of the net that is wanted: the configuration has no "
            "net.width to take it from"
        )
    return width


def standard_rate(config: Config) -> float:
    """The learning rate to compare the net in standard parametrization at.

    Without ``richness``, the one of the configuration. With it, that is eta_0, and a hidden layer
    of the base width N_0 moves in muP at gamma0 = 1 as in standard parametrization at a rate of
    gain^2 eta_0 / N_0 (SGD) or gain eta_0 / sqrt(N_0) (Adam).

    Args:
        config: resolved.
    """
    rate = float(config["training"]["lr"])
    return rate if config["richness"] is None else float(f"{rate * _factor(config):.3g}")


def matching_eta(config: Config) -> float:
    """The eta_0 at which the learning rate of a plain net does in muP what `standard_rate` says.

    Args:
        config: resolved, without ``richness``.
    """
    return float(f"{config['training']['lr'] / _factor(config):.3g}")


def _factor(config: Config) -> float:
    richness = config["richness"] or {"gain": "auto", "base_width": Richness.base_width}
    gain = _RELU_GAIN if richness["gain"] == "auto" else richness["gain"]
    factor = float(gain / math.sqrt(richness["base_width"]))
    return factor**2 if config["training"]["optimizer"] == "sgd" else factor


def _net_without_width(config: Config) -> Config | None:
    """The options of the net, resolved; None where that cannot be without a width."""
    bare = deepcopy(dict(config))
    if isinstance(bare.get("net"), dict):
        bare["net"].pop("width", None)
    try:
        net: Config = resolve(bare)["net"]
    except ValueError:
        return None
    return net
