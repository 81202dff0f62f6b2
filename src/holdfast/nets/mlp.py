"""A multi-layer perceptron."""

import math
from collections import OrderedDict
from collections.abc import Sequence

from torch import nn

from holdfast.nets.layers import activation as activation_layer
from holdfast.nets.layers import norm as norm_layer
from holdfast.nets.layers import widening
from holdfast.nets.shapes import positive, probability, sizes
from holdfast.seeds import seeded


def mlp(
    input_shape: Sequence[int],
    hidden: Sequence[int] = (100, 100),
    activation: str = "relu",
    bias: bool = True,
    norm: str | None = None,
    dropout: float = 0.0,
    width: int | None = None,
    seed: int = 0,
) -> nn.Sequential:
    """Flattened inputs (n, *input_shape) -> features (n, hidden[-1]), twice as many with ``crelu``.

    Each layer is linear, norm, activation, dropout. With no hidden layer the features are the
    flattened inputs.

    Args:
        input_shape: of one sample.
        hidden: width of each hidden layer.
        activation: one of `holdfast.nets.layers.ACTIVATIONS`.
        bias: whether the linear layers have one.
        norm: ``layer``, ``batch`` or none.
        dropout: rate after each activation.
        width: of every hidden layer, in place of the numbers in `hidden`, whose count stays.
        seed: of the initial weights, torch's defaults.

    Raises:
        TypeError, ValueError: a size that is no positive integer, an unknown activation or norm,
            a dropout rate outside [0, 1), a width but no hidden layer to have it.

    >>> mlp((1, 28, 28), hidden=(100,))
    Sequential(
      (flatten): Flatten(start_dim=1, end_dim=-1)
      (linear1): Linear(in_features=784, out_features=100, bias=True)
      (act1): ReLU()
    )
    """
    inputs = math.prod(sizes("input_shape", input_shape))
    hidden = sizes("hidden", hidden)
    if width is not None:
        positive("width", width)
        if not hidden:
            raise ValueError(f"width is {width}, but hidden is empty: no layer has it")
        hidden = (width,) * len(hidden)
    probability("dropout", dropout)
    # Unknown names are refused with no hidden layer to carry them too.
    activation_layer(activation)
    norm_layer(norm, 1)
    layers: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
    with seeded(seed, "net"):
        for i, size in enumerate(hidden, start=1):
            layers[f"linear{i}"] = nn.Linear(inputs, size, bias=bias)
            if (normed := norm_layer(norm, size)) is not None:
                layers[f"norm{i}"] = normed
            layers[f"act{i}"] = activation_layer(activation)
            if dropout:
                layers[f"drop{i}"] = nn.Dropout(dropout)
            inputs = size * widening(activation)
    return nn.Sequential(layers)
