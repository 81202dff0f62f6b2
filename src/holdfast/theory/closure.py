"""Two-layer linear networks of infinite width, exactly."""

from collections.abc import Sequence

import torch

from holdfast.theory.kept import kept_times
from holdfast.theory.memory import kernel_bytes, require_memory
from holdfast.theory.problem import Problem
from holdfast.theory.solution import Progress, Solution
from holdfast.theory.square_root import lower_factor
from holdfast.theory.two_layer import train


def closure(
    problem: Problem,
    *,
    kept: int | Sequence[int] | None = None,
    memory: int | None = None,
    progress: Progress | None = None,
) -> Solution:
    """Solve a two-layer linear network without sampling, for any size of step.

    Its neurons (h, z) stay Gaussian, so their second moments H = <h h^T>, c = <z h>, s = <z z^T>
    say all, and close: with one head and output, u = eta U and Ku = K^x u,

        H += Ku c^T + c Ku^T + s Ku Ku^T,   c += s Ku + H u + Ku (u.c),   s += 2 u.c + u^T H u.

    A square root of these moments is carried rather than they: each of its P + K C columns moves
    as a neuron does (K heads, C outputs). So the moments stay positive semidefinite, and kernels
    between times, momentum and weight decay come with it. O(T P^2 K C) time, O(P^2) memory.

    Args:
        problem: of depth 1 and linear activation.
        kept: see `kept_times`.
        memory: bytes allowed; what is available by default.
        progress: called with the steps done and their number.

    Raises:
        ValueError: another network, or more memory needed than there is.
    """
    if problem.depth != 1 or not problem.activation.linear:
        raise ValueError(
            f"closure solves depth 1 with activation linear, got depth {problem.depth} with "
            f"{problem.activation.name}; take solver 'linear' for deep linear networks, "
            "'particles' for other activations"
        )
    times = kept_times(problem, kept)
    kernel, readouts = problem.kernel, problem.heads * problem.outputs
    item = kernel.element_size()

    def bytes_of(points: int) -> int:
        neurons = points + readouts
        paths = 8 + 3 * problem.outputs + 2 * len(times) * (1 + problem.outputs)
        held = paths * points * neurons * item
        outputs = (problem.steps + 1) * points * problem.outputs * item
        return held + outputs + kernel_bytes(problem, len(times), points)

    require_memory(bytes_of, problem.points, "points", "solver closure", memory, kernel.device)
    fields = torch.cat([lower_factor(kernel), kernel.new_zeros(problem.points, readouts)], 1)
    start = torch.cat(
        [
            kernel.new_zeros(readouts, problem.points),
            problem.readout_std * torch.eye(readouts, dtype=kernel.dtype, device=kernel.device),
        ],
        1,
    )
    start = start.view(problem.heads, problem.outputs, -1)
    tick = None if progress is None else lambda done: progress(done, problem.steps)
    made = train(problem, fields, start, 1.0, times, tick)
    return Solution(problem, "closure", made.outputs, times, *made[1:], None, {}, {})
