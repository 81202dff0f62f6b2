"""How large gradients are, and a step beside the weights it changes."""

import math
from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from holdfast.curvature.samples import Samples
from holdfast.probes.as_found import Mode
from holdfast.probes.differentiable import Loss, differentiable, gradient, mean_loss


def effective_learning_rate(lr: float, norm: float, optimizer: str = "sgd") -> float:
    """The learning rate in units of what it moves.

    eta / |theta|^2 for gradient descent, whose step on a function that does not feel the scale of
    theta turns its direction by eta |g(theta / |theta|)| / |theta|^2; eta / |theta| for optimizers
    whose step does not feel the scale of the gradient. Exact for weights in front of a
    normalisation; elsewhere a description. Momentum beta multiplies it by 1 / (1 - beta), which is
    not counted here.

    Args:
        lr: eta.
        norm: |theta|, the length of all trained weights (`weight_norms`); infinite result for 0.
        optimizer: ``sgd``, or another, taken for one that rescales gradients (Adam, RMSprop).

    van Laarhoven, 2017; Lyle et al., 2024.

    >>> effective_learning_rate(0.1, 2.0), effective_learning_rate(0.1, 2.0, "adam")
    (0.025, 0.05)
    """
    scale = norm**2 if optimizer == "sgd" else norm
    return lr / scale if scale else math.inf


class GradientSize(NamedTuple):
    """The size of a gradient.

    Args:
        norm: its length, of all parameters together.
        zeros: the share of its entries that are exactly 0.
    """

    norm: float
    zeros: float


def gradient_size(
    model: nn.Module, samples: Samples, *, loss: Loss | None = None, mode: Mode = "eval"
) -> GradientSize:
    """Length of the gradient of the mean loss, and the share of its entries that are exactly 0.

    Zeros are those of the mean over these samples, of parameters that require a gradient: of units
    that no sample reaches, of heads of other tasks, of values too small for the precision.

    Args:
        model: called as ``model(x, task)`` if it is a `Learner`, else as ``model(x)``; its mode,
            buffers and ``.grad`` are left as they were, as is torch's generator.
        samples: a `Batch`, or inputs and labels or targets.
        loss: ``cross_entropy``, ``mse`` (half the squared distance) or a function
            (outputs, y) -> mean; by default by the type of the labels.
        mode: ``eval`` or ``train``, of batch norm and dropout.

    Raises:
        ValueError: an unknown mode or loss, labels that do not fit the outputs, or no parameter
            that requires a gradient.
    """
    with differentiable(model, mode) as parameters:
        g = gradient(mean_loss(model, samples, loss), parameters)
    return size_of(g)


def size_of(gradient: Tensor) -> GradientSize:
    """Length of a gradient, and the share of its entries that are exactly 0."""
    return GradientSize(length([gradient]), (gradient == 0).double().mean().item())


def gradient_ratio(
    model: nn.Module,
    new: Samples,
    old: Samples,
    *,
    loss: Loss | None = None,
    mode: Mode = "eval",
) -> float:
    """Length of the gradient on new data over that on old data: |g_new| / |g_old|.

    Far above 1 where the old data are fitted and the new are not. Ash & Adams (2020) hold this
    imbalance for a cause of what a warm start costs. Infinite where the old gradient is 0.

    Args:
        model: see `gradient_size`.
        new: a `Batch`, or inputs and labels, of the new data.
        old: likewise of the old; as many as of the new, since noise lengthens a mean of few.
        loss: see `gradient_size`.
        mode: see `gradient_size`.

    Raises:
        ValueError: as `gradient_size`.
    """
    above = gradient_size(model, new, loss=loss, mode=mode).norm
    below = gradient_size(model, old, loss=loss, mode=mode).norm
    return above / below if below else math.inf


def length(tensors: Iterable[Tensor]) -> float:
    """Root of the sum of the squares of all entries, in float64; 0 of none."""
    squares = [torch.linalg.vector_norm(t, dtype=torch.float64).item() ** 2 for t in tensors]
    return math.sqrt(sum(squares))
