"""The theory beside finite networks of growing width, in one call."""

from collections.abc import Sequence
from typing import Any

from holdfast.theory.at_width import AtWidth, at_width
from holdfast.theory.comparison import Comparison
from holdfast.theory.finite import require_room, seed_list
from holdfast.theory.problem import Problem
from holdfast.theory.solution import Progress
from holdfast.theory.solve import solve


def compare(
    problem: Problem,
    widths: Sequence[int] = (64, 128, 256, 512, 1024),
    seeds: int | Sequence[int] = 10,
    solver: str = "auto",
    *,
    centred: bool = True,
    memory: int | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Comparison:
    """Solve a problem, and train finite networks of several widths on it.

    Args:
        problem: whose `gamma0` is absolute.
        widths: N of the networks.
        seeds: of each width, or their number.
        solver: see `solve`.
        centred: whether a network's output at the start is subtracted; see `networks`.
        memory: bytes allowed for each part; what is available by default.
        progress: called with the parts done, the solution and the widths, and their number.
        options: of the solver.

    Raises:
        TypeError, ValueError: what cannot be solved or trained, before any work.
    """
    asked, drawn = check_widths(widths), seed_list(seeds)
    for width in asked:
        require_room(problem, width, len(drawn), 1 + problem.tasks, memory)
    parts = len(asked) + 1
    solution = solve(problem, solver, memory=memory, **options)
    if progress is not None:
        progress(1, parts)
    finite: list[AtWidth] = []
    for width in asked:
        finite.append(at_width(solution, width, seeds, centred=centred, memory=memory))
        if progress is not None:
            progress(1 + len(finite), parts)
    return Comparison(solution, tuple(finite))


def check_widths(widths: Sequence[int]) -> tuple[int, ...]:
    """Widths, ascending.

    Raises:
        ValueError: none, one twice, or one that is no positive integer.
    """
    if not isinstance(widths, Sequence):
        raise TypeError(f"widths must be a list of positive integers, got {widths!r}")
    if not widths or any(type(w) is not int or w < 1 for w in widths):
        raise ValueError(f"widths must be positive integers, got {list(widths)}")
    if len(set(widths)) < len(widths):
        raise ValueError(f"widths holds a width twice: {list(widths)}")
    return tuple(sorted(widths))
