"""The loss of a model on samples, fit to be differentiated; the model is left as it was."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from holdfast.curvature.likelihood import check_targets
from holdfast.curvature.samples import Samples, checked_outputs, forward_of, unpacked
from holdfast.nets.modes import uses_batch_statistics
from holdfast.probes.as_found import as_found
from holdfast.probes.probe import LossKind

Loss = LossKind | Callable[[Tensor, Tensor], Tensor]
"""``cross_entropy``, ``mse`` (half the squared distance), or (outputs, y) -> mean over samples."""


@contextmanager
def differentiable(model: nn.Module, mode: str = "eval") -> Iterator[dict[str, nn.Parameter]]:
    """The parameters that require a gradient, with the model in this mode and gradients on.

    The model is left `as_found`. Attention is made of plain operations, which can be differentiated
    twice.

    Raises:
        ValueError: an unknown mode, or no parameter that requires a gradient.
    """
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if not parameters:
        raise ValueError("model must have a parameter that requires a gradient; it has none")
    with as_found(model, mode), torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
        yield parameters


@contextmanager
def requiring(model: nn.Module, names: Iterable[str]) -> Iterator[None]:
    """Within the block gradients are required of the parameters of these names alone."""
    wanted = set(names)
    found = [(p, p.requires_grad) for p in model.parameters()]
    try:
        for name, p in model.named_parameters():
            p.requires_grad_(name in wanted)
        yield
    finally:
        for p, required in found:
            p.requires_grad_(required)


def mean_loss(model: nn.Module, samples: Samples, loss: Loss | str | None = None) -> Tensor:
    """The mean loss of samples, by the model in the mode it is in.

    Args:
        model: called as ``model(x, task)`` if it is a `Learner`, else as ``model(x)``.
        samples: a `Batch`, or inputs and labels (n,) or targets (n, outputs).
        loss: by default cross-entropy for labels, half the squared distance for targets.

    Raises:
        ValueError: an unknown loss, labels that do not fit the outputs, or a loss of one's own
            that is no single number.
    """
    x, y, task = unpacked(samples)
    return loss_of(forward_of(model)(x, task), x, y, loss)


def loss_of(outputs: Any, x: Tensor, y: Tensor, loss: Loss | str | None) -> Tensor:
    """The mean loss of outputs that were made of x; see `mean_loss`.

    Only a loss of one's own takes outputs that are no tensor.
    """
    if callable(loss):
        value = loss(outputs, y)
        if value.ndim:
            raise ValueError(
                f"loss must give the mean over samples, one number; got shape {tuple(value.shape)}"
            )
        return value
    outputs = checked_outputs(outputs, x)
    kind = loss or ("mse" if y.is_floating_point() else "cross_entropy")
    if kind not in ("cross_entropy", "mse"):
        raise ValueError(f"loss must be cross_entropy, mse or a function, got {loss!r}")
    check_targets(outputs, y)
    y = y if y.is_floating_point() else y.long()
    if kind == "cross_entropy":
        return functional.cross_entropy(outputs, y)
    target = y if y.is_floating_point() else functional.one_hot(y, outputs.shape[1])
    # Outputs of -inf mark columns that cannot be.
    error = (outputs - target).masked_fill(outputs.isneginf(), 0.0)
    return error.square().sum(dim=1).mean() / 2


def gradient(value: Tensor, parameters: Mapping[str, Tensor]) -> Float[Tensor, " parameters"]:
    """The gradient of a number by all parameters in one vector, 0 where it does not depend."""
    leaves = list(parameters.values())
    if not value.requires_grad:
        return torch.cat([torch.zeros_like(p).flatten() for p in leaves])
    found = torch.autograd.grad(value, leaves, materialize_grads=True, allow_unused=True)
    return torch.cat([g.flatten() for g in found])


def check_separate(model: nn.Module) -> None:
    """See that a model passes samples one by one: each has a gradient of its own.

    Raises:
        ValueError: it has batch norm without running statistics.
    """
    if uses_batch_statistics(model):
        raise ValueError(
            "model has a batch norm without running statistics: the samples of a batch have no "
            "gradients of their own; use track_running_stats=True"
        )
