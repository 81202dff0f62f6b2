"""Deep linear networks of infinite width, without sampling."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from holdfast.theory.explored import Explored, widened
from holdfast.theory.kept import kept_times
from holdfast.theory.memory import kernel_bytes, require_memory
from holdfast.theory.problem import Problem
from holdfast.theory.solution import Progress, Solution
from holdfast.theory.square_root import lower_factor


def linear(
    problem: Problem,
    *,
    kept: int | Sequence[int] | None = None,
    tolerance: float | None = None,
    memory: int | None = None,
    progress: Progress | None = None,
) -> Solution:
    """Solve a deep linear network by a finite one that grows when it has to.

    As in `Explored`, hidden activations and gradients become vectors whose inner products are
    averages over the layer, and training is gradient descent on small matrices. With ranks r this
    takes O(T L r^2 (P + K C)) time and O(L r^2) memory; r is P + K C at the start and grows with
    the number of directions that gradients take over time, which is a few for each head and output
    where training is smooth and at most one a step.

    Args:
        problem: of linear activation.
        kept: see `kept_times`.
        tolerance: length, relative to the longest path, of what is new in a path and left out; a
            thousand times the precision by default. Errors were seen to be a hundredth of it.
        memory: bytes allowed; what is available by default.
        progress: called with the steps done and their number.

    Raises:
        ValueError: another activation, a tolerance below a hundred times the precision or above
            1, or more memory needed than there is.
    """
    if not problem.activation.linear:
        raise ValueError(
            f"linear solves networks with activation linear, got {problem.activation.name}; take "
            "solver 'particles' for depth 1, 'causal' for deep networks"
        )
    kernel, times = problem.kernel, kept_times(problem, kept)
    precision = torch.finfo(kernel.dtype).eps
    if tolerance is None:
        tolerance = 1000 * precision
    if not 100 * precision <= tolerance < 1:
        raise ValueError(
            f"tolerance must lie between {100 * precision:.2g}, where rounding errors would be "
            f"taken for something new, and 1; got {tolerance!r}"
        )
    item, readouts = kernel.element_size(), problem.heads * problem.outputs

    def bytes_of(points: int) -> int:
        rank = 2 * points + 60 * problem.depth * readouts  # what smooth training was seen to need
        held = problem.depth * rank * (4 * rank + 2 * len(times) * (points + readouts))
        outputs = (problem.steps + 1) * points * problem.outputs
        return (held + outputs) * item + kernel_bytes(problem, len(times), points)

    require_memory(bytes_of, problem.points, "points", "solver linear", memory, kernel.device)
    inputs, net = lower_factor(kernel), Explored(problem, tolerance)
    outputs = kernel.new_empty(problem.steps + 1, problem.points, problem.outputs)
    seen: list[list[Tensor]] = []
    seen_back: list[list[Tensor]] = []
    for t in range(problem.steps + 1):
        h = net.forward(inputs)
        outputs[t] = _of_own_head(problem, h[-1]) / problem.gamma0
        g = net.backward()
        if t in times:
            seen.append(h[1:-1])
            seen_back.append(g)
        if t == problem.steps:
            break
        schedule = problem.schedule
        pull = problem.gamma0 * schedule.weights[t].unsqueeze(1) * problem.error(outputs[t])
        net.step(h, g, _by_readout(problem, pull), float(schedule.lr[t]))
        if progress is not None:
            progress(t + 1, problem.steps)
    ranks = [w.shape[1] for w in net.weights[1:]]
    features = [_moments([h[i] for h in seen], rank) for i, rank in enumerate(ranks)]
    gradients = [_moments([g[i] for g in seen_back], rank) for i, rank in enumerate(ranks)]
    own = _readouts(problem).flatten()
    return Solution(
        problem, "linear", outputs, times, torch.stack(features),
        torch.stack(gradients)[:, :, own][..., own], None, {},
        {"tolerance": tolerance, "ranks": ranks},
    )  # fmt: skip


def _readouts(problem: Problem) -> Int64[Tensor, "points outputs"]:
    """Which of the K C readouts gives each output of each point."""
    outputs = torch.arange(problem.outputs, device=problem.head.device)
    return problem.head.unsqueeze(1) * problem.outputs + outputs


def _of_own_head(problem: Problem, every: Float[Tensor, "points readouts"]) -> Tensor:
    return every.gather(1, _readouts(problem))


def _by_readout(problem: Problem, pull: Float[Tensor, "points outputs"]) -> Tensor:
    every = pull.new_zeros(len(pull), problem.heads * problem.outputs)
    return every.scatter(1, _readouts(problem), pull)


def _moments(paths: Sequence[Tensor], rank: int) -> Float[Tensor, "kept rows kept rows"]:
    rows = torch.cat([widened(path, rank) for path in paths])
    return (rows @ rows.T).view(len(paths), len(paths[0]), len(paths), len(paths[0]))
