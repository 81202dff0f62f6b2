"""How much the loss minds a change of each layer."""

from collections.abc import Callable, Iterable
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from holdfast.curvature.fisher import diagonal_fisher
from holdfast.curvature.registry import rule, rule_for
from holdfast.methods.halrp.layers import Free, Perturbed, perturbed_layers

Importance = Literal["mean", "sum", "fisher", "none"]
"""``mean``: mean over entries of squared batch gradients, as the authors' code; ``sum``: their sum,
the squared Frobenius norm that the bound asks for; ``fisher``: mean over samples of the squared
norm of the gradient of each, the trace of the empirical Fisher; ``none``: 1."""

Batch = tuple[Tensor, Tensor]


def check_importance(importance: str) -> None:
    """Refuse an unknown form.

    Raises:
        ValueError: naming the forms there are.
    """
    if importance not in get_args(Importance):
        raise ValueError(f"importance must be one of {get_args(Importance)}, got {importance!r}")


def layer_importance(
    model: nn.Module,
    task: int | str,
    batches: Iterable[Batch],
    form: Importance = "mean",
    forward: Callable[[Tensor], Tensor] | None = None,
    criterion: Callable[[Tensor, Tensor], Tensor] = functional.cross_entropy,
) -> dict[str, float]:
    """The importance of each layer of a free task: squared gradients of the loss at true labels.

        mean:   F_l = sum_b n_b / B . mean over entries of (d L_b / d W_l)^2
        sum:    F_l = sum_b n_b / B . |d L_b / d W_l|_F^2
        fisher: F_l = 1 / N sum_i |d L_i / d W_l|_F^2

    with L_b the mean loss of batch b of n_b samples, B batches, N samples. The first two stand for
    the third: of independent gradients of mean 0, n_b |d L_b|^2 has the mean of |d L_i|^2. The
    third is exact, by `holdfast.curvature.diagonal_fisher`, with -log p for the loss: cross-entropy
    for labels, half the squared error for float targets.

    Args:
        model: an `Adapted`, or a model that holds one.
        task: whose weights are free, see `Adapted.add_free`.
        batches: of inputs and columns.
        form: see `Importance`.
        forward: inputs -> logits; by default ``model(x, task)``. In the mode the model is in; the
            authors' code evaluates, and ``fisher`` always does.
        criterion: mean loss of logits and columns, for ``mean`` and ``sum``.

    Returns:
        By names of layers.

    Raises:
        ValueError: an unknown form, a layer without free weights, or no batches.
    """
    check_importance(form)
    weights = _free_weights(model, str(task))
    if form == "none":
        return dict.fromkeys(weights, 1.0)
    call = forward or (lambda x: model(x, task))
    if form == "fisher":
        return _traces(model, weights, batches, call)
    parameters = list(weights.values())
    found = torch.zeros(len(parameters), dtype=torch.float64)
    seen = 0
    for x, y in batches:
        # Layers that the output does not depend on, such as an encoder's pooler, get 0.
        gradients = torch.autograd.grad(
            criterion(call(x), y), parameters, allow_unused=True, materialize_grads=True
        )
        squares = torch.stack([g.square().sum(dtype=torch.float64) for g in gradients])
        found += len(x) * squares.cpu()
        seen += 1
    if seen == 0:
        raise ValueError("batches holds none: importance needs samples of the task")
    found /= seen
    if form == "mean":
        found /= torch.tensor([p.numel() for p in parameters])
    return dict(zip(weights, found.tolist(), strict=True))


def _free_weights(model: nn.Module, task: str) -> dict[str, nn.Parameter]:
    found = {}
    for name, layer in perturbed_layers(getattr(model, "model", model)):
        own = layer.tasks[task] if task in layer.tasks else None  # noqa: SIM401 (has no get)
        if not isinstance(own, Free):
            raise ValueError(f"task {task!r} has no free weights in layer {name!r}: see add_free")
        found[name] = own.weight
    return found


def _traces(
    model: nn.Module,
    weights: dict[str, nn.Parameter],
    batches: Iterable[Batch],
    call: Callable[[Tensor], Tensor],
) -> dict[str, float]:
    names = {id(p): n for n, p in model.named_parameters()}
    at = {names[id(p)]: layer for layer, p in weights.items()}
    fisher = diagonal_fisher(model, batches, parameters=list(at), forward=lambda x, _: call(x))
    return {layer: fisher[n].sum(dtype=torch.float64).item() for n, layer in at.items()}


@rule(Perturbed)
def perturbed(layer: Perturbed, inputs: tuple[Any, ...], grads: Tensor) -> dict[str, Tensor]:
    """A free task's squared gradients are those of the plain layer; others have no rule."""
    plain = rule_for(layer.base)
    free = [task for task, own in layer.tasks.items() if isinstance(own, Free)]
    if plain is None or not free:
        return {}
    # Which of the free ones computed the output does not matter: no other is used in the graph.
    found = plain(layer.base, inputs, grads)
    return {f"tasks.{task}.{name}": value for task in free for name, value in found.items()}
