"""Two-layer networks of infinite width with any activation, by samples of neurons."""

from collections.abc import Sequence
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from holdfast.seeds import generator
from holdfast.theory.jackknife import jackknife
from holdfast.theory.kept import kept_times
from holdfast.theory.memory import FEWER_SAMPLES, kernel_bytes, require_memory
from holdfast.theory.problem import Problem
from holdfast.theory.solution import Progress, Solution
from holdfast.theory.square_root import lower_factor
from holdfast.theory.two_layer import train

_SAMPLES = 24_000


def particles(
    problem: Problem,
    *,
    kept: int | Sequence[int] | None = None,
    samples: int | None = None,
    groups: int = 8,
    seed: int = 0,
    memory: int | None = None,
    progress: Progress | None = None,
) -> Solution:
    """Solve a two-layer network by sampled neurons.

    Neurons are drawn as (h, z), h ~ N(0, K^x) jointly over all points and z ~ N(0, sigma_w^2), and
    trained; averages over them stand for those over infinitely many. They come in pairs (h, z),
    (h, -z), so that outputs start at 0 exactly, and are drawn with second moments that are exact
    in the sample, which a linear network needs alone (as its answer is then exact).

    `groups` ensembles are trained independently and averaged, one after the other. The jackknife
    over them gives the standard error of the losses, of order samples^(-1/2); the bias is of order
    groups / samples. O(T samples P^2) time, (2 R P (1 + C) + 8 P) samples / groups numbers of
    memory, R the times kept.

    Args:
        problem: of depth 1.
        kept: see `kept_times`.
        samples: neurons in all; by default 24,000, more for over 750 points.
        groups: independent ensembles, 2 or more.
        seed: of the draws.
        memory: bytes allowed; what is available by default.
        progress: called with the steps done and their number, of all groups together.

    Raises:
        TypeError, ValueError: a deep network, sizes out of range, or more memory needed than
            there is.
    """
    if problem.depth != 1:
        raise ValueError(
            f"particles solves depth 1, got {problem.depth}; take solver 'causal' for deep networks"
        )
    for name, size, least in (("groups", groups, 2), ("samples", samples, 1), ("seed", seed, 0)):
        if size is None and name == "samples":
            continue
        if type(size) is not int or size < least:
            raise ValueError(f"{name} must be an integer of {least} or more, got {size!r}")
    readouts = problem.heads * problem.outputs
    # Draws are made orthonormal, for which there must be enough; 16 makes the first ones the same
    # whether or not others follow, as torch fills its random numbers.
    least = 2 * groups * (problem.points + readouts)
    unit = 32 * groups
    count = -(-(max(_SAMPLES, 2 * least) if samples is None else samples) // unit) * unit
    if count < least:
        raise ValueError(
            f"samples must be {least} or more, 2 x groups x (points + readouts), for second "
            f"moments to be exact; got {samples}"
        )
    times, kernel = kept_times(problem, kept), problem.kernel
    item = kernel.element_size()

    def bytes_of(points: int) -> int:
        paths = 8 + 3 * problem.outputs + 2 * len(times) * (1 + problem.outputs)
        held = paths * points * (count // groups) * item
        outputs = groups * (problem.steps + 1) * points * problem.outputs * item
        return held + outputs + 2 * kernel_bytes(problem, len(times), points)

    require_memory(
        bytes_of, problem.points, "points", "solver particles", memory, kernel.device, FEWER_SAMPLES
    )

    def tick(group: int, done: int) -> None:
        if progress is not None:
            progress(group * problem.steps + done, groups * problem.steps)

    factor, size = lower_factor(kernel), count // groups
    outputs: list[Tensor] = []
    features, gradients = kernel.new_zeros(()), kernel.new_zeros(())
    for group in range(groups):
        draws = generator(seed, "particles", group, device=kernel.device)
        h, z = _neurons(problem, factor, size, draws)
        made = train(problem, h, z, 1 / size, times, partial(tick, group))
        outputs.append(made.outputs)
        features = features + made.features / groups
        gradients = gradients + made.gradients / groups
    every = torch.stack(outputs)
    settings = {"samples": count, "groups": groups, "seed": seed}
    return Solution(
        problem, "particles", every.mean(0), times, features, gradients,
        jackknife(problem, every), {}, settings,
    )  # fmt: skip


def _neurons(
    problem: Problem, factor: Tensor, size: int, draws: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Fields (P, size) and readouts (heads, C, size) at the start."""
    shape = (problem.heads, problem.outputs, size)
    if problem.readout_std == 0:  # a pair would be one neuron twice
        return factor @ _orthonormal(problem.points, size, draws, factor), factor.new_zeros(shape)
    z = _orthonormal(problem.heads * problem.outputs, size // 2, draws, factor)
    h = factor @ _orthonormal(problem.points, size // 2, draws, factor)
    return torch.cat([h, h], 1), problem.readout_std * torch.cat([z, -z], 1).view(shape)


def _orthonormal(
    rows: int, columns: int, draws: torch.Generator, like: Tensor
) -> Float[Tensor, "rows columns"]:
    """Normal numbers x, made orthonormal one after the other: x x^T = columns exactly."""
    x = torch.randn(rows, columns, generator=draws, dtype=like.dtype, device=like.device)
    return torch.linalg.qr(x.T).Q.T * columns**0.5
