"""How much the loss minds a change of each layer."""

from collections.abc import Callable, Iterable, Mapping
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

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
    forward: Callable[[Tensor], Tensor],
    weights: Mapping[str, nn.Parameter],
    batches: Iterable[Batch],
    form: Importance = "mean",
    criterion: Callable[[Tensor, Tensor], Tensor] = functional.cross_entropy,
) -> dict[str, float]:
    """The importance of each layer: gradients of the loss at the true labels, squared.

        mean:   F_l = sum_b n_b / B . mean over entries of (d L_b / d W_l)^2
        sum:    F_l = sum_b n_b / B . |d L_b / d W_l|_F^2
        fisher: F_l = 1 / N sum_i |d L_i / d W_l|_F^2

    with L_b the mean loss of batch b of n_b samples, B batches, N samples. The first two stand for
    the third: of independent gradients of mean 0, n_b |d L_b|^2 has the mean of |d L_i|^2.

    Args:
        forward: inputs -> logits, in the mode wanted (evaluation, in the authors' code).
        weights: the free weight of each layer, by name.
        batches: of inputs and columns.
        form: see `Importance`.
        criterion: mean loss of logits and columns.

    Raises:
        ValueError: an unknown form, or no batches.
    """
    check_importance(form)
    if form == "none":
        return dict.fromkeys(weights, 1.0)
    parameters = list(weights.values())
    found = torch.zeros(len(parameters), dtype=torch.float64)
    seen = samples = 0
    for x, y in batches:
        pieces = (
            [(x[i : i + 1], y[i : i + 1]) for i in range(len(x))] if form == "fisher" else [(x, y)]
        )
        for inputs, columns in pieces:
            loss = criterion(forward(inputs), columns)
            gradients = torch.autograd.grad(loss, parameters)
            squares = [g.double().square() for g in gradients]
            taken = [s.mean() if form == "mean" else s.sum() for s in squares]
            found += len(inputs) * torch.stack(taken).cpu()
        seen += 1
        samples += len(x)
    if seen == 0:
        raise ValueError("batches holds none: importance needs samples of the task")
    found /= samples if form == "fisher" else seen
    return dict(zip(weights, found.tolist(), strict=True))
