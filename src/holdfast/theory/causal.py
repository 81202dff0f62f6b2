"""Deep networks of infinite width with any activation, in one pass through time."""

import warnings
from collections.abc import Sequence

import torch

from holdfast.seeds import derive
from holdfast.theory.jackknife import jackknife
from holdfast.theory.kept import kept_times
from holdfast.theory.memory import FEWER_SAMPLES, kernel_bytes, require_memory
from holdfast.theory.problem import Problem
from holdfast.theory.solution import Progress, Solution
from holdfast.theory.sweep import Swept, sweep

_SAMPLES = 32_768
_MOST_DROPPED = 0.05
"""Share of the variance of paths; leaving out 0.04 was seen to change losses by less than 0.5 %."""


def causal(
    problem: Problem,
    *,
    kept: int | Sequence[int] | None = None,
    samples: int | None = None,
    groups: int = 8,
    tolerance: float = 1e-3,
    responses: bool = True,
    seed: int = 0,
    memory: int | None = None,
    progress: Progress | None = None,
) -> Solution:
    """Solve a deep network by sampled neurons of each layer, without iterating.

    In each hidden layer neurons are independent given the fields that drive them,

        h^l(t) = u^l(t) + sum_(s < t)  [A^(l-1)(t, s) + Phi^(l-1)(t, s) U(s)] g^l(s),
        z^l(t) = r^l(t) + sum_(s <= t) [B^(l+1)(t, s) + G^(l+1)(t, s) U(s)] phi(h^l(s)),
        g^l = phi'(h^l) z^l,   U(s) = eta(s) gamma_0 m(s) Delta(s),   f = <z^L phi(h^L)> / gamma_0

    with u^l ~ N(0, Phi^(l-1)), r^l ~ N(0, G^(l+1)) and the responses A^l = <d phi(h^l) / d r^l>,
    B^l = <d g^l / d u^l> (Bordelon & Pehlevan, 2022, section 3; here for sequences of tasks, with
    the readout f of discrete steps). What happens at t depends on earlier times alone, so kernels,
    fields and responses are found in one pass, at each time up through the layers and down again.
    `Weights` says how: kernels over time are kept by factors of low rank r, and responses found by
    Stein's lemma. O(L T P C r S) time and O(L r S) memory, with r far below T P C where training is
    smooth.

    `groups` ensembles of S = samples / groups neurons a layer are followed independently and
    averaged. The jackknife over them gives the standard error of the losses, of order
    samples^(-1/2); the bias is of order 1 / S.

    `responses` of the solution hold, among kept times, what A and B do to fields:
    ``features``[l - 1] (R, P, R, P C) is <phi(h^l(t)) r^l(s)> = sum A^l(t, .) G^(l+1)(., s) and
    ``gradients``[l - 1] (R, P C, R, P) is <g^(l+1)(t) u^(l+1)(s)> = sum B^(l+1)(t, .) Phi^l(., s),
    for l = 1 .. L - 1. Single entries of A and B are not fixed by a smooth field.

    Args:
        problem: of any depth.
        kept: see `kept_times`.
        samples: neurons a layer in all; by default 32,768, more for over 256 columns P C.
        groups: independent ensembles, 2 or more.
        tolerance: variance of a path, relative to the largest, below which it counts as known from
            paths before it; kernels are off by about as much.
        responses: False leaves A and B out, which is wrong, to see what they do.
        seed: of the draws.
        memory: bytes allowed; what is available by default.
        progress: called with the steps done and their number, of all groups together.

    Raises:
        TypeError, ValueError: sizes out of range, or more memory needed than there is.

    Warns:
        UserWarning: paths have far more directions than samples can follow (S / 4), as those of
            ReLU's gradients may in long training. `settings` have the ranks, and what share of
            variance was left out.
    """
    kernel, columns = problem.kernel, problem.points * problem.outputs
    for name, size, least in (("groups", groups, 2), ("samples", samples, 1), ("seed", seed, 0)):
        if size is None and name == "samples":
            continue
        if type(size) is not int or size < least:
            raise ValueError(f"{name} must be an integer of {least} or more, got {size!r}")
    finest = 100 * torch.finfo(kernel.dtype).eps
    if not finest <= tolerance < 1:
        raise ValueError(
            f"tolerance must lie between {finest:.1g}, what {kernel.dtype} resolves, and 1, got "
            f"{tolerance!r}"
        )
    # Draws of a kind are orthonormal over a quarter of the samples: at the start there are as many
    # as columns, and as many again should fit.
    least = 8 * groups * max(columns, problem.heads * problem.outputs)
    unit = 64 * groups
    count = -(-(max(_SAMPLES, 2 * least) if samples is None else samples) // unit) * unit
    if count < least:
        raise ValueError(
            f"samples must be {least} or more, 8 x groups x points x outputs, for second moments "
            f"to be exact; got {samples}"
        )
    times, size = kept_times(problem, kept), count // groups
    item = kernel.element_size()

    def bytes_of(points: int) -> int:
        rows = points * problem.outputs
        rank = min(size // 4, (problem.steps + 1) * rows)
        # Bases, images and draws, which are copied as they grow; moving images have speeds.
        plain = problem.schedule.momentum == 0 and problem.schedule.weight_decay == 0
        matrices = (8 if plain else 12) * problem.depth * rank
        paths = problem.depth * (4 + len(times)) * (points + rows)
        held = (matrices + paths) * size * item
        outputs = (groups + 1) * (problem.steps + 1) * rows * item
        return held + outputs + 3 * kernel_bytes(problem, len(times), points)

    require_memory(
        bytes_of, problem.points, "points", "solver causal", memory, kernel.device, FEWER_SAMPLES
    )
    done = iter(range(1, groups * problem.steps + 1))

    def tick() -> None:
        if progress is not None:
            progress(next(done), groups * problem.steps)

    found: list[Swept] = []
    for group in range(groups):
        own = derive(seed, "causal", group)
        found.append(sweep(problem, times, size, own, tolerance, responses, tick))
    dropped = max(swept.dropped for swept in found)
    if dropped > _MOST_DROPPED:
        warnings.warn(
            f"paths of features or gradients have more than {size // 4} directions, the most that "
            f"{size} samples a group allow, and {dropped:.2g} of their variance was left out; take "
            "more samples, fewer groups or a larger tolerance",
            stacklevel=2,
        )
    every = torch.stack([swept.outputs for swept in found])
    settings = {
        "samples": count, "groups": groups, "tolerance": tolerance, "responses": responses,
        "seed": seed, "ranks": [list(pair) for pair in found[0].ranks], "dropped": dropped,
    }  # fmt: skip
    return Solution(
        problem, "causal", every.mean(0), times,
        torch.stack([swept.features for swept in found]).mean(0),
        torch.stack([swept.gradients for swept in found]).mean(0),
        jackknife(problem, every),
        {
            name: torch.stack([swept.responses[name] for swept in found]).mean(0)
            for name in found[0].responses
        },
        settings,
    )  # fmt: skip
