"""Linear layers, and the sums of squared outer products they share with convolutions."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from holdfast.curvature.registry import rule
from holdfast.nets.scaled import ScaledLinear

_ELEMENTS = 1 << 18
"""Entries of a temporary: few enough to stay in a cache."""


@rule(ScaledLinear)
def scaled_linear(
    layer: ScaledLinear, inputs: tuple[Tensor, ...], grads: Float[Tensor, "k n *positions outputs"]
) -> dict[str, Tensor]:
    """For y = m W x + b the weight's gradients are m times those of a plain layer."""
    return scaled_squares(linear_squares(inputs[0], grads), layer.multiplier)


def scaled_squares(squares: dict[str, Tensor], multiplier: float) -> dict[str, Tensor]:
    """Squared gradients of a layer, for one whose weight is multiplied by a number."""
    return {**squares, "weight": squares["weight"] * multiplier**2}


@rule(nn.Linear)
def linear(
    layer: nn.Module, inputs: tuple[Tensor, ...], grads: Float[Tensor, "k n *positions outputs"]
) -> dict[str, Tensor]:
    """For y = W x + b the gradient of a sample is sum_t g_t x_t^T, and sum_t g_t for the bias."""
    return linear_squares(inputs[0], grads)


def linear_squares(
    x: Float[Tensor, "n *positions inputs"], grads: Float[Tensor, "k n *positions outputs"]
) -> dict[str, Tensor]:
    """Summed squared gradients of the weight and the bias of a linear map."""
    x = x.detach()
    if x.ndim == 2:
        squares = grads.square()
        squares = squares[0] if len(squares) == 1 else squares.sum(dim=0)
        return {"weight": product_of_squares(squares, x), "bias": squares.sum(dim=0)}
    x, grads = x.flatten(1, -2).mT, grads.flatten(2, -2).mT
    return {
        "weight": outer_squares(grads, x),
        "bias": grads.sum(dim=3).square().sum(dim=(0, 1)),
    }


def product_of_squares(
    squares: Float[Tensor, "n outputs"], x: Float[Tensor, "n inputs"]
) -> Float[Tensor, "outputs inputs"]:
    """squares^T x^2: a single outer product squared splits, so no per-sample gradient is made."""
    total = x.new_zeros(squares.shape[1], x.shape[1])
    rows = max(1, _ELEMENTS // max(1, x.shape[1]))
    # One buffer for all chunks: fresh memory costs more than the multiplication.
    buffer = torch.empty_like(x[:rows])
    for s, a in zip(squares.split(rows), x.split(rows), strict=True):
        total.addmm_(s.T, torch.mul(a, a, out=buffer[: len(a)]))
    return total


def outer_squares(
    grads: Float[Tensor, "k n outputs positions"],
    x: Float[Tensor, "n inputs *rest"],
    groups: int = 1,
) -> Float[Tensor, "outputs inputs_per_group"]:
    """sum_kn (sum_t g_knt x_nt^T)^2, entry by entry, a few samples at a time.

    Args:
        grads: g.
        x: inputs and then positions, each possibly of several dimensions, in any strides.
        groups: of outputs and inputs, each output meeting the inputs of its own group.

    >>> g, x = torch.tensor([[[[1.0, 2.0]]]]), torch.tensor([[[3.0, -1.0]]])
    >>> outer_squares(g, x)  # (1 * 3 + 2 * -1)^2
    tensor([[1.]])
    """
    _, n, outputs, positions = grads.shape
    inputs = x[0].numel() // (positions * groups)
    total = x.new_zeros(outputs, inputs)
    rows = min(n, max(1, _ELEMENTS // max(1, x[0].numel(), total.numel())))
    patches = x.new_empty(rows, *x.shape[1:])
    products = x.new_empty(rows * groups, outputs // groups, inputs)
    for g, a in zip(grads.split(rows, dim=1), x.split(rows), strict=True):
        blocks = len(a) * groups
        own = patches[: len(a)].copy_(a).view(blocks, inputs, positions)
        for part in g:
            part = part.reshape(blocks, outputs // groups, positions)
            product = torch.bmm(part, own.mT, out=products[:blocks])
            total += product.square_().view(len(a), outputs, inputs).sum(dim=0)
    return total
