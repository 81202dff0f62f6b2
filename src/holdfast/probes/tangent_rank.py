"""How many directions the empirical tangent kernel has."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from holdfast.curvature.samples import checked_outputs, forward_of
from holdfast.probes.differentiable import check_separate, differentiable
from holdfast.probes.effective_rank import effective_rank
from holdfast.probes.gradient_gram import gradient_gram


class KernelRank(NamedTuple):
    """The spectrum of a tangent kernel K of n samples with C outputs.

    Args:
        rank: effective rank exp(-sum p log p), p the eigenvalues of K over their sum.
        top_share: largest eigenvalue over the trace.
        trace: tr K.
        bound: the most that `rank` may be, min(n C, number of parameters).
    """

    rank: float
    top_share: float
    trace: float
    bound: int


def tangent_rank(model: nn.Module, x: Tensor, task: int | None = None) -> KernelRank:
    """Effective rank and share of the largest eigenvalue of K = J J^T, J = d outputs / d theta.

    p are eigenvalues of K, the squares of the singular values of J: the effective rank of J itself
    is larger. Samples that share all directions give a kernel of rank 1 and share 1; a diagonal
    kernel has rank n C. NaN for a kernel of zeros, or one that is not finite.

    The model is in evaluation mode and left as it was. J is never held whole: memory is (n C)^2
    numbers in float64 and some gradients, time about C passes of gradients of single samples.

    Args:
        model: with outputs (n, C); called as ``model(x, task)`` if it is a `Learner`.
        x: (n, ...) inputs, some hundreds at most. Numbers of different n do not compare.
        task: position of the task, of a `Learner`.

    Raises:
        ValueError: fewer than two samples, outputs that are no matrix, batch norm without running
            statistics, or no parameter that requires a gradient.

    Jacot et al., 2018.
    """
    if len(x) < 2:
        raise ValueError(
            f"x must be 2 samples or more: the rank is at most samples times outputs; got {len(x)}"
        )
    check_separate(model)
    forward = forward_of(model)
    with differentiable(model) as parameters:
        outputs = checked_outputs(forward(x, task), x).detach()
        # Columns that cannot be have no gradient.
        possible = (~outputs.isneginf()).to(outputs)
        columns = torch.eye(outputs.shape[1], dtype=outputs.dtype, device=outputs.device)
        kernel = gradient_gram(
            model, forward, parameters, x, task, [possible * column for column in columns]
        )
    trace = kernel.trace().item()
    bound = min(len(kernel), sum(p.numel() for p in parameters.values()))
    if not bool(kernel.isfinite().all()):  # of a run that diverges; LAPACK would refuse it
        return KernelRank(math.nan, math.nan, trace, bound)
    top = torch.linalg.eigvalsh(kernel)[-1].item()
    share = top / trace if trace else float("nan")
    return KernelRank(effective_rank(kernel), share, trace, bound)
