"""Runs side by side, as text."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Float

from holdfast.records.record import Record
from holdfast.reports.values import Runs, digits_of, main_metrics, metric_values, repeats


def comparison_table(
    runs: Runs,
    metrics: Sequence[str] | None = None,
    markup: Literal["text", "markdown"] = "text",
) -> str:
    """A row a name, a column a metric; repeats as mean ± standard deviation (n - 1).

    A value that any repeat lacks shows as ``-``. How many runs there are, and how many of them did
    not complete, is told where it is not one and none.

    Args:
        runs: records by name.
        metrics: names of `Record.metrics`, ``seconds``, ``cpu_seconds``; by default accuracy and
            forgetting (losses for regression) and seconds.
        markup: aligned text or a Markdown table.

    Raises:
        ValueError: no runs, or an unknown metric.
    """
    lists = repeats(runs)
    metrics = (*main_metrics(lists), "seconds") if metrics is None else metrics
    columns: dict[str, list[str]] = {"": list(lists)}
    if any(len(records) > 1 for records in lists.values()):
        columns["runs"] = [str(len(records)) for records in lists.values()]
    for metric in metrics:
        digits = digits_of(metric)
        columns[metric] = [_cell(metric_values(r, metric), digits) for r in lists.values()]
    endings = [_ending(records) for records in lists.values()]
    if any(endings):
        columns["status"] = endings
    rows = [list(columns), *map(list, zip(*columns.values(), strict=True))]
    return _markdown(rows) if markup == "markdown" else _aligned(rows)


def _cell(values: Float[np.ndarray, " runs"], digits: int) -> str:
    mean = values.mean()
    if np.isnan(mean):
        return "-"
    spread = f" ± {values.std(ddof=1):.{digits}f}" if len(values) > 1 else ""
    return f"{mean:.{digits}f}{spread}"


def _ending(records: Sequence[Record]) -> str:
    counts = {
        status: sum(r.status == status for r in records) for status in ("running", "diverged")
    }
    found = [f"{n} {status}" if len(records) > 1 else status for status, n in counts.items() if n]
    return ", ".join(found)


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *others in rows:
        cells = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        lines.append("  ".join([first.ljust(widths[0]), *cells]).rstrip())
    return "\n".join(lines)


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    head, *body = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, rule, *body])
