"""Whether a step on one sample helps or hurts another."""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from holdfast.curvature.samples import Samples, checked_outputs, forward_of, unpacked
from holdfast.probes.differentiable import Loss, check_separate, differentiable, loss_of
from holdfast.probes.effective_rank import effective_rank
from holdfast.probes.gradient_gram import gradient_gram


class Interference(NamedTuple):
    """Cosines of the gradients of n samples.

    Args:
        cosines: C_ij = cos(g_i, g_j); NaN where one of them is 0.
        negative: share of the pairs i < j with C_ij < 0.
        mean: mean of C_ij over the pairs i < j.
        rank: `effective_rank` of C, between 1 (one direction) and n (all orthogonal).
        zeros: share of samples whose gradient is exactly 0; they count in none of the others.
    """

    cosines: Float[Tensor, "n n"]
    negative: float
    mean: float
    rank: float
    zeros: float


def gradient_interference(
    model: nn.Module, samples: Samples, *, loss: Loss | None = None
) -> Interference:
    """Cosines C_ij = cos(grad l(x_i), grad l(x_j)) of the gradients of single samples.

    A step on sample i raises the loss of sample j, to first order, where C_ij < 0. Numbers are NaN
    where fewer than two gradients differ from 0, or one is not finite.

    The model is in evaluation mode, since batch norm in training gives samples no gradients of
    their own, and left as it was. Gradients are vectorised over samples; a matrix (n, n) is kept.

    Args:
        model: called as ``model(x, task)`` if it is a `Learner`, else as ``model(x)``, with outputs
            (n, outputs).
        samples: a `Batch`, or inputs and labels or targets, n of two or more.
        loss: see `gradient_size`; one of one's own must be a mean over samples.

    Raises:
        ValueError: fewer than two samples, outputs that are no matrix, batch norm without running
            statistics; else as `gradient_size`.

    Lyle et al., 2023; Riemer et al., 2019.
    """
    x, y, task = unpacked(samples)
    if len(x) < 2:
        raise ValueError(f"samples must be 2 or more, whose gradients are compared; got {len(x)}")
    check_separate(model)
    forward = forward_of(model)
    with differentiable(model) as parameters:
        outputs = checked_outputs(forward(x, task), x).detach().requires_grad_()
        (slope,) = torch.autograd.grad(loss_of(outputs, x, y, loss), outputs)
        gram = gradient_gram(model, forward, parameters, x, task, [slope * len(x)])
    lengths = gram.diagonal().sqrt()
    cosines = gram / torch.outer(lengths, lengths)
    if not bool(lengths.isfinite().all()):  # of a run that diverges
        return Interference(cosines, math.nan, math.nan, math.nan, math.nan)
    alive = lengths > 0
    used, count = cosines[alive][:, alive], int(alive.sum())
    pairs = used[tuple(torch.triu_indices(count, count, 1))]
    if count < 2:
        return Interference(cosines, math.nan, math.nan, math.nan, 1 - count / len(x))
    return Interference(
        cosines,
        (pairs < 0).double().mean().item(),
        pairs.mean().item(),
        effective_rank(used),
        1 - count / len(x),
    )
