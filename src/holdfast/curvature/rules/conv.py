"""Convolutions of one and two dimensions: linear layers over the patches of the input."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from holdfast.curvature.registry import rule
from holdfast.curvature.rules.linear import outer_squares


@rule(nn.Conv1d)
def conv1d(
    layer: nn.Conv1d, inputs: tuple[Tensor, ...], grads: Float[Tensor, "k n outputs length"]
) -> dict[str, Tensor]:
    """A convolution over images of height 1."""
    x = _padded(layer, inputs[0].detach()).unsqueeze(2)
    patches = nn.functional.unfold(
        x, (1, *layer.kernel_size), (1, *layer.dilation), stride=(1, *layer.stride)
    )
    return _squares(layer, patches, grads)


@rule(nn.Conv2d)
def conv2d(
    layer: nn.Conv2d, inputs: tuple[Tensor, ...], grads: Float[Tensor, "k n outputs height width"]
) -> dict[str, Tensor]:
    """The gradient of a sample is sum_p g_p patch_p^T over output positions p."""
    patches = nn.functional.unfold(
        _padded(layer, inputs[0].detach()), layer.kernel_size, layer.dilation, stride=layer.stride
    )
    return _squares(layer, patches, grads.flatten(3))


def _squares(
    layer: nn.Conv1d | nn.Conv2d,
    patches: Float[Tensor, "n inputs positions"],
    grads: Float[Tensor, "k n outputs positions"],
) -> dict[str, Tensor]:
    groups = zip(grads.chunk(layer.groups, 2), patches.chunk(layer.groups, 1), strict=True)
    weight = [outer_squares(g.mT, patch.mT) for g, patch in groups]
    return {
        "weight": torch.cat(weight).view_as(layer.weight),
        "bias": grads.sum(dim=3).square().sum(dim=(0, 1)),
    }


def _padded(layer: nn.Conv1d | nn.Conv2d, x: Tensor) -> Tensor:
    if layer.padding == "valid":
        return x
    edges: list[int] = []
    # torch.nn.functional.pad starts from the last dimension.
    for d in reversed(range(len(layer.kernel_size))):
        if layer.padding == "same":
            total = layer.dilation[d] * (layer.kernel_size[d] - 1)
            edges += [total // 2, total - total // 2]
        else:
            edges += [int(layer.padding[d])] * 2
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    return nn.functional.pad(x, edges, mode=mode) if any(edges) else x
