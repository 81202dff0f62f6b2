"""Runs side by side, as bars."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from holdfast.reports.style import PALETTE, house_style, new_figure, shortened
from holdfast.reports.values import Runs, digits_of, main_metrics, metric_values, repeats


def comparison_figure(runs: Runs, metrics: Sequence[str] | None = None) -> Figure:
    """A panel a metric, a bar a name: the mean over its runs, with a dot a run.

    The number beside a bar is that mean; it is ``-`` and there is no bar where a run lacks the
    value, as after divergence (the dots of the others are drawn).

    Args:
        runs: records by name.
        metrics: names of `Record.metrics`, ``seconds``, ``cpu_seconds``; by default accuracy and
            forgetting, or losses for regression.

    Raises:
        ValueError: no runs, or an unknown metric.
    """
    lists = repeats(runs)
    metrics = main_metrics(lists) if metrics is None else metrics
    tables = [[metric_values(records, metric) for records in lists.values()] for metric in metrics]
    rows = np.arange(len(lists))
    with house_style():
        figure = new_figure(1.6 + 3.0 * len(metrics), 0.9 + 0.34 * len(lists))
        panels = figure.subplots(1, len(metrics), sharey=True, squeeze=False)[0]
        for axes, metric, values, colour in zip(
            panels, metrics, tables, (PALETTE * len(metrics))[: len(metrics)], strict=True
        ):
            means = [float(v.mean()) for v in values]
            axes.barh(rows, means, height=0.62, color=colour, alpha=0.75)
            for row, (mean, each) in enumerate(zip(means, values, strict=True)):
                if len(each) > 1:
                    axes.plot(each, np.full(len(each), row), "o", color="black", markersize=2.5)
                text = "-" if np.isnan(mean) else f"{mean:.{digits_of(metric)}f}"
                axes.annotate(
                    text, (1.02, row), xycoords=axes.get_yaxis_transform(), va="center", size=8
                )
            axes.axvline(0, color="0.3", linewidth=0.8)
            axes.grid(False, axis="y")
            axes.tick_params(axis="y", length=0)
            axes.set_xlabel(metric)
            if metric == "la" or metric.endswith("acc"):
                axes.set_xlim(0, 1)
        panels[0].set_yticks(rows, [shortened(name, 28) for name in lists])
        panels[0].set_ylim(len(lists) - 0.4, -0.6)
    return figure
