"""Convolutions: linear layers over the windows of the input."""

from jaxtyping import Float
from torch import Tensor, nn

from holdfast.curvature.registry import rule
from holdfast.curvature.rules.linear import outer_squares, scaled_squares
from holdfast.nets.scaled import ScaledConv1d, ScaledConv2d, ScaledConv3d

Convolution = nn.Conv1d | nn.Conv2d | nn.Conv3d
ScaledConvolution = ScaledConv1d | ScaledConv2d | ScaledConv3d


@rule(nn.Conv1d, nn.Conv2d, nn.Conv3d)
def convolution(
    layer: Convolution, inputs: tuple[Tensor, ...], grads: Float[Tensor, "k n outputs *space"]
) -> dict[str, Tensor]:
    """The gradient of a sample is sum_p g_p window_p^T over output positions p."""
    grads = grads.flatten(3)
    weight = outer_squares(grads, _windows(layer, inputs[0].detach()), layer.groups)
    return {
        "weight": weight.view_as(layer.weight),
        "bias": grads.sum(dim=3).square().sum(dim=(0, 1)),
    }


@rule(ScaledConv1d, ScaledConv2d, ScaledConv3d)
def scaled_convolution(
    layer: ScaledConvolution, inputs: tuple[Tensor, ...], grads: Float[Tensor, "k n outputs *space"]
) -> dict[str, Tensor]:
    """The weight's gradients are those of a plain layer times the multiplier."""
    return scaled_squares(convolution(layer, inputs, grads), layer.multiplier)


def _windows(
    layer: Convolution, x: Float[Tensor, "n channels *space"]
) -> Float[Tensor, "n channels ..."]:
    """(n, channels, *kernel, *output), a view of the padded input."""
    x, dims = _padded(layer, x), len(layer.kernel_size)
    for d in range(dims):
        reach = layer.dilation[d] * (layer.kernel_size[d] - 1) + 1
        x = x.unfold(2 + d, reach, layer.stride[d])[..., :: layer.dilation[d]]
    return x.permute(0, 1, *range(2 + dims, 2 + 2 * dims), *range(2, 2 + dims))


def _padded(layer: Convolution, x: Tensor) -> Tensor:
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
