"""Per-sample gradients by differentiation, and their squares for what no closed rule covers."""

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

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


def per_sample_gradients(
    model: nn.Module,
    forward: Forward,
    parameters: Mapping[str, nn.Parameter],
    x: Tensor,
    task: int | Tensor | None,
    direction: Float[Tensor, "n outputs"],
) -> dict[str, Float[Tensor, "n ..."]]:
    """Gradients of c_n . outputs_n, a row a sample n for each of `parameters`; c_n of `direction`.

    The samples must not depend on each other. Vectorised as in `per_sample_squares`; all of the
    gradients are held at once.
    """
    found = {name: p.new_zeros(len(x), *p.shape) for name, p in parameters.items()}
    for own, rows in _by_task(task, x):
        try:
            outputs = _swapped(model, forward, parameters, own)
            values = {name: p.detach() for name, p in parameters.items()}

            def gradients(
                x: Tensor, c: Tensor, outputs: _Outputs = outputs, values: _Values = values
            ) -> _Values:
                return vjp(lambda v: outputs(v, x), values)[1](c)[0]

            with _quietly():
                parts = vmap(gradients)(x[rows], direction[rows])
            for name, part in parts.items():
                found[name][rows] = part
        except RuntimeError:
            for i in rows.tolist():
                parts = _of_one(forward(x[i : i + 1], own), parameters, direction[i : i + 1])
                for name, part in parts.items():
                    found[name][i] = part
    return found


_Values = dict[str, Tensor]
_Outputs = Callable[[_Values, Tensor], Tensor]


def _swapped(
    model: nn.Module,
    forward: Forward,
    parameters: Mapping[str, nn.Parameter],
    task: int | Tensor | None,
) -> _Outputs:
    """(values of the parameters, one sample) -> its outputs."""
    places, called = _places(model, parameters), _Called(model)

    def outputs(values: _Values, x: Tensor) -> Tensor:
        swapped = {f"model.{place}": values[name] for place, name in places.items()}
        args = (forward, x.unsqueeze(0), task)
        return functional_call(called, swapped, args, tie_weights=False).squeeze(0)

    return outputs


@contextmanager
def _quietly() -> Iterator[None]:
    with torch.no_grad(), warnings.catch_warnings():
        # Of operations that vmap runs as a loop; nothing a caller could change.
        warnings.filterwarnings("ignore", message="There is a performance drop")
        yield


def _vectorised(
    model: nn.Module,
    forward: Forward,
    parameters: Mapping[str, nn.Parameter],
    x: Tensor,
    task: int | Tensor | None,
    directions: Tensor,
) -> _Values:
    outputs = _swapped(model, forward, parameters, task)

    def squares(x: Tensor, c: Tensor) -> _Values:
        values = {name: p.detach() for name, p in parameters.items()}
        pullback = vjp(lambda v: outputs(v, x), values)[1]
        if len(c) == 1:
            # torch 2.13 mixes samples up where PReLU is vectorised twice over.
            (only,) = pullback(c[0])
            return {name: g.square() for name, g in only.items()}
        (gradients,) = vmap(pullback)(c)
        return {name: g.square().sum(dim=0) for name, g in gradients.items()}

    with _quietly():
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
) -> _Values:
    squares = {name: torch.zeros_like(p) for name, p in parameters.items()}
    for i in range(len(x)):
        outputs = forward(x[i : i + 1], task)
        for c in directions[:, i : i + 1]:
            for name, g in _of_one(outputs, parameters, c).items():
                squares[name] += g.square()
    return squares


def _of_one(outputs: Tensor, parameters: Mapping[str, nn.Parameter], c: Tensor) -> _Values:
    """The gradient of c . outputs, without the parameters that it does not depend on."""
    gradients = torch.autograd.grad(
        outputs, list(parameters.values()), c, retain_graph=True, allow_unused=True
    )
    return {n: g for n, g in zip(parameters, gradients, strict=True) if g is not None}
