"""A residual net of constant width, made to be scaled in width and depth."""

import math
from collections import OrderedDict
from collections.abc import Sequence

from torch import Tensor, nn

from holdfast.nets.layers import activation as activation_layer
from holdfast.nets.layers import norm as norm_layer
from holdfast.nets.layers import widening
from holdfast.nets.shapes import image, positive
from holdfast.seeds import seeded

_STAGES = 3


class Branch(nn.Module):
    """x + scale * norm(conv(activation(x))), a 3 x 3 convolution that keeps the shape.

    It takes in what a widening activation gives, and gives `width` channels.
    """

    def __init__(self, width: int, activation: str, norm: str | None, bias: bool, scale: float):
        super().__init__()
        self.act = activation_layer(activation)
        self.conv = nn.Conv2d(width * widening(activation), width, 3, padding=1, bias=bias)
        self.norm = norm_layer(norm, width, image=True) or nn.Identity()
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        """(n, width, h, w) -> the same shape."""
        return x + self.scale * self.norm(self.conv(self.act(x)))

    def extra_repr(self) -> str:
        """The factor before the branch."""
        return f"scale={self.scale:.4g}"


def residual(
    input_shape: Sequence[int],
    width: int = 64,
    depth: int = 6,
    branch_scale: bool = True,
    activation: str = "relu",
    norm: str | None = None,
    bias: bool = False,
    seed: int = 0,
) -> nn.Sequential:
    """Images (n, *input_shape) -> features (n, width (h // 8) (w // 8)).

    Three stages of depth / 3 residual branches at a constant number of channels, a 3 x 3
    convolution before each stage and 2 x 2 max-pooling after it; flattened. The residual net of
    Bordelon et al. (ICLR 2024), with which Graldi et al. (ICML 2025) study how rich the learning
    of a sequence of tasks should be.

    Args:
        input_shape: (channels, height, width).
        width: channels throughout.
        depth: number of residual branches L, a multiple of 3.
        branch_scale: whether a branch is multiplied by 1 / sqrt(L), which keeps the amount of
            feature learning free of the depth.
        activation: one of `holdfast.nets.layers.ACTIVATIONS`, before the convolution of a branch.
        norm: ``layer``, ``batch`` or none, after the convolution of a branch.
        bias: whether the convolutions have one.
        seed: of the initial weights, torch's defaults.

    Raises:
        TypeError, ValueError: a size that is no positive integer, a depth that is no multiple of
            3, an unknown activation or norm, or an image too small for the pooling.
    """
    positive("width", width)
    if positive("depth", depth) % _STAGES:
        raise ValueError(f"depth must be a multiple of {_STAGES}, got {depth}")
    size, _ = image(input_shape, "residual", lambda s: s >> _STAGES)
    scale = 1 / math.sqrt(depth) if branch_scale else 1.0
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    with seeded(seed, "net"):
        for stage in range(1, _STAGES + 1):
            layers[f"conv{stage}"] = nn.Conv2d(size, width, 3, padding=1, bias=bias)
            layers[f"stage{stage}"] = nn.Sequential(
                *(Branch(width, activation, norm, bias, scale) for _ in range(depth // _STAGES))
            )
            layers[f"pool{stage}"] = nn.MaxPool2d(2)
            size = width
    layers["flatten"] = nn.Flatten()
    return nn.Sequential(layers)
