"""A small AlexNet with batch normalisation, as continual learning uses it."""

from collections import OrderedDict
from collections.abc import Sequence

from torch import nn

from holdfast.nets.shapes import image
from holdfast.seeds import seeded

_CONVOLUTIONS = ((64, 4, 0.2), (128, 3, 0.2), (256, 2, 0.5))
"""Channels, kernel size and dropout rate of each convolution."""


def alexnet(
    input_shape: Sequence[int], track_running_stats: bool = True, seed: int = 0
) -> nn.Sequential:
    """Images (n, *input_shape) -> features (n, 2048).

    Three convolutions without padding (4 x 4, 3 x 3, 2 x 2; 64, 128, 256 channels), each with
    batch norm, ReLU, dropout (0.2, 0.2, 0.5) and 2 x 2 max-pooling; two linear layers of width
    2048, each with batch norm, ReLU and dropout 0.5. The net of HAT (Serra et al., ICML 2018)
    with batch norm, as GPM (Saha et al., ICLR 2021) and HALRP (Li et al., IEEE TKDE 2024) have it:
    with a head of 10 classes 6,533,450 parameters for 32 x 32 and 23,310,666 for 64 x 64 images.

    Args:
        input_shape: (channels, height, width).
        track_running_stats: ``False`` is the published form, whose batch norm uses the statistics
            of the batch at test time too: a prediction then depends on the other samples of its
            test batch, and a batch of one cannot be predicted. We track by default.
        seed: of the initial weights, torch's defaults.

    Raises:
        TypeError, ValueError: a size that is no positive integer, or an image too small for the
            pooling.
    """
    size, (height, width) = image(input_shape, "alexnet", _side)
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    with seeded(seed, "net"):
        for i, (out, kernel, rate) in enumerate(_CONVOLUTIONS, start=1):
            layers[f"conv{i}"] = nn.Conv2d(size, out, kernel)
            layers[f"conv{i}_norm"] = nn.BatchNorm2d(out, track_running_stats=track_running_stats)
            layers[f"conv{i}_act"] = nn.ReLU()
            layers[f"conv{i}_drop"] = nn.Dropout(rate)
            layers[f"conv{i}_pool"] = nn.MaxPool2d(2)
            size = out
        layers["flatten"] = nn.Flatten()
        size *= height * width
        for i in (1, 2):
            layers[f"linear{i}"] = nn.Linear(size, 2048)
            layers[f"linear{i}_norm"] = nn.BatchNorm1d(
                2048, track_running_stats=track_running_stats
            )
            layers[f"linear{i}_act"] = nn.ReLU()
            layers[f"linear{i}_drop"] = nn.Dropout(0.5)
            size = 2048
    return nn.Sequential(layers)


def _side(side: int) -> int:
    for _, kernel, _ in _CONVOLUTIONS:
        side = (side - kernel + 1) // 2
    return side
