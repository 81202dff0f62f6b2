"""The exact diagonal Fisher against the backward passes of a plain training epoch."""

import time

import torch
from torch.func import functional_call, grad, vmap
from torch.nn import functional

from benchmarks.bare import BATCH, LR, ROWS, network, samples
from benchmarks.timing import Comparison, compare
from holdfast.curvature.fisher import diagonal_fisher

ROWS_AT_ONCE = 2048
"""As EWC asks for it: the exact forms do not depend on the batches."""


def fisher(repetitions: int) -> Comparison:
    """One exact pass over 12,000 rows; the other side counts the backward calls of an epoch alone.

    Those are timed inside a whole training epoch, whose forward passes and steps do not count;
    ours is the whole pass.
    """
    x, y = samples(ROWS)
    model = network()
    batches = list(zip(x.split(BATCH), y.split(BATCH), strict=True))
    large = list(zip(x.split(ROWS_AT_ONCE), y.split(ROWS_AT_ONCE), strict=True))
    ours: list[float] = []
    theirs: list[float] = []
    for _ in range(repetitions + 1):
        began = time.process_time()
        diagonal_fisher(model, large)
        ours.append(time.process_time() - began)
        theirs.append(_backward_seconds(model, batches))
    return Comparison(ours[1:], theirs[1:])


def _backward_seconds(
    model: torch.nn.Module, batches: list[tuple[torch.Tensor, torch.Tensor]]
) -> float:
    optimizer = torch.optim.SGD(model.parameters(), lr=LR)
    spent = 0.0
    for x, y in batches:
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(x), y)
        began = time.process_time()
        loss.backward()
        spent += time.process_time() - began
        optimizer.step()
    return spent


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
