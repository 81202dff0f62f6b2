"""The limit gamma_0 -> 0, in which features stay as they are."""

import math
from collections.abc import Callable, Sequence
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from holdfast.theory.gaussian import initial_kernels, initial_tangent_kernel
from holdfast.theory.kept import kept_times
from holdfast.theory.memory import require_memory
from holdfast.theory.problem import Problem
from holdfast.theory.solution import Progress, Solution
from holdfast.theory.two_layer import places

Time = Literal["discrete", "continuous"]
Flow = Callable[[Tensor], Tensor]
_SUBSTEP = 0.1
"""Length of a Runge-Kutta step, in units of the fastest decay."""


def lazy(
    problem: Problem,
    *,
    kept: int | Sequence[int] | None = None,
    time: Time = "discrete",
    memory: int | None = None,
    progress: Progress | None = None,
) -> Solution:
    """Solve the lazy limit gamma_0 -> 0, whatever the gamma_0 of the problem.

    Fields do not move, so that the tangent kernel K stays what it is at the start, and outputs
    follow linear equations. With M = diag(m(t)), for the squared error,

        discrete:    Delta(t + 1) = (1 - eta K M) Delta(t), a product of matrices,
        continuous:  Delta(t + 1) = exp(-eta K M) Delta(t), for gradient flow with the rates and
                     weights of each step held for a unit of time.

    By eigenvectors of M^(1/2) K M^(1/2), so exact for both. With cross-entropy Delta is no linear
    function of f: discrete time is exact, continuous time is integrated by Runge-Kutta's fourth
    order in steps of a tenth of the fastest decay. With readout weights of 0 only the last layer's
    Phi is in K: linear regression on fixed features. Without momentum; and without weight decay,
    under which features move for any gamma_0. Jacot et al., 2018.

    Args:
        problem: of any depth and activation.
        kept: see `kept_times`; its kernels are all the same.
        time: ``discrete`` or ``continuous``.
        memory: bytes allowed; what is available by default.
        progress: called with the steps done and their number.

    Raises:
        ValueError: an unknown `time`, weight decay, momentum in continuous time, or more memory
            needed than there is.
    """
    schedule = problem.schedule
    if time not in get_args(Time):
        raise ValueError(f"time must be 'discrete' or 'continuous', got {time!r}")
    if schedule.weight_decay:
        raise ValueError(
            f"lazy solves training without weight_decay, which moves features for any gamma0; got "
            f"{schedule.weight_decay}"
        )
    if schedule.momentum and time == "continuous":
        raise ValueError(
            f"momentum has no meaning in continuous time, got {schedule.momentum}; take "
            "time='discrete', or momentum 0"
        )
    times = kept_times(problem, kept)

    def bytes_of(points: int) -> int:
        columns = points * problem.outputs
        entries = 6 * points**2 + problem.depth * (3 * points**2 + 2 * columns**2)
        entries += (problem.steps + 1) * columns
        return entries * problem.kernel.element_size()

    like = problem.kernel
    require_memory(bytes_of, problem.points, "points", "solver lazy", memory, like.device)
    kernel = initial_tangent_kernel(problem)
    outputs = like.new_zeros(problem.steps + 1, problem.points, problem.outputs)
    speed = torch.zeros_like(outputs[0])
    flow: Flow | None = None
    for t in range(problem.steps):
        weights, lr = schedule.weights[t], float(schedule.lr[t])
        if time == "discrete":
            pull = weights.unsqueeze(1) * problem.error(outputs[t])
            speed = schedule.momentum * speed + _through(kernel, pull)
            outputs[t + 1] = outputs[t] + lr * speed
        else:
            if t == 0 or lr != schedule.lr[t - 1] or not weights.equal(schedule.weights[t - 1]):
                flow = _flow(problem, kernel, weights, lr)
            assert flow is not None
            outputs[t + 1] = flow(outputs[t])
        if progress is not None:
            progress(t + 1, problem.steps)
    features, slopes = initial_kernels(problem)
    every = torch.eye(problem.outputs, dtype=like.dtype, device=like.device)
    gradients = torch.stack([torch.kron(g, every) for g in slopes])
    return Solution(
        problem, "lazy", outputs, times, _throughout(features, len(times)),
        _throughout(gradients, len(times)), None, {}, {"time": time},
    )  # fmt: skip


def _flow(
    problem: Problem, kernel: Float[Tensor, "points points"], weights: Tensor, lr: float
) -> Flow:
    """A unit of time of gradient flow, with the weights of a step."""
    on = places(weights != 0)
    root = weights[on].sqrt()
    rates, modes = torch.linalg.eigh(root[:, None] * kernel[on][:, on] * root * lr)
    if problem.loss == "mse":
        # (1 - exp(-x)) / x, the share of its first speed at which a mode moves.
        share = torch.where(rates.abs() > 0, -torch.expm1(-rates) / rates, 1)
        gain = lr * kernel[:, on] @ (root[:, None] * ((modes * share) @ modes.T) * root)
        return lambda f: f + gain @ problem.error(f)[on]
    parts = max(1, math.ceil(float(rates[-1]) / _SUBSTEP))

    def slope(f: Tensor) -> Tensor:
        return lr / parts * _through(kernel, weights.unsqueeze(1) * problem.error(f))

    def integrated(f: Tensor) -> Tensor:
        for _ in range(parts):
            first = slope(f)
            second = slope(f + first / 2)
            third = slope(f + second / 2)
            f = f + (first + 2 * second + 2 * third + slope(f + third)) / 6
        return f

    return integrated


def _through(
    kernel: Float[Tensor, "points points"], pull: Float[Tensor, "points outputs"]
) -> Float[Tensor, "points outputs"]:
    on = places((pull != 0).any(1))
    return kernel[:, on] @ pull[on]


def _throughout(kernels: Tensor, times: int) -> Tensor:
    """The same between all times, of which no copies are made."""
    layers, rows, _ = kernels.shape
    return kernels[:, None, :, None, :].expand(layers, times, rows, times, rows)
