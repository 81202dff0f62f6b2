"""Activations and norm layers by name."""

from collections.abc import Callable

from torch import nn

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "identity": nn.Identity,
}


def activation(name: str) -> nn.Module:
    """The activation of that name, with torch's defaults.

    Raises:
        ValueError: there is none of that name.

    >>> activation("tanh")
    Tanh()
    """
    if name not in ACTIVATIONS:
        raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}; got {name!r}")
    return ACTIVATIONS[name]()


def norm(name: str | None, width: int, image: bool = False) -> nn.Module | None:
    """The norm layer over `width` features or channels; `None` for no norm.

    ``layer`` normalises over features, for images over channels and space together
    (`torch.nn.GroupNorm` with one group).

    Raises:
        ValueError: there is none of that name.
    """
    if name is None:
        return None
    if name == "batch":
        return nn.BatchNorm2d(width) if image else nn.BatchNorm1d(width)
    if name == "layer":
        return nn.GroupNorm(1, width) if image else nn.LayerNorm(width)
    raise ValueError(f"norm must be 'layer', 'batch' or None; got {name!r}")
