"""The error against gamma0 of a narrow net and of the wide one it stands for."""

import math
from collections.abc import Mapping

from matplotlib.figure import Figure

from holdfast.reports.cells import Columns
from holdfast.reports.line import line_figure
from holdfast.reports.style import house_style

_INK = "0.35"


def transfer_figure(
    columns: Columns,
    metric: str,
    chosen: float = math.nan,
    levels: Mapping[str, float] | None = None,
) -> Figure:
    """An error against gamma0, a line a width, with bootstrap intervals over seeds.

    Args:
        columns: the table, a row a run: ``gamma0``, ``width`` and the metric. A point is hollow
            where some runs have no value.
        metric: the error's column.
        chosen: gamma0 marked by an upright line; NaN marks none.
        levels: errors of other nets, by name, drawn as level lines; NaN is left out.

    Raises:
        ValueError: a column that is not there, columns of different length, or no rows.
    """
    figure = line_figure(columns, "gamma0", metric, "width", log_x=True)
    axes = figure.axes[0]
    with house_style():
        if not math.isnan(chosen):
            axes.axvline(chosen, color=_INK, linewidth=0.8, linestyle="--", zorder=0)
        for name, level in (levels or {}).items():
            if math.isnan(level):
                continue
            axes.axhline(level, color=_INK, linewidth=0.8, linestyle=":", zorder=0)
            axes.annotate(
                name, (1, level), xycoords=axes.get_yaxis_transform(),
                ha="right", va="bottom", size=7, color=_INK,
            )  # fmt: skip
    return figure
