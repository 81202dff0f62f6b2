"""A result matrix as text."""

from collections.abc import Iterable, Sequence

import numpy as np

from holdfast.records.metrics import Matrix

_WIDEST = 100
"""Letters in a line, where names of tasks can be kept out of it."""


def matrix_text(tasks: Sequence[str], matrix: Matrix, largest: int = 12) -> str:
    """R[i, j] as aligned text, a row a stage; more than `largest` tasks as a row a task.

    Where the names of the tasks make lines too long, their positions head the columns. The long
    form gives what each task reached when it was learned and at the end. Unknown entries show as
    ``-``.

    >>> print(matrix_text(["a", "b"], np.array([[0.9, np.nan], [0.5, 1.0]])))
    after      a      b
    a      0.900      -
    b      0.500  1.000
    """
    if len(tasks) > largest:
        columns = {"learned": matrix.diagonal(), "end": matrix[-1]}
        head, values = ["task", *columns], np.stack(list(columns.values()), axis=1)
    else:
        head, values = ["after", *tasks], matrix
    text = _aligned(head, tasks, values)
    if text.index("\n") > _WIDEST and len(tasks) <= largest:
        places = [str(place) for place in range(len(tasks))]
        named = [f"{place}: {name}" for place, name in zip(places, tasks, strict=True)]
        return _aligned(["after", *places], named, values)
    return text


def _aligned(head: Sequence[str], names: Sequence[str], values: Iterable[np.ndarray]) -> str:
    rows = [[name, *map(_number, row)] for name, row in zip(names, values, strict=True)]
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    return "\n".join(_line(row, widths) for row in [head, *rows])


def _number(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.3f}"


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = cells
    aligned = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
    return "  ".join([first.ljust(widths[0]), *aligned])
