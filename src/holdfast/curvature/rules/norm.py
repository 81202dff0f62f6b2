"""Norm layers with a scale and an offset: y = weight * z + bias, z the normalised input."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from holdfast.curvature.registry import rule


@rule(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
def batch_norm(
    layer: nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d,
    inputs: tuple[Tensor, ...],
    grads: Float[Tensor, "k n channels *space"],
) -> dict[str, Tensor]:
    """In evaluation mode, where the statistics are constants."""
    x = inputs[0].detach()
    z = functional.batch_norm(x, layer.running_mean, layer.running_var, eps=layer.eps)
    return _per_channel(z, grads)


@rule(nn.GroupNorm)
def group_norm(
    layer: nn.GroupNorm, inputs: tuple[Tensor, ...], grads: Float[Tensor, "k n channels *space"]
) -> dict[str, Tensor]:
    """Statistics over the groups of channels of each sample."""
    z = functional.group_norm(inputs[0].detach(), layer.num_groups, eps=layer.eps)
    return _per_channel(z, grads)


@rule(nn.LayerNorm)
def layer_norm(
    layer: nn.LayerNorm, inputs: tuple[Tensor, ...], grads: Float[Tensor, "k n *shape"]
) -> dict[str, Tensor]:
    """Statistics over the last dimensions; positions before them are summed within a sample."""
    shape = tuple(layer.normalized_shape)
    z = functional.layer_norm(inputs[0].detach(), shape, eps=layer.eps)
    positions = tuple(range(2, grads.ndim - len(shape)))
    return {"weight": _squared(grads * z, positions), "bias": _squared(grads, positions)}


def _per_channel(
    z: Float[Tensor, "n channels *space"], grads: Float[Tensor, "k n channels *space"]
) -> dict[str, Tensor]:
    space = tuple(range(3, grads.ndim))
    return {"weight": _squared(grads * z, space), "bias": _squared(grads, space)}


def _squared(gradients: Tensor, positions: tuple[int, ...]) -> Tensor:
    per_sample = torch.sum(gradients, dim=positions) if positions else gradients
    return per_sample.square().sum(dim=(0, 1))
