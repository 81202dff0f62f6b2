"""LeNet, with batch normalisation or another norm."""

from collections import OrderedDict
from collections.abc import Sequence

from torch import nn

from holdfast.nets.layers import activation as activation_layer
from holdfast.nets.layers import norm as norm_layer
from holdfast.nets.layers import widening
from holdfast.nets.shapes import image, sizes
from holdfast.seeds import seeded


def lenet(
    input_shape: Sequence[int],
    channels: Sequence[int] = (20, 50),
    hidden: Sequence[int] = (800, 500),
    activation: str = "relu",
    norm: str | None = "batch",
    seed: int = 0,
) -> nn.Sequential:
    """Images (n, *input_shape) -> features (n, hidden[-1]), twice as many with ``crelu``.

    Each convolution (5 x 5, padding 2) is followed by 2 x 2 max-pooling, then come the linear
    layers; norm and activation follow every layer. With the defaults, 3 x 32 x 32 inputs and a head
    of 10 classes this is the LeNet of HALRP (Li et al., IEEE TKDE 2024), with 2,995,620 parameters.

    Args:
        input_shape: (channels, height, width).
        channels: of each convolution.
        hidden: width of each linear layer; none leaves the flattened feature map.
        activation: one of `holdfast.nets.layers.ACTIVATIONS`.
        norm: ``batch``, ``layer`` or none.
        seed: of the initial weights, torch's defaults.

    Raises:
        TypeError, ValueError: a size that is no positive integer, an unknown activation or norm, or
            an image too small for the pooling.
    """
    channels, hidden = sizes("channels", channels), sizes("hidden", hidden)
    if not channels:
        raise ValueError("channels is empty: lenet needs at least one convolution")
    size, (height, width) = image(input_shape, "lenet", lambda s: s >> len(channels))
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    with seeded(seed, "net"):
        for i, out in enumerate(channels, start=1):
            layers[f"conv{i}"] = nn.Conv2d(size, out, 5, padding=2)
            if (normed := norm_layer(norm, out, image=True)) is not None:
                layers[f"conv{i}_norm"] = normed
            layers[f"conv{i}_act"] = activation_layer(activation)
            layers[f"conv{i}_pool"] = nn.MaxPool2d(2)
            size = out * widening(activation)
        layers["flatten"] = nn.Flatten()
        size *= height * width
        for i, out in enumerate(hidden, start=1):
            layers[f"linear{i}"] = nn.Linear(size, out)
            if (normed := norm_layer(norm, out)) is not None:
                layers[f"linear{i}_norm"] = normed
            layers[f"linear{i}_act"] = activation_layer(activation)
            size = out * widening(activation)
    return nn.Sequential(layers)
