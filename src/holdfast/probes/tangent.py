"""The tangent kernel of a network, by products with its Jacobian."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import grad

from holdfast.probes.lanczos import Product, largest_eigenvalue
from holdfast.probes.probe import LossKind
from holdfast.seeds import generator

Outputs = Float[Tensor, "n outputs"]


def tangent_product(
    outputs: Outputs, parameters: Mapping[str, Tensor], rates: Mapping[str, float] | None = None
) -> Product:
    """Products v -> K v, v and K v of the shape of the outputs, with the tangent kernel K.

        K = sum_p rate_p J_p J_p^T,    J_p = d outputs / d theta_p

    A step of gradient descent with these rates on a loss of the outputs f changes them by
    -K dloss/df, to first order. K is never formed: a product is a backward pass (J^T v) and one
    through the graph of the first (J u is the gradient of u . J^T v by v), some three to four
    forward passes in time; two graphs are kept.

    Args:
        outputs: made of the parameters with gradients on, say ``model(x)`` in evaluation mode
            (else BatchNorm mixes the samples and dropout draws). Attention must be made of plain
            operations (`torch.nn.attention.sdpa_kernel` with ``MATH``): fused ones cannot be
            differentiated twice.
        parameters: by name, say ``dict(model.named_parameters())``; those that require no gradient
            or are not used count nothing.
        rates: factor of each parameter, say `holdfast.richness.rates`; 1 for all without.

    Raises:
        ValueError: `rates` lacks a parameter that requires a gradient.

    Jacot et al., 2018. J u by two backward passes: Townsend, 2017.
    """
    trained = {name: p for name, p in parameters.items() if p.requires_grad}
    lacking = [name for name in trained if rates is not None and name not in rates]
    if lacking:
        raise ValueError(f"rates must name every parameter; it lacks {', '.join(lacking[:5])}")
    if not trained or not outputs.requires_grad:
        return torch.zeros_like
    cotangent = torch.zeros_like(outputs, requires_grad=True)
    images = grad(outputs, list(trained.values()), cotangent, create_graph=True, allow_unused=True)
    used = [
        (p, image, 1.0 if rates is None else rates[name])
        for (name, p), image in zip(trained.items(), images, strict=True)
        if image is not None
    ]
    leaves, pulled, factors = zip(*used, strict=True)

    def product(v: Tensor) -> Tensor:
        gradients = grad(outputs, leaves, v, retain_graph=True)
        scaled = [rate * g for rate, g in zip(factors, gradients, strict=True)]
        return grad(pulled, cotangent, scaled, retain_graph=True)[0]

    return product


def tangent_kernel(
    outputs: Outputs, parameters: Mapping[str, Tensor], rates: Mapping[str, float] | None = None
) -> Float[Tensor, "m m"]:
    """The tangent kernel K = sum_p rate_p J_p J_p^T as a matrix, of m = n times outputs rows.

    Row ``i * outputs + c`` is output c of sample i. Made by m products (`tangent_product`, with
    its arguments), so that Jacobians need no room.

    Raises:
        ValueError: `rates` lacks a parameter that requires a gradient.
    """
    product = tangent_product(outputs, parameters, rates)
    columns = torch.eye(outputs.numel(), dtype=outputs.dtype, device=outputs.device)
    return torch.stack([product(column.view_as(outputs)).flatten() for column in columns])


def tangent_top_eigenvalue(
    outputs: Outputs,
    parameters: Mapping[str, Tensor],
    rates: Mapping[str, float] | None = None,
    loss: LossKind = "mse",
    tolerance: float = 1e-3,
) -> float:
    """Largest eigenvalue of H K / n: how fast the fastest direction of the outputs is learned.

    With `rates` the learning rates, it is the largest eigenvalue of the Gauss-Newton matrix
    J^T H J / n of the mean loss of n samples in the metric of these rates. Gradient descent
    on the linearised network overshoots above 2 (above 2 (1 + beta) with momentum beta). With the
    squared error a network is then thrown out of the region in which it is linear, up to about 4
    to a flatter one (Lewkowycz et al., 2020).

    Args:
        outputs: as for `tangent_product`.
        parameters: likewise.
        rates: likewise.
        loss: ``mse``, 1/2 |f - y|^2, has H = 1; ``cross_entropy`` the Hessian of the softmax,
            diag(p) - p p^T in each sample. Neither needs the labels.
        tolerance: relative, of `largest_eigenvalue`: some ten products.

    Raises:
        ValueError: `rates` lacks a parameter that requires a gradient, or an unknown loss.
    """
    if loss not in ("mse", "cross_entropy"):
        raise ValueError(f"loss must be mse or cross_entropy, got {loss!r}")
    kernel = tangent_product(outputs, parameters, rates)
    p = outputs.detach().softmax(dim=1)
    root = p.sqrt()

    def symmetric(v: Tensor) -> Tensor:
        # B^T K B, which has the eigenvalues of H K: H = B B^T with B = diag(sqrt p) - p sqrt(p)^T.
        if loss == "mse":
            return kernel(v) / len(outputs)
        image = kernel(root * v - p * (root * v).sum(dim=1, keepdim=True))
        return root * (image - (p * image).sum(dim=1, keepdim=True)) / len(outputs)

    draws = torch.randn(outputs.shape, generator=generator(0, "lanczos"), dtype=torch.float64)
    return largest_eigenvalue(symmetric, draws.to(outputs), tolerance)
