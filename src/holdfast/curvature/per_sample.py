"""Squared per-sample gradients by differentiation, for what no closed rule covers."""

import warnings
from collections.abc import Callable, Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call, vjp, vmap

Forward = Callable[[Tensor, int | Tensor | None], Tensor]
"""(inputs, task of the samples) -> outputs."""

_ELEMENTS = 1 << 24
"""Entries of per-sample gradients held at a time."""


def per_sample_squares(
    model: nn.Module,
    forward: Forward,
    parameters: Mapping[str, nn.Parameter],
    x: Tensor,
    task: int | Tensor | None,
    directions: Float[Tensor, "k n outputs"],
) -> dict[str, Tensor]:
    """sum_kn (d c_kn . outputs_n / dw)^2 for each of `parameters`, by their names in `model`.

    Vectorised over samples (`torch.func.vmap`); a model that cannot be, because its control flow
    looks at values, is differentiated sample by sample.
    """
    squares = {name: torch.zeros_like(p) for name, p in parameters.items()}
    size = len(directions) * sum(p.numel() for p in parameters.values())
    for own, rows in _by_task(task, x):
        for part in rows.split(max(1, _ELEMENTS // max(1, size))):
            args = (x[part], own, directions[:, part])
            try:
                found = _vectorised(model, forward, parameters, *args)
            except RuntimeError:
                found = _one_by_one(forward, parameters, *args)
            for name, value in found.items():
                squares[name] += value
    return squares


def _by_task(task: int | Tensor | None, x: Tensor) -> list[tuple[int | Tensor | None, Tensor]]:
    # One task at a time: vmap cannot choose a head by a sample's value. It stays a tensor, with
    # which a model may give other outputs than with a number.
    if not isinstance(task, Tensor):
        return [(task, torch.arange(len(x), device=x.device))]
    return [(i.unsqueeze(0), (task == i).nonzero().squeeze(1)) for i in task.unique()]


class _Called(nn.Module):
    """A module whose forward is whatever function calls the model in it."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, function: Forward, x: Tensor, task: int | Tensor | None) -> Tensor:
        return function(x, task)


def _vectorised(
    model: nn.Module,
    forward: Forward,
    parameters: Mapping[str, nn.Parameter],
    x: Tensor,
    task: int | Tensor | None,
    directions: Tensor,
) -> dict[str, Tensor]:
    places, called = _places(model, parameters), _Called(model)

    def squares(x: Tensor, c: Tensor) -> dict[str, Tensor]:
        def outputs(values: dict[str, Tensor]) -> Tensor:
            swapped = {f"model.{place}": values[name] for place, name in places.items()}
            args = (forward, x.unsqueeze(0), task)
            return functional_call(called, swapped, args, tie_weights=False).squeeze(0)

        pullback = vjp(outputs, {name: p.detach() for name, p in parameters.items()})[1]
        if len(c) == 1:
            # torch 2.13 mixes samples up where PReLU is vectorised twice over.
            (only,) = pullback(c[0])
            return {name: g.square() for name, g in only.items()}
        (gradients,) = vmap(pullback)(c)
        return {name: g.square().sum(dim=0) for name, g in gradients.items()}

    with torch.no_grad(), warnings.catch_warnings():
        # Of operations that vmap runs as a loop; nothing a caller could change.
        warnings.filterwarnings("ignore", message="There is a performance drop")
        found = vmap(squares, in_dims=(0, 1))(x, directions)
    return {name: value.sum(dim=0) for name, value in found.items()}


def _places(model: nn.Module, parameters: Mapping[str, nn.Parameter]) -> dict[str, str]:
    # Each place that holds one of the parameters, once, to the parameter's name. torch ties
    # weights by name too, but leaves a module with two names broken after the call (torch 2.13).
    names = {id(p): name for name, p in parameters.items()}
    return {
        f"{path}.{own}" if path else own: names[id(p)]
        for path, module in model.named_modules()
        for own, p in module.named_parameters(recurse=False, remove_duplicate=False)
        if id(p) in names
    }


def _one_by_one(
    forward: Forward,
    parameters: Mapping[str, nn.Parameter],
    x: Tensor,
    task: int | Tensor | None,
    directions: Tensor,
) -> dict[str, Tensor]:
    squares = {name: torch.zeros_like(p) for name, p in parameters.items()}
    for i in range(len(x)):
        outputs = forward(x[i : i + 1], task)
        for c in directions[:, i : i + 1]:
            gradients = torch.autograd.grad(
                outputs, list(parameters.values()), c, retain_graph=True, allow_unused=True
            )
            for total, g in zip(squares.values(), gradients, strict=True):
                if g is not None:
                    total += g.square()
    return squares
