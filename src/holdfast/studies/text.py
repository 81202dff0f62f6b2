"""Rows of text as a table."""

from collections.abc import Sequence
from typing import Literal, get_args

Markup = Literal["text", "markdown"]


def table_text(rows: Sequence[Sequence[str]], markup: Markup = "text") -> str:
    """Rows, the first of them the head, as aligned text or as Markdown.

    The first column is aligned to the left, the others to the right.

    Raises:
        ValueError: an unknown markup.

    >>> print(table_text([["method", "acc"], ["ewc", "0.8"], ["finetune", "0.5"]]))
    method    acc
    ewc       0.8
    finetune  0.5
    >>> print(table_text([["method", "acc"], ["ewc", "0.8"]], "markdown"))
    | method | acc |
    | --- | ---: |
    | ewc | 0.8 |
    """
    if markup not in get_args(Markup):
        raise ValueError(f"markup must be one of {get_args(Markup)}, got {markup!r}")
    if markup == "markdown":
        head, *body = [[cell.replace("|", "\\|") for cell in row] for row in rows]
        rule = ["---", *["---:"] * (len(head) - 1)]
        return "\n".join(f"| {' | '.join(row)} |" for row in [head, rule, *body])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *others in rows:
        aligned = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        lines.append("  ".join([first.ljust(widths[0]), *aligned]).rstrip())
    return "\n".join(lines)
