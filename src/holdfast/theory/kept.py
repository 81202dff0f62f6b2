"""The times at which kernels are kept."""

from collections.abc import Sequence

from holdfast.theory.problem import Problem

_TIMES = 21
_COLUMNS = 4096
"""Rows of a matrix of kept kernels, times points times outputs, that are kept unasked."""


def kept_times(problem: Problem, kept: int | Sequence[int] | None = None) -> tuple[int, ...]:
    """Times in order, time t lying before step t and T at the end.

    Args:
        problem: whose times 0 .. T they are.
        kept: the times; or how many at most, spread evenly beside 0 and the ends of tasks, which
            are always among them; by default up to 21, fewer where there are many points.

    Raises:
        TypeError: not integers.
        ValueError: none, or times that are not there.
    """
    last = problem.steps
    if kept is not None and not isinstance(kept, int):
        times = list(kept) if isinstance(kept, Sequence) else []
        if not times or any(type(t) is not int for t in times):
            raise TypeError(f"kept must be a number of times or a list of times, got {kept!r}")
        if min(times) < 0 or max(times) > last:
            raise ValueError(f"kept must be times from 0 to {last}, got {times}")
        return tuple(sorted(set(times)))
    if kept is not None and kept < 1:
        raise ValueError(f"kept must be 1 or more times, got {kept}")
    count = kept or min(_TIMES, _COLUMNS // (problem.points * problem.outputs))
    chosen = {0, last, *problem.ends}
    free = count - len(chosen)
    chosen.update(round(i * last / (free + 1)) for i in range(1, free + 1))
    return tuple(sorted(chosen))
