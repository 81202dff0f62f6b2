"""What was found, in words and aligned columns."""

import math
from collections.abc import Sequence

from holdfast.records.intervals import Interval
from holdfast.theory.problem import Problem, base_width_gamma0


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Rows of text, their columns aligned to the right.

    >>> print(aligned([["width", "gap"], ["64", "0.1"]]))
    width  gap
       64  0.1
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    )


def shown(value: float | Interval) -> str:
    """A number, with its interval where it has one.

    >>> shown(0.12345), shown(Interval(0.5, 0.25, 0.75)), shown(math.nan)
    ('0.123', '0.5 [0.25, 0.75]', '-')
    """
    if not isinstance(value, Interval):
        return "-" if math.isnan(value) else f"{value:.3g}"
    if math.isnan(value.mean):
        return "-"
    known = not math.isnan(value.low)
    return f"{value.mean:.3g}" + (f" [{value.low:.3g}, {value.high:.3g}]" if known else "")


def gamma0_words(gamma0: float) -> str:
    """In both units.

    >>> gamma0_words(0.1)
    'gamma0 0.1 absolute (0.8 at base width 64)'
    """
    return f"gamma0 {gamma0:.3g} absolute ({base_width_gamma0(gamma0):.3g} at base width 64)"


def problem_words(problem: Problem) -> str:
    """What is asked, in a line."""
    counts = "+".join(str(len(problem.of_task(k))) for k in range(problem.tasks))
    return (
        f"{problem.tasks} tasks of {counts} points, {problem.steps} steps, depth {problem.depth}, "
        f"{problem.activation.name}, {gamma0_words(problem.gamma0)}"
    )
