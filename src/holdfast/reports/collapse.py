"""Curves against gamma0, and against gamma0 rescaled."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, StrMethodFormatter

from holdfast.reports.gamma import add_legend, curve_lines, legend_width
from holdfast.reports.line import draw_line
from holdfast.reports.style import house_style, new_figure
from holdfast.studies.richness.collapse import collapse_quality, rescaled
from holdfast.studies.richness.curves import GammaCurve
from holdfast.studies.richness.text import rescaling_text


def collapse_figure(
    x: str,
    metric: str,
    curves: Sequence[GammaCurve],
    exponents: Mapping[str, float],
    title: str = "",
    level: float = 0.95,
) -> Figure:
    """Two panels: curves against gamma0, and against gamma0 x product of setting^exponent.

    Over each stands the spread between the curves (see `holdfast.studies.richness.Collapse`), and
    in brackets what seeds alone would make of it.

    Args:
        x: name of the axis.
        metric: name of what the curves hold.
        curves: two or more, over the same seeds.
        exponents: of the rescaling, by setting.
        title: of the whole.
        level: of the bands, bootstrap intervals of the means.

    Raises:
        ValueError: see `holdfast.studies.richness.collapse_quality`.
    """
    scales: list[Mapping[str, float]] = [{}, exponents]
    found = [collapse_quality(curves, scale) for scale in scales]
    with house_style():
        figure = new_figure(7.4 + legend_width(curves), 3.3)
        if title:
            figure.suptitle(title, x=0.02, ha="left", size=10)
        panels = figure.subplots(1, 2, sharey=True)
        lines = curve_lines(curves, level)
        for panel, scale, quality in zip(panels, scales, found, strict=True):
            for curve, line in zip(curves, lines, strict=True):
                draw_line(panel, line._replace(positions=rescaled(curve, scale)), banded=True)
            panel.set_xscale("log")
            panel.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
            panel.xaxis.set_minor_formatter(NullFormatter())
            panel.set_xlabel(rescaling_text(x, scale))
            seeds = "" if np.isnan(quality.noise) else f" ({quality.noise:.2g} by seeds)"
            panel.set_title(f"spread {quality.spread:.2g}{seeds}", loc="left", size=9)
        panels[0].set_ylabel(metric)
        add_legend(figure, panels[0], curves, lines)
    return figure
