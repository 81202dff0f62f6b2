"""The coordinate check: whether the activations of wider nets move by the same amount."""

from collections.abc import Callable, Sequence

import numpy as np
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import SGD, Adam, AdamW, Optimizer

from holdfast.richness.activations import Forward, activations
from holdfast.richness.asked import (
    Build,
    batch,
    built,
    check_numbers,
    check_seeds,
    check_together,
    sizes_of,
)
from holdfast.richness.drift import Coordinates, DriftError
from holdfast.richness.rates import OptimizerName, param_groups
from holdfast.richness.setting import problems_of, setting_of, sketch
from holdfast.seeds import seeded

Loss = Callable[[Tensor, Tensor], Tensor]
MakeOptimizer = Callable[[nn.Module, float], Optimizer]

_OPTIMIZERS: dict[OptimizerName, Callable[..., Optimizer]] = {
    "sgd": SGD,
    "adam": Adam,
    "adamw": AdamW,
}


def _call(model: nn.Module, x: Tensor) -> Tensor:
    return model(x)


def coordinate_check(
    build: Build,
    widths: Sequence[int] | None = None,
    *,
    x: Tensor | Sequence[int],
    y: Tensor | None = None,
    depths: Sequence[int] | None = None,
    optimizer: str | MakeOptimizer = "sgd",
    lr: float = 0.1,
    steps: int = 10,
    seeds: Sequence[int] = (0, 1, 2),
    loss: Loss = functional.cross_entropy,
    forward: Forward = _call,
    band: float = 0.2,
    raises: bool = True,
) -> Coordinates:
    """Train nets of several widths for k steps and see whether their activations move alike.

    For each layer with activations h, on one batch of n samples,

        movement = RMS(h_k - h_0),    slope = d log movement / d log width,

    the slope by least squares for each seed. In muP it is 0 for every layer: that is what lets a
    learning rate and a richness found at one width be used at another. The size RMS(h_0) should
    not depend on the width either. A slope further from 0 than the band raises.

    What is looked at: the output of every module that holds parameters, its own or below. Over
    depths those that are at the same place at every depth: before and behind the blocks of which
    there are more or less, not among them.

    A readout of 0 at the start (the default of `parametrize`) has gradients of 0 for all layers
    below, which therefore move from the second step on: hence several steps. Narrow nets are off by
    about 1 / width.

    Args:
        build: (width, seed) -> model; or (depth, seed).
        widths: two or more; or
        depths: two or more.
        x: the batch (n, ...) on which the nets are trained and looked at, or the shape of one
            sample, of which 64 are drawn, standard normal. Models are brought to its dtype where
            that is a float type: float64 tells smaller movements.
        y: (n, ...) targets of the loss; without, classes are drawn, one for each output.
        optimizer: ``sgd``, ``adam`` or ``adamw`` with the rates of `param_groups`; or a function
            (model, lr) -> optimizer.
        lr: eta_0.
        steps: k, all on the whole batch.
        seeds: of the weights.
        loss: (output, y) -> scalar.
        forward: (model, x) -> output, where that is not ``model(x)``.
        band: a slope counts as 0 within +- this.
        raises: whether to raise on a fault, or to return it among ``faults``.

    Raises:
        DriftError: a layer whose movement or size depends on the width; one that does not move, or
            diverges; an output that does not start as 0 and was asked to. It holds the result and
            names the layers, their slopes and the likely cause.
        TypeError, ValueError: an argument that will not do; widths that do not scale together;
            seeds that give the same weights.

    Yang et al., 2022, appendix D.1 (by eye); Bordelon et al., 2024 (depth). The slopes, the bands
    and what is made of them are ours.
    """
    over, sizes = sizes_of(widths, depths)
    check_numbers(lr, steps, seeds, band)
    make = _maker(optimizer)
    paths = check_together(build, over, sizes, seeds[0])
    smallest, largest = (built(build, size, seeds[0]) for size in (sizes[0], sizes[-1]))
    problems = problems_of(smallest, largest)
    x, y = batch(smallest, x, y, forward)
    del smallest, largest
    starts, moves, sketches = [], [], []
    for size in sizes:
        for seed in seeds:
            model = built(build, size, seed, x)
            used = make(model, lr)
            if seed == seeds[0]:
                sketches.append(sketch(model, used))
            with seeded(seed, "coordinate check", "steps"):
                start, moved = _train(model, used, x, y, steps, loss, forward, paths)
            starts.append(start)
            moves.append(moved)
    layers = tuple(layer for layer in starts[0] if all(layer in start for start in starts))
    shape = (len(sizes), len(seeds), len(layers))
    start_sizes, movements = (
        np.array([[run[layer] for layer in layers] for run in runs]).reshape(shape)
        for runs in (starts, moves)
    )
    check_seeds(seeds, start_sizes, movements)
    found = Coordinates(
        over=over,
        sizes=sizes,
        seeds=tuple(seeds),
        layers=layers,
        start=start_sizes,
        moved=movements,
        band=float(band),
        setting=setting_of(sketches, float(lr), steps, problems),
        dtype=next(model.parameters()).dtype,
    )
    if raises and found.faults:
        raise DriftError(found)
    return found


def _maker(optimizer: str | MakeOptimizer) -> MakeOptimizer:
    if callable(optimizer):
        return optimizer
    if optimizer not in _OPTIMIZERS:
        raise ValueError(
            f"optimizer must be one of {', '.join(_OPTIMIZERS)}, or a function (model, lr) -> "
            f"optimizer; got {optimizer!r}"
        )
    name: OptimizerName = optimizer
    return lambda model, lr: _OPTIMIZERS[name](param_groups(model, name, lr))


def _train(
    model: nn.Module,
    optimizer: Optimizer,
    x: Tensor,
    y: Tensor,
    steps: int,
    loss: Loss,
    forward: Forward,
    paths: Sequence[str],
) -> tuple[dict[str, float], dict[str, float]]:
    """RMS of each layer's activations before the steps, and of their change by them."""
    before = activations(model, x, forward, paths)
    for _ in range(steps):
        optimizer.zero_grad()
        loss(forward(model, x), y).backward()
        optimizer.step()
    after = activations(model, x, forward, paths)
    return (
        {path: _rms(h) for path, h in before.items()},
        {path: _rms(after[path] - h) for path, h in before.items()},
    )


def _rms(values: Tensor) -> float:
    return values.double().square().mean().sqrt().item()
