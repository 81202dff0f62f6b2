"""Small problems, and finite networks to hold their solutions against."""

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from holdfast.theory import Problem, problem


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def two_tasks(points: int = 3, features: int = 6, seed: int = 0, **options: Any) -> Problem:
    """Two tasks of Gaussian inputs, correlated by a half, with labels of random signs."""
    outputs = options.pop("outputs", 1)
    first, other = drawn(seed, points, features), drawn(seed + 1, points, features)
    inputs = [first, 0.5 * first + 0.75**0.5 * other]
    targets = [drawn(seed + 2 + k, points, outputs).sign() for k in range(2)]
    if options.get("loss") == "cross_entropy":
        targets = [(drawn(seed + 2 + k, points) > 0).long() for k in range(2)]
    return problem(
        inputs, targets, **{"steps": 6, "lr": 0.3, "gamma0": 1.0, "phi": "linear"} | options
    )


VARIED: dict[str, dict[str, Any]] = {
    "plain": {},
    "heads": {"heads": "per_task"},
    "zero readout": {"readout_std": 0.0},
    "outputs": {"outputs": 2, "heads": "per_task"},
    "cross-entropy": {"loss": "cross_entropy"},
    "momentum": {"momentum": 0.7},
    "decay": {"weight_decay": 0.2},
    "momentum and decay": {"momentum": 0.7, "weight_decay": 0.2},
    "batches": {"batch_size": 2},
    "rates": {"lr": [0.3, 0.1]},
    "probes": {"probes": (drawn(9, 2, 6), torch.zeros(2, 1), 0)},
}


def finite_losses(own: Problem, width: int, seed: int) -> Tensor:
    """Loss curves of a finite network, by torch.autograd and torch.optim.SGD."""
    assert own.inputs is not None
    draw = torch.Generator().manual_seed(seed)
    sizes = [own.inputs.shape[1], *[width] * own.depth]
    layers = [
        torch.randn(above, below, generator=draw, dtype=torch.float64).requires_grad_()
        for below, above in pairwise(sizes)
    ]
    top = torch.randn(own.heads, own.outputs, width, generator=draw, dtype=torch.float64)
    readout = (own.readout_std * top).requires_grad_()
    schedule = own.schedule

    def outputs() -> Tensor:
        h = own.inputs
        for weights in layers:
            h = own.activation.value(h) if weights is not layers[0] else h
            h = h @ weights.T / weights.shape[1] ** 0.5
        phi = own.activation.value(h)
        return torch.einsum("pn,pcn->pc", phi, readout[own.head]) / (own.gamma0 * width)

    with torch.no_grad():
        start = outputs()
    optimizer = torch.optim.SGD(
        [*layers, readout], 1.0, momentum=schedule.momentum, weight_decay=schedule.weight_decay
    )
    curves = []
    for t in range(own.steps + 1):
        f = outputs() - start  # as for infinite width, training starts from 0
        curves.append(own.losses(f.detach()))
        if t == own.steps:
            break
        scale = own.gamma0**2 * width
        optimizer.param_groups[0]["lr"] = float(schedule.lr[t]) * scale
        optimizer.param_groups[0]["weight_decay"] = schedule.weight_decay / scale
        optimizer.zero_grad()
        pull = schedule.weights[t].unsqueeze(1) * own.error(f.detach())
        (-(pull * f).sum()).backward()
        optimizer.step()
    return torch.stack(curves)
