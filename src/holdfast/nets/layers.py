"""Activations and norm layers by name."""

from collections import OrderedDict
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Mirror(nn.Module):
    """x and -x side by side, along the features or channels: (n, c, ...) -> (n, 2 c, ...)."""

    def forward(self, x: Float[Tensor, "n c *space"]) -> Float[Tensor, "n twice *space"]:
        """Twice the features."""
        return torch.cat([x, -x], dim=1)


class CReLU(nn.Sequential):
    """concat(relu(x), relu(-x)), along the features or channels: twice as many come out.

    The first half less the second is x, and both together have the norm of x: whatever the sign of
    a pre-activation, one of its two units is active and passes a gradient on. What looks for units
    finds a `torch.nn.ReLU` over all of them.

    Shang et al., "Understanding and Improving Convolutional Neural Networks via Concatenated
    Rectified Linear Units", ICML 2016; as a cure of lost plasticity Abbas et al., "Loss of
    Plasticity in Continual Deep Reinforcement Learning", 2023.

    >>> CReLU()(torch.tensor([[-1.0, 2.0]]))
    tensor([[0., 2., 1., 0.]])
    """

    def __init__(self) -> None:
        super().__init__(OrderedDict(mirror=Mirror(), relu=nn.ReLU()))


ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "crelu": CReLU,
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


def widening(name: str) -> int:
    """Features that come out of the activation of that name for each one that goes in.

    >>> widening("crelu"), widening("relu")
    (2, 1)
    """
    return 2 if name == "crelu" else 1


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
