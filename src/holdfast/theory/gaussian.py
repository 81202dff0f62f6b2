"""Averages over Gaussian preactivations: the kernels of a network at its start."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from holdfast.theory.activation import ACTIVATIONS, Activation, Function
from holdfast.theory.problem import Problem

_TERMS = 256
_REACH, _NODES = 13.0, 2048
"""Hermite polynomials up to order 256 vary on scales of 0.2; the density at 13 is 1e-37."""


def gaussian_kernels(
    activation: Activation, covariance: Float[Tensor, "n n"]
) -> tuple[Float[Tensor, "n n"], Float[Tensor, "n n"]]:
    """<phi(h) phi(h')> and <phi'(h) phi'(h')> of h ~ N(0, covariance).

    Closed forms for linear, ReLU (arc-cosine kernels; Cho & Saul, 2009) and erf (arcsine; Williams,
    1997). For others the Hermite series (Mehler, 1866): with standard deviations s, s' and
    correlation r,

        <phi(h) phi(h')> = sum_n r^n c_n(s) c_n(s'),  c_n(s) = <phi(s x) He_n(x)> / sqrt(n!),

    to order 256, the variances by quadrature. Coefficients of smooth functions fall fast (tanh is
    right to 1e-12 at a variance of 4, to 1e-8 at 10). Those of functions with a kink fall slowly:
    where correlations approach 1, the value is off by 1e-4, the derivative by 1e-2.
    """
    k = covariance
    variance = k.diagonal()
    if activation is ACTIVATIONS["linear"]:
        return k, torch.ones_like(k)
    if activation is ACTIVATIONS["relu"]:
        lengths = (variance[:, None] * variance).sqrt()
        # By both sides, since the cosine alone says little of small angles.
        angle = torch.atan2((lengths.square() - k.square()).clamp_min(0).sqrt(), k)
        there = (lengths > 0).to(k.dtype)
        slopes = there * (math.pi - angle) / (2 * math.pi)
        return lengths * torch.sin(angle) / (2 * math.pi) + k * slopes, slopes
    if activation is ACTIVATIONS["erf"]:
        product = (1 + 2 * variance)[:, None] * (1 + 2 * variance)
        value = 2 / math.pi * torch.asin(2 * k / product.sqrt())
        return value, 4 / math.pi / (product - 4 * k.square()).sqrt()
    return _series(activation.value, k), _series(activation.slope, k)


def _series(function: Function, covariance: Tensor) -> Tensor:
    k = covariance.double()
    deviation = k.diagonal().clamp_min(0).sqrt()
    lengths = deviation[:, None] * deviation
    correlation = torch.where(lengths > 0, k / lengths, 0).clamp(-1, 1)
    x = torch.linspace(-_REACH, _REACH, _NODES, dtype=torch.float64, device=k.device)
    root = (2 * _REACH / (_NODES - 1) / math.sqrt(2 * math.pi)) ** 0.5 * torch.exp(-x.square() / 4)
    weighted = function(deviation[:, None] * x) * root
    below, at = torch.zeros_like(root), root
    coefficients = []
    for n in range(_TERMS):
        coefficients.append(weighted @ at)
        below, at = at, (x * at - math.sqrt(n) * below) / math.sqrt(n + 1)
    total = torch.zeros_like(k)
    for c in reversed(coefficients):
        total = total * correlation + c[:, None] * c
    total.diagonal().copy_(weighted.square().sum(1))
    return total.to(covariance)


def initial_kernels(
    problem: Problem,
) -> tuple[Float[Tensor, "layers points points"], Float[Tensor, "layers points points"]]:
    """Phi^l and G^l of all hidden layers before the first step.

    Phi^l = V(Phi^(l-1)), G^l = G^(l+1) * V'(Phi^(l-1)), with V and V' those of `gaussian_kernels`,
    Phi^0 = K^x, and G^(L+1) the variance of readout weights where two points have one head, else 0.
    G^l is that of one output with itself; gradients of two outputs are independent.
    """
    features, slopes = [], []
    below = problem.kernel
    for _ in range(problem.depth):
        below, slope = gaussian_kernels(problem.activation, below)
        features.append(below)
        slopes.append(slope)
    above = problem.readout_std**2 * _same_head(problem)
    gradients: list[Tensor] = []
    for slope in reversed(slopes):
        above = above * slope
        gradients.insert(0, above)
    return torch.stack(features), torch.stack(gradients)


def initial_tangent_kernel(problem: Problem) -> Float[Tensor, "points points"]:
    """sum_l G^(l+1) * Phi^l before the first step, of one output with itself; 0 between two."""
    features, gradients = initial_kernels(problem)
    below = torch.cat([problem.kernel.unsqueeze(0), features])
    return (below * torch.cat([gradients, _same_head(problem).unsqueeze(0)])).sum(0)


def _same_head(problem: Problem) -> Float[Tensor, "points points"]:
    return (problem.head.unsqueeze(1) == problem.head).to(problem.kernel.dtype)
