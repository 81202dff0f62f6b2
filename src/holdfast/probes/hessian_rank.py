"""How many directions of the loss are curved."""

import math
from typing import NamedTuple

import torch
from torch import nn

from holdfast.curvature.samples import Samples
from holdfast.probes.as_found import Mode
from holdfast.probes.differentiable import Loss, mean_loss
from holdfast.probes.hessian import hessian_of
from holdfast.probes.lanczos import spectral_nodes


class HessianShare(NamedTuple):
    """How much of the spectrum of a Hessian is far from 0.

    Args:
        share: of the eigenvalues above epsilon lambda_1.
        standard_error: of `share`, over the draws.
        negative: share of those below -epsilon lambda_1.
        rank: (share + negative) times the number of parameters.
        top: lambda_1, the largest eigenvalue.
    """

    share: float
    standard_error: float
    negative: float
    rank: float
    top: float


def hessian_rank(
    model: nn.Module,
    samples: Samples,
    *,
    loss: Loss | None = None,
    mode: Mode = "eval",
    epsilon: float = 1e-3,
    draws: int = 8,
    steps: int = 64,
    seed: int = 0,
) -> HessianShare:
    """Share of the Hessian's eigenvalues that are above epsilon lambda_1, by stochastic Lanczos.

    The number of eigenvalues above a bound is the trace of a step function of H, estimated by
    v^T f(H) v with random signs v and a quadrature of `steps` nodes (Lin, Saad & Yang, 2016;
    Ghorbani et al., 2019). For small nets: with as many steps as H has different eigenvalues the
    quadrature is exact and the error that of the draws; with fewer, a step is more than it can
    tell, and eigenvalues near the bound are counted in part. The share depends on `epsilon`, and
    the rank is at most samples times outputs plus what the second derivatives of the outputs add.

    Args:
        model: see `sharpness`.
        samples: likewise.
        loss: likewise.
        mode: likewise.
        epsilon: relative bound, above 0.
        draws: two or more vectors.
        steps: products with the Hessian a draw; each keeps a vector of the parameters.
        seed: of the vectors.

    Returns:
        NaN where no eigenvalue is positive or one is not finite.

    Raises:
        ValueError: a number of draws below 2, of steps below 1, an epsilon outside (0, 1); else as
            `sharpness`.
    """
    check_quadrature(epsilon, draws, steps)
    with hessian_of(model, lambda: mean_loss(model, samples, loss), mode) as hessian:
        size = hessian.like.numel()
        found = [
            spectral_nodes(hessian.product, hessian.signs(seed, "rank", i), steps)
            for i in range(draws)
        ]
    top = torch.stack([nodes.max() for nodes, _ in found]).max().item()
    if not top > 0:
        return HessianShare(math.nan, math.nan, math.nan, math.nan, top)
    bound = epsilon * top
    above = torch.stack([weights[nodes > bound].sum() for nodes, weights in found]) / size
    below = torch.stack([weights[nodes < -bound].sum() for nodes, weights in found]) / size
    share, negative = above.mean().item(), below.mean().item()
    error = (above.std() / math.sqrt(draws)).item()
    return HessianShare(share, error, negative, (share + negative) * size, top)


def check_quadrature(epsilon: float, draws: int, steps: int) -> None:
    """See whether these options of `hessian_rank` are possible.

    Raises:
        ValueError: they are not.
    """
    if draws < 2:
        raise ValueError(f"draws must be 2 or more, to have a standard error; got {draws}")
    if steps < 1:
        raise ValueError(f"steps must be 1 or more, got {steps}")
    if not 0 < epsilon < 1:
        raise ValueError(f"epsilon must lie between 0 and 1, got {epsilon}")
