"""A plain convolutional net."""

import math
from collections import OrderedDict
from collections.abc import Sequence

from torch import nn

from holdfast.nets.layers import activation as activation_layer
from holdfast.nets.layers import norm as norm_layer
from holdfast.nets.layers import widening
from holdfast.nets.shapes import image, positive, probability, sizes
from holdfast.seeds import seeded


def cnn(
    input_shape: Sequence[int],
    channels: Sequence[int] = (32, 64),
    hidden: Sequence[int] = (128,),
    activation: str = "relu",
    bias: bool = True,
    norm: str | None = None,
    dropout: float = 0.0,
    width: int | None = None,
    strides: Sequence[int] | None = None,
    seed: int = 0,
) -> nn.Sequential:
    """Images (n, *input_shape) -> features (n, hidden[-1]), twice as many with ``crelu``.

    Each 3 x 3 convolution (padding 1) is followed by norm, activation and 2 x 2 max-pooling, or has
    a stride and no pooling; then come linear layers, each with norm, activation and dropout.

    Args:
        input_shape: (channels, height, width).
        channels: of each convolution.
        hidden: width of each linear layer; none leaves the flattened feature map.
        activation: one of `holdfast.nets.layers.ACTIVATIONS`.
        bias: whether the layers have one.
        norm: ``layer``, ``batch`` or none.
        dropout: rate after each linear layer.
        width: channels of every convolution and width of every linear layer, in place of the
            numbers in `channels` and `hidden`, whose counts stay.
        strides: of the convolutions, one each, in place of the pooling; stride s makes a side of
            n pixels one of ceil(n / s).
        seed: of the initial weights, torch's defaults.

    Raises:
        TypeError, ValueError: a size that is no positive integer, an unknown activation or norm,
            a dropout rate outside [0, 1), another number of strides than of convolutions, or an
            image too small for the pooling.
    """
    channels, hidden = sizes("channels", channels), sizes("hidden", hidden)
    if not channels:
        raise ValueError("channels is empty: cnn needs at least one convolution")
    if width is not None:
        positive("width", width)
        channels, hidden = (width,) * len(channels), (width,) * len(hidden)
    strides = None if strides is None else sizes("strides", strides)
    if strides is not None and len(strides) != len(channels):
        raise ValueError(
            f"strides must hold one for each of the {len(channels)} convolutions that channels "
            f"names, got {list(strides)}"
        )
    probability("dropout", dropout)
    shrink = 2 ** len(channels) if strides is None else math.prod(strides)
    # Pooling drops what is left over at the edge, a stride with padding 1 does not.
    size, (rows, columns) = image(
        input_shape, "cnn", lambda s: s // shrink if strides is None else -(-s // shrink)
    )
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    with seeded(seed, "net"):
        for i, out in enumerate(channels, start=1):
            stride = strides[i - 1] if strides else 1
            layers[f"conv{i}"] = nn.Conv2d(size, out, 3, stride, padding=1, bias=bias)
            if (normed := norm_layer(norm, out, image=True)) is not None:
                layers[f"conv{i}_norm"] = normed
            layers[f"conv{i}_act"] = activation_layer(activation)
            if strides is None:
                layers[f"conv{i}_pool"] = nn.MaxPool2d(2)
            size = out * widening(activation)
        layers["flatten"] = nn.Flatten()
        size *= rows * columns
        for i, out in enumerate(hidden, start=1):
            layers[f"linear{i}"] = nn.Linear(size, out, bias=bias)
            if (normed := norm_layer(norm, out)) is not None:
                layers[f"linear{i}_norm"] = normed
            layers[f"linear{i}_act"] = activation_layer(activation)
            if dropout:
                layers[f"linear{i}_drop"] = nn.Dropout(dropout)
            size = out * widening(activation)
    return nn.Sequential(layers)
