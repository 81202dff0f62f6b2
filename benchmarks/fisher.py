"""The exact diagonal Fisher against the backward passes of a plain training epoch."""

import time

import torch
from torch.func import functional_call, grad, vmap
from torch.nn import functional

from benchmarks.bare import BATCH, ROWS, network, samples
from benchmarks.timing import Comparison, compare
from holdfast.curvature.fisher import diagonal_fisher

ROWS_AT_ONCE = 2048
"""As EWC asks for it: the exact forms do not depend on the batches."""


def fisher(repetitions: int) -> tuple[Comparison, Comparison]:
    """One exact pass over 12,000 rows, against the passes of a plain training epoch.

    Returns:
        Against its backward passes alone (the time of forward and backward less that of forward),
        and against forward and backward. Ours is the whole pass, its forward passes included.
    """
    x, y = samples(ROWS)
    model = network()
    batches = list(zip(x.split(BATCH), y.split(BATCH), strict=True))
    large = list(zip(x.split(ROWS_AT_ONCE), y.split(ROWS_AT_ONCE), strict=True))
    times: list[tuple[float, float, float]] = []
    for _ in range(repetitions + 1):
        began = time.process_time()
        diagonal_fisher(model, large)
        ours = time.process_time() - began
        forward = _passes(model, batches, backward=False)
        both = _passes(model, batches, backward=True)
        times.append((ours, forward, both))
    own, forwards, boths = (list(column) for column in zip(*times[1:], strict=True))
    alone = [b - f for f, b in zip(forwards, boths, strict=True)]
    return Comparison(own, alone), Comparison(own, boths)


def _passes(
    model: torch.nn.Module, batches: list[tuple[torch.Tensor, torch.Tensor]], backward: bool
) -> float:
    began = time.process_time()
    for x, y in batches:
        loss = functional.cross_entropy(model(x), y)
        if backward:
            model.zero_grad()
            loss.backward()
    return time.process_time() - began


def fisher_over_vmap(repetitions: int) -> Comparison:
    """The same Fisher over the usual exact alternative, `torch.func.vmap` of `grad`."""
    x, y = samples(ROWS)
    model = network()
    parameters = {name: p.detach() for name, p in model.named_parameters()}
    batches = list(zip(x.split(BATCH), y.split(BATCH), strict=True))

    def loss(weights: dict[str, torch.Tensor], x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        logits = functional_call(model, weights, (x.unsqueeze(0),))
        return functional.cross_entropy(logits, y.unsqueeze(0))

    each = vmap(grad(loss), in_dims=(None, 0, 0))

    def bare() -> None:
        total = {name: torch.zeros_like(p) for name, p in parameters.items()}
        for a, b in batches:
            for name, g in each(parameters, a, b).items():
                total[name] += g.square().sum(0)

    return compare(lambda: diagonal_fisher(model, batches), bare, repetitions)
