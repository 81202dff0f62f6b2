"""Activations with a parameter."""

from jaxtyping import Float
from torch import Tensor, nn

from holdfast.curvature.registry import rule


@rule(nn.PReLU)
def prelu(
    layer: nn.PReLU, inputs: tuple[Tensor, ...], grads: Float[Tensor, "k n *rest"]
) -> dict[str, Tensor]:
    """For y = max(x, 0) + a min(x, 0) the gradient of a sample is sum_p g_p min(x_p, 0)."""
    products = grads * inputs[0].detach().clamp(max=0)
    if layer.num_parameters == 1:
        return {"weight": products.flatten(2).sum(dim=2).square().sum().view(1)}
    per_sample = products.flatten(3).sum(dim=3) if products.ndim > 3 else products
    return {"weight": per_sample.square().sum(dim=(0, 1))}
