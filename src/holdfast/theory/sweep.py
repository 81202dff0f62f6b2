"""One pass through time of a deep network of infinite width."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from holdfast.seeds import derive
from holdfast.theory.problem import Problem
from holdfast.theory.sampling import Draws
from holdfast.theory.square_root import lower_factor
from holdfast.theory.two_layer import places
from holdfast.theory.weights import Descent, Images, Passed, Weights, pulled


@dataclass(frozen=True)
class Swept:
    """What one pass found: see `Solution` for shapes, `causal` for the responses.

    Attributes:
        ranks: of the features and gradients at each matrix of weights between hidden layers.
        dropped: variance left out, relative to the largest of a path.
    """

    outputs: Tensor
    features: Tensor
    gradients: Tensor
    responses: dict[str, Tensor]
    ranks: list[tuple[int, int]]
    dropped: float


def sweep(
    problem: Problem,
    kept: Sequence[int],
    samples: int,
    seed: int,
    tolerance: float,
    responses: bool,
    tick: Callable[[], None],
) -> Swept:
    """Forward and backward through the layers at each time, then a step of gradient descent."""
    kernel, phi, schedule = problem.kernel, problem.activation, problem.schedule
    points, outputs = problem.targets.shape
    top = problem.depth - 1
    draws = [
        Draws(samples, derive(seed, layer), kernel, layer < top or problem.readout_std > 0)
        for layer in range(problem.depth)
    ]
    descent = Descent(schedule.momentum, schedule.weight_decay)
    first = Images(draws[0], "forward", descent, kernel, samples)
    last = Images(draws[top], "backward", descent, kernel, samples, problem.readout_std)
    hidden = [
        Weights(below, above, descent, kernel, samples, tolerance, responses)
        for below, above in pairwise(draws)
    ]
    inputs, readout = lower_factor(kernel), _readouts(problem)
    first.grow(inputs.shape[1])
    last.grow(readout.shape[1])
    f = kernel.new_empty(problem.steps + 1, points, outputs)
    record = _Record(kept)
    for t in range(problem.steps + 1):
        h = [first.of(inputs)]
        up: list[Passed] = []
        for weights in hidden:
            up.append(weights.forward(phi.value(h[-1])))
            h.append(up[-1].out)
        values = [phi.value(x) for x in h]
        z = last.of(readout)
        each = z.view(points, outputs, samples) * values[-1].unsqueeze(1)
        f[t] = each.mean(-1) / problem.gamma0
        g = [_through(phi.slope(h[-1]), z)]
        down: list[Passed] = []
        for weights, below in zip(reversed(hidden), reversed(h[:-1]), strict=True):
            down.insert(0, weights.backward(g[0]))
            g.insert(0, _through(phi.slope(below), down[0].out))
        record.note(t, values, g, up, down)
        if t == problem.steps:
            break
        on = places(schedule.weights[t] != 0)
        pull = problem.gamma0 * schedule.weights[t].unsqueeze(1) * problem.error(f[t])
        pull, lr = pull[on], float(schedule.lr[t])
        acting = (
            torch.arange(points * outputs, device=kernel.device).view(points, outputs)[on].flatten()
        )
        first.move(inputs[on], pulled(pull, g[0][acting]), lr)
        for i, weights in enumerate(hidden):
            own = down[i].own[acting], g[i + 1][acting]
            weights.move(pull, (up[i].own[on], values[i][on]), own, lr)
        last.move(pulled(pull, readout[acting]), values[-1][on], lr)
        descent.step(lr)
        tick()
    ranks = [(len(weights.features), len(weights.gradients)) for weights in hidden]
    dropped = max((max(w.features.dropped, w.gradients.dropped) for w in hidden), default=0.0)
    return Swept(f, *record.kernels(), record.responses(), ranks, dropped)


class _Record:
    """Paths and coordinates at the kept times."""

    def __init__(self, kept: Sequence[int]) -> None:
        self._kept = set(kept)
        self._paths: dict[str, list[list[Tensor]]] = {"features": [], "gradients": []}
        self._passed: dict[str, list[list[tuple[Tensor, Tensor]]]] = {"up": [], "down": []}

    def note(
        self, time: int, values: list[Tensor], g: list[Tensor], up: list[Passed], down: list[Passed]
    ) -> None:
        if time in self._kept:
            self._paths["features"].append(values)
            self._paths["gradients"].append(g)
            for name, passed in (("up", up), ("down", down)):
                self._passed[name].append([(p.own, p.response) for p in passed])

    def kernels(self) -> tuple[Tensor, Tensor]:
        features, gradients = (
            torch.stack([_moments(paths, paths) for paths in zip(*times, strict=True)])
            for times in self._paths.values()
        )
        return features, gradients

    def responses(self) -> dict[str, Tensor]:
        up, down = (list(zip(*times, strict=True)) for times in self._passed.values())
        found: dict[str, list[Tensor]] = {"features": [], "gradients": []}
        for ups, downs in zip(up, down, strict=True):
            c, a = zip(*ups, strict=True)
            d, b = zip(*downs, strict=True)
            found["features"].append(_products(a, d))
            found["gradients"].append(_products(b, c))
        return {name: torch.stack(layers) for name, layers in found.items() if layers}


def _readouts(problem: Problem) -> Tensor:
    """(P C, K C) which readout answers for each output of each point."""
    head = torch.nn.functional.one_hot(problem.head, problem.heads).to(problem.kernel)
    return torch.kron(head, torch.eye(problem.outputs).to(problem.kernel))


def _through(slope: Tensor, z: Tensor) -> Tensor:
    """phi'(h) z, with all outputs of a point sharing its h."""
    points, samples = slope.shape
    return (z.view(points, -1, samples) * slope.unsqueeze(1)).view(-1, samples)


def _moments(left: Sequence[Tensor], right: Sequence[Tensor]) -> Tensor:
    return _products(left, right) / left[0].shape[1]


def _products(left: Sequence[Tensor], right: Sequence[Tensor]) -> Tensor:
    """(times, rows, times, rows) of inner products; coordinates that came later are 0 before."""
    width = max(x.shape[1] for x in [*left, *right])
    a, b = (
        torch.cat([torch.nn.functional.pad(x, (0, width - x.shape[1])) for x in rows])
        for rows in (left, right)
    )
    return (a @ b.T).view(len(left), len(left[0]), len(right), len(right[0]))
