"""Gradient descent on networks of one shape, all at once."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from holdfast.theory.problem import Problem
from holdfast.theory.solution import Progress
from holdfast.theory.two_layer import places


class Stack(NamedTuple):
    """S networks of width N, of raw weights but for those that meet the inputs.

    Args:
        fields: D^(-1/2) W^0 x at each point.
        hidden: W^1 .. W^(L-1).
        readouts: w, of all outputs of a head and then of the next.
    """

    fields: Float[Tensor, "seeds points width"]
    hidden: Sequence[Float[Tensor, "seeds width width"]]
    readouts: Float[Tensor, "seeds readouts width"]


class Trained(NamedTuple):
    """What came of it: see `holdfast.theory.Networks`."""

    outputs: Float[Tensor, "seeds times points outputs"]
    features: Float[Tensor, "seeds layers kept points kept points"]
    gradients: Float[Tensor, "seeds layers kept columns kept columns"]


class _Moving:
    """Weights under gradient descent with momentum and decay, as torch has them."""

    def __init__(self, start: Tensor, problem: Problem) -> None:
        self.now = start.clone()
        self._momentum = problem.schedule.momentum
        self._decay = problem.schedule.weight_decay
        still = self._momentum == 0 == self._decay
        self._velocity = None if still else torch.zeros_like(start)

    def step(self, left: Tensor, right: Tensor, lr: float) -> None:
        """One step, of which left^T right is the direction, minus the gradient."""
        left = left.mT.expand(len(right), -1, -1)
        if self._velocity is None:
            self.now.baddbmm_(left, right, alpha=lr)
            return
        self._velocity.mul_(self._momentum).sub_(self.now, alpha=self._decay)
        self._velocity.baddbmm_(left, right)
        self.now.add_(self._velocity, alpha=lr)


def train(
    problem: Problem,
    start: Stack,
    kept: tuple[int, ...],
    centred: bool,
    progress: Progress | None = None,
) -> Trained:
    """Train networks on the schedule of a problem.

    With pull U_mu,c = gamma_0 m_mu Delta_mu,c and back-propagated b^L = U w phi'(h^L),
    b^l = N^(-1/2) b^(l+1) W^l phi'(h^l), the rate eta gamma_0^2 N makes a step

        h^1 += eta K^x b^1,   W^l += eta N^(-1/2) b^(l+1)T phi(h^l),   w += eta U^T phi(h^L).

    Args:
        problem: of any depth.
        start: the networks; left as they are.
        kept: times whose kernels are kept.
        centred: whether outputs at the start are subtracted.
        progress: called with the steps done and their number.
    """
    width, schedule, phi = start.fields.shape[-1], problem.schedule, problem.activation
    fields, last = _Moving(start.fields, problem), _Moving(start.readouts, problem)
    hidden = [_Moving(weights, problem) for weights in start.hidden]
    scale = 1 / math.sqrt(width)
    own = _own_readouts(problem)
    outputs = start.fields.new_empty(
        len(start.fields), problem.steps + 1, problem.points, problem.outputs
    )
    begun = torch.zeros_like(outputs[:, 0])
    seen: list[list[Tensor]] = []
    seen_back: list[list[Tensor]] = []
    for t in range(problem.steps + 1):
        h = [fields.now]
        for weights in hidden:
            h.append(scale * (phi.value(h[-1]) @ weights.now.mT))
        values = [phi.value(field) for field in h]
        every = values[-1] @ last.now.mT
        f = every.gather(2, own.expand(len(every), -1, -1)) / (problem.gamma0 * width)
        if t == 0 and centred:
            begun = f
        outputs[:, t] = f - begun
        if t in kept:
            z = last.now[:, own.flatten()]
            seen.append([value.clone() for value in values])  # linear ones move with h
            seen_back.append(_backward(problem, h, [w.now for w in hidden], z))
        if t == problem.steps:
            break
        on, lr = places(schedule.weights[t] != 0), float(schedule.lr[t])
        pull = problem.gamma0 * schedule.weights[t].unsqueeze(1) * problem.error(outputs[:, t])
        by_readout = torch.zeros_like(every).scatter(2, own.expand(len(every), -1, -1), pull)
        by_readout = by_readout[:, on]
        b = phi.slope(h[-1][:, on]) * (by_readout @ last.now)
        last.step(by_readout, values[-1][:, on], lr)
        for layer in reversed(range(len(hidden))):
            below = phi.slope(h[layer][:, on]) * (scale * (b @ hidden[layer].now))
            hidden[layer].step(scale * b, values[layer][:, on], lr)
            b = below
        fields.step(problem.kernel[on], b, lr)
        if progress is not None:
            progress(t + 1, problem.steps)
    return Trained(outputs, _kernels(seen), _kernels(seen_back))


def _own_readouts(problem: Problem) -> Tensor:
    """Which of all readouts gives each output of each point, (P, C)."""
    outputs = torch.arange(problem.outputs, device=problem.head.device)
    return problem.head.unsqueeze(1) * problem.outputs + outputs


def _backward(
    problem: Problem, h: Sequence[Tensor], hidden: Sequence[Tensor], z: Tensor
) -> list[Tensor]:
    """g^1 .. g^L of all outputs of all points, (S, P C, N) each."""
    scale = 1 / math.sqrt(z.shape[-1])
    slopes = [problem.activation.slope(x).repeat_interleave(problem.outputs, 1) for x in h]
    found = [slopes[-1] * z]
    for slope, weights in zip(reversed(slopes[:-1]), reversed(hidden), strict=True):
        found.insert(0, slope * (scale * (found[0] @ weights)))
    return found


def _kernels(seen: Sequence[Sequence[Tensor]]) -> Tensor:
    """Means over neurons of products between all kept times, layer by layer."""
    found = []
    for layer in zip(*seen, strict=True):
        seeds, rows, width = layer[0].shape
        paths = torch.cat(layer, 1)
        moments = paths @ paths.mT / width
        found.append(moments.view(seeds, len(layer), rows, len(layer), rows))
    return torch.stack(found, 1)
