"""ResNet-18 for small images."""

from collections import OrderedDict
from collections.abc import Sequence

from torch import Tensor, nn

from holdfast.nets.layers import norm as norm_layer
from holdfast.nets.shapes import image, positive
from holdfast.seeds import seeded


class BasicBlock(nn.Module):
    """relu(x + norm(conv(relu(norm(conv(x))))); the shortcut is a normed 1 x 1 convolution where
    the shape changes. He et al., CVPR 2016.
    """

    def __init__(
        self, inputs: int, outputs: int, stride: int, bias: bool, norm: str | None = "batch"
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=bias)
        self.norm1 = norm_layer(norm, outputs, image=True) or nn.Identity()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=bias)
        self.norm2 = norm_layer(norm, outputs, image=True) or nn.Identity()
        self.act1, self.act2 = nn.ReLU(), nn.ReLU()
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut.append(nn.Conv2d(inputs, outputs, 1, stride, bias=bias))
            if (normed := norm_layer(norm, outputs, image=True)) is not None:
                self.shortcut.append(normed)

    def forward(self, x: Tensor) -> Tensor:
        """(n, inputs, h, w) -> (n, outputs, ceil(h / stride), ceil(w / stride))."""
        out = self.act1(self.norm1(self.conv1(x)))
        return self.act2(self.norm2(self.conv2(out)) + self.shortcut(x))


def resnet18(
    input_shape: Sequence[int],
    width: int = 64,
    pool: int | None = 2,
    bias: bool = True,
    norm: str | None = "batch",
    seed: int = 0,
) -> nn.Sequential:
    """Images (n, *input_shape) -> features (n, 8 width ceil(h / 8) // pool * ...).

    A 3 x 3 stem of stride 1 and four stages of two `BasicBlock`s, with width, 2, 4 and 8 width
    channels and strides 1, 2, 2, 2; average pooling; flattened. With ``width=32`` and a head of
    10 classes this is the net of HALRP (Li et al., IEEE TKDE 2024): 2,807,690 parameters for
    3 x 32 x 32 and 2,838,410 for 3 x 64 x 64 images.

    Args:
        input_shape: (channels, height, width).
        width: channels of the first stage.
        pool: side of the average pooling; `None` averages over the whole map, which makes the
            features (n, 8 width) for any image (He et al., CVPR 2016).
        bias: whether the convolutions have one.
        norm: behind every convolution: ``batch``, ``layer`` or none.
        seed: of the initial weights, torch's defaults.

    Raises:
        TypeError, ValueError: a size that is no positive integer, an unknown norm, or an image too
            small for the pooling.
    """
    positive("width", width)
    if pool is not None:
        positive("pool", pool)
    size, _ = image(input_shape, "resnet18", lambda s: -(-s // 8) // (pool or 1))
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    with seeded(seed, "net"):
        layers["stem"] = nn.Conv2d(size, width, 3, padding=1, bias=bias)
        if (normed := norm_layer(norm, width, image=True)) is not None:
            layers["stem_norm"] = normed
        layers["stem_act"] = nn.ReLU()
        size = width
        for i in range(4):
            out = width << i
            layers[f"stage{i + 1}"] = nn.Sequential(
                BasicBlock(size, out, 1 if i == 0 else 2, bias, norm),
                BasicBlock(out, out, 1, bias, norm),
            )
            size = out
    layers["pool"] = nn.AdaptiveAvgPool2d(1) if pool is None else nn.AvgPool2d(pool)
    layers["flatten"] = nn.Flatten()
    return nn.Sequential(layers)
