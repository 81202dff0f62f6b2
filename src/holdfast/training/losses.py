"""The training losses, on logits and the columns or targets they should match."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from holdfast.streams.context import Criterion, Reduction
from holdfast.training.options import LossName


def cross_entropy(
    logits: Float[Tensor, "n outputs"], y: Tensor, reduction: Reduction = "mean"
) -> Tensor:
    """Cross-entropy -log softmax(logits)[y], averaged over samples or one a sample.

    Args:
        logits: -inf marks columns that cannot be.
        y: (n,) columns.
        reduction: ``mean`` over samples, or ``none``.
    """
    return functional.cross_entropy(logits, y, reduction=reduction)


def mse(logits: Float[Tensor, "n outputs"], y: Tensor, reduction: Reduction = "mean") -> Tensor:
    """Half the squared distance 1/2 |f - y|^2 to the targets, summed over outputs.

    The form the theory of wide networks uses; `torch.nn.functional.mse_loss` is 2/outputs of it.

    Args:
        logits: -inf marks columns that cannot be; they count nothing.
        y: (n, outputs) targets, or (n,) columns that stand for their one-hot vectors.
        reduction: ``mean`` over samples, or ``none``.

    >>> mse(torch.tensor([[1.0, 2.0]]), torch.tensor([0])).item()
    2.0
    """
    if not y.is_floating_point():
        y = functional.one_hot(y, logits.shape[1]).to(logits.dtype)
    error = (logits - y).masked_fill(torch.isneginf(logits), 0.0)
    halves = error.square().sum(dim=1) / 2
    return halves.mean() if reduction == "mean" else halves


def criterion(loss: LossName, is_regression: bool) -> Criterion:
    """The loss function a name stands for.

    Raises:
        ValueError: cross-entropy is asked for regression targets.
    """
    if loss == "cross_entropy" and is_regression:
        raise ValueError("training.loss must be mse for regression targets, got 'cross_entropy'")
    if loss == "mse" or is_regression:
        return mse
    return cross_entropy
