"""How much the gradients of minibatches differ."""

import math
from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import nn

from holdfast.curvature.samples import Samples, unpacked
from holdfast.probes.as_found import Mode
from holdfast.probes.differentiable import Loss, differentiable, gradient, mean_loss


class NoiseScale(NamedTuple):
    """The noise of minibatch gradients g_1 .. g_K, m their mean.

    Args:
        trace: tr Cov(g) = sum_k |g_k - m|^2 / (K - 1).
        squared_norm: |E g|^2, estimated without bias by |m|^2 - trace / K; may be negative.
        scale: trace / squared_norm; infinite where this is not positive: K batches cannot tell
            the mean from noise. NaN where a gradient is not finite.
        plug_in: trace / |m|^2, always finite unless m is 0. Its bias is downwards: it is about K
            at most, whatever the noise.
    """

    trace: float
    squared_norm: float
    scale: float
    plug_in: float


def gradient_noise(
    model: nn.Module,
    batches: Iterable[Samples],
    *,
    loss: Loss | None = None,
    mode: Mode = "eval",
) -> NoiseScale:
    """Gradient noise scale tr Cov(g) / |E g|^2 over minibatches.

    The covariance is that of minibatches of the size given. Times the size it is the noise scale of
    single samples, B_simple of McCandlish et al. (2018), if samples are drawn independently.

    Args:
        model: called as ``model(x, task)`` if it is a `Learner`, else as ``model(x)``; left as it
            was.
        batches: two or more minibatches of one size, drawn at random: of sorted data they differ
            for another reason.
        loss: see `gradient_size`.
        mode: ``eval``, or ``train``: batch norm by each minibatch and dropout add their own noise,
            as in training.

    Raises:
        ValueError: fewer than two batches, or batches of different sizes; else as `gradient_size`.
    """
    given = list(batches)
    sizes = {len(unpacked(samples)[0]) for samples in given}
    if len(given) < 2 or len(sizes) > 1:
        raise ValueError(
            "batches must be two or more of one size, whose gradients have a covariance; got "
            f"{len(given)} of sizes {sorted(sizes)}"
        )
    spread = 0.0
    with differentiable(model, mode) as parameters:
        count = sum(p.numel() for p in parameters.values())
        mean = torch.zeros(
            count, dtype=torch.float64, device=next(iter(parameters.values())).device
        )
        for k, samples in enumerate(given, start=1):
            # One pass in two vectors, without the cancellation of a difference of squares.
            difference = gradient(mean_loss(model, samples, loss), parameters).double() - mean
            mean += difference / k
            spread += difference.square().sum().item() * (k - 1) / k
    trace, length = spread / (len(given) - 1), mean.square().sum().item()
    squared = length - trace / len(given)
    return NoiseScale(
        trace,
        squared,
        math.inf if squared <= 0 else trace / squared,
        trace / length if length else math.inf,
    )
