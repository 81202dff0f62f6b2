"""What happens within a task, between the rows of R[i, j]: dips, gaps and speed.

A trace holds the evaluations made while one task was trained: row n the n-th of them, column j the
accuracy on task j (`Record.trace`). All need evaluations within tasks (``evaluate_every``); without
them the result is NaN, never the value at the ends of tasks alone, which would hide what is asked.
"""

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float, Int

from holdfast.records.metrics import Matrix

Trace = Float[np.ndarray, "_ tasks"]
Part = Literal["old", "new", "all"]


def tasks_of(part: Part, task: int) -> slice:
    """The tasks of a part while `task` is trained: ``old`` before it, ``new`` itself, ``all``.

    Raises:
        ValueError: an unknown part.
    """
    if part not in get_args(Part):
        raise ValueError(f"part must be one of {get_args(Part)}, got {part!r}")
    return {"old": slice(0, task), "new": slice(task, task + 1), "all": slice(0, task + 1)}[part]


def min_accuracy(accuracy: Matrix, traces: Sequence[Trace]) -> float:
    """min-ACC: mean over the tasks before the last of the lowest accuracy since each was learned.

    (1/(T-1)) sum_{j<T-1} min_n a_j(n), n over all evaluations during and at the end of the tasks
    after j. De Lange et al., 2023.

    Args:
        accuracy: (T, T) R, the ends of tasks.
        traces: T of them, one a task; the first is not read.
    """
    _check(accuracy, traces)
    count = len(accuracy)
    if count == 1 or any(not len(trace) for trace in traces[1:]):
        return float("nan")
    lows = np.array([np.minimum(traces[k].min(axis=0), accuracy[k]) for k in range(1, count)])
    return float(np.mean([lows[j:, j].min() for j in range(count - 1)]))


def worst_case_accuracy(accuracy: Matrix, traces: Sequence[Trace]) -> float:
    """WC-ACC: (1/T) R[T-1, T-1] + (1 - 1/T) min-ACC. De Lange et al., 2023."""
    last = 1 / len(accuracy)
    return float(last * accuracy[-1, -1] + (1 - last) * min_accuracy(accuracy, traces))


def accuracy_gap(
    accuracy: Matrix,
    traces: Sequence[Trace],
    part: Part = "old",
    reference: Literal["before", "after"] | Matrix = "before",
) -> float:
    """Mean relative shortfall of the accuracy while tasks are trained.

    (1/(T-1)) sum_{0<k} (1/n_k) sum_n max(0, 1 - a_k(n) / ref_k), a_k(n) the mean accuracy on the
    part's tasks at the n-th evaluation within task k. ``old`` is the stability gap, ``new`` the
    plasticity gap, ``all`` the continual-knowledge gap (Harun & Kanan, 2024, whose reference is
    joint training).

    Args:
        accuracy: (T, T) R.
        traces: T of them, one a task; the first is not read.
        part: tasks averaged over: those before task k, task k itself, or both.
        reference: ref_k is the mean over the same tasks of: ``before``, R[k-1], so that lasting
            forgetting counts too (``old`` alone); ``after``, R[k], so that only what recovers
            within the task counts; or row k of a (T, T) matrix, such as the accuracy of joint
            training.

    Raises:
        ValueError: ``before`` with a part that holds the new task, or an unknown reference.

    NaN when a reference is 0.
    """
    _check(accuracy, traces)
    if isinstance(reference, np.ndarray):
        if reference.shape != accuracy.shape:
            raise ValueError(f"reference must have shape {accuracy.shape}, got {reference.shape}")
        rows = reference
    elif reference == "before":
        if part != "old":
            raise ValueError(
                f"reference='before' knows no accuracy on the new task; with part={part!r} give "
                "'after' or the matrix of joint training"
            )
        rows = np.roll(accuracy, 1, axis=0)
    elif reference == "after":
        rows = accuracy
    else:
        raise ValueError(f"reference must be 'before', 'after' or a matrix, got {reference!r}")
    gaps = []
    for k in range(1, len(accuracy)):
        tasks = tasks_of(part, k)
        level = rows[k, tasks].mean()
        if not len(traces[k]) or not level > 0:
            return float("nan")
        gaps.append(np.maximum(0, 1 - traces[k][:, tasks].mean(axis=1) / level).mean())
    return float(np.mean(gaps)) if gaps else float("nan")


def anytime_accuracy(traces: Sequence[Trace]) -> float:
    """AAA: mean over all evaluations of the mean accuracy on the tasks seen by then.

    An evaluation within task k averages over tasks 0 .. k. Caccia et al., 2022.
    """
    seen = [trace[:, : k + 1].mean(axis=1) for k, trace in enumerate(traces)]
    if any(not len(values) for values in seen):
        return float("nan")
    return float(np.concatenate(seen).mean())


def steps_to(
    steps: Int[np.ndarray, " evaluations"],
    values: Float[np.ndarray, " evaluations"],
    target: float,
) -> float:
    """The first of the ascending `steps` at which `values` reaches `target`.

    NaN when none does, or when an unknown value comes before it. As fine as the evaluations are;
    it may fall below the target again.
    """
    reached = np.flatnonzero(values >= target)
    if not len(reached) or np.isnan(values[: reached[0]]).any():
        return float("nan")
    return float(steps[reached[0]])


def _check(accuracy: np.ndarray, traces: Sequence[np.ndarray]) -> None:
    count = len(accuracy)
    if len(traces) != count or any(trace.shape[1:] != (count,) for trace in traces):
        raise ValueError(
            f"traces must be {count} arrays of (evaluations, {count}), got "
            f"{[trace.shape for trace in traces]}"
        )
