"""One door to all solvers."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from holdfast.theory.causal import causal
from holdfast.theory.closure import closure
from holdfast.theory.lazy import lazy
from holdfast.theory.linear import linear
from holdfast.theory.particles import particles
from holdfast.theory.problem import Problem
from holdfast.theory.solution import Progress, Solution
from holdfast.theory.stability import warn_of_unstable_rates

SOLVERS: dict[str, Callable[..., Solution]] = {
    "closure": closure,
    "particles": particles,
    "linear": linear,
    "causal": causal,
    "lazy": lazy,
}


def solve(
    problem: Problem,
    solver: str = "auto",
    *,
    kept: int | Sequence[int] | None = None,
    memory: int | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Solution:
    """Train a network of infinite width.

    | solver | networks | answer |
    |---|---|---|
    | ``closure`` | two-layer, linear | exact |
    | ``linear`` | linear of any depth | exact |
    | ``particles`` | two-layer, any activation | sampled |
    | ``causal`` | any | sampled |
    | ``lazy`` | any, in the limit gamma_0 -> 0 | exact |

    Args:
        problem: what is trained on what.
        solver: one of those, or ``auto`` for the first of the first four that takes the network.
        kept: times at which kernels are kept, or how many of them (see `kept_times`).
        memory: bytes allowed; what is available by default.
        progress: called with the steps done and their number.
        options: of the solver.

    Returns:
        The solution; where the solver was chosen, its `solver` says why.

    Raises:
        TypeError, ValueError: an unknown solver or option, a network the solver does not take, or
            more memory needed than there is, all before the work starts.

    Warns:
        UnstableRateWarning: a learning rate past what the network bears at the start.
    """
    if solver not in ("auto", *SOLVERS):
        raise ValueError(f"solver must be 'auto' or one of {', '.join(SOLVERS)}; got {solver!r}")
    name, why = _chosen(problem) if solver == "auto" else (solver, "")
    known = list(inspect.signature(SOLVERS[name]).parameters)[1:]
    for option in options:
        if option not in known:
            raise TypeError(f"solver {name} has no option {option!r}; it has {', '.join(known)}")
    warn_of_unstable_rates(problem)
    found = SOLVERS[name](problem, kept=kept, memory=memory, progress=progress, **options)
    return replace(found, solver=f"{name}: {why}") if why else found


def _chosen(problem: Problem) -> tuple[str, str]:
    if problem.activation.linear and problem.depth == 1:
        return "closure", "two layers and linear, so second moments say all"
    if problem.activation.linear:
        return "linear", "linear, so that nothing need be sampled"
    if problem.depth == 1:
        return "particles", "two layers, whose neurons are independent samples"
    return "causal", "deep and not linear, so fields are sampled layer by layer"
