"""A coordinate check: lines that should be flat."""

import json
from pathlib import Path

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator, StrMethodFormatter

from holdfast.records.files import write_atomic
from holdfast.records.strict_json import plain
from holdfast.reports.save import save_figure
from holdfast.reports.style import (
    MARKERS,
    PALETTE,
    Colour,
    colours,
    house_style,
    new_figure,
    shortened,
)
from holdfast.richness.drift import Coordinates


def coordinates_figure(check: Coordinates) -> Figure:
    """Size at the start and movement of each layer against width or depth, all logarithmic.

    Lines go through geometric means over seeds, with a dot a seed; those of layers out of their
    band are dashed. Where nothing moves, or the output starts as 0, there is none. The slopes of
    the movements stand beside the names.
    """
    slopes, faulty = check.moved_slopes.mean, {fault.layer for fault in check.faults}
    with house_style():
        figure = new_figure(9.0, max(3.4, 0.6 + 0.17 * len(check.layers)))
        panels = figure.subplots(1, 2)
        hues = colours(len(check.layers))
        for i, (layer, hue) in enumerate(zip(check.layers, hues, strict=True)):
            marker = MARKERS[i] if len(check.layers) <= len(PALETTE) else "."
            slope = f"  {round(slopes[i], 2) + 0.0:+.2f}" if np.isfinite(slopes[i]) else ""
            label = shortened(layer, 30) + slope
            for axes, values in zip(panels, (check.start, check.moved), strict=True):
                style = "--" if layer in faulty else "-"
                _draw(axes, check.sizes, values[:, :, i], hue, marker, style, label)
        for axes, title in zip(panels, ("size at the start", "movement"), strict=True):
            axes.set(xscale="log", yscale="log", xlabel=check.over, title=title)
            axes.set_xticks(check.sizes, [str(size) for size in check.sizes])
            axes.xaxis.set(major_locator=FixedLocator(check.sizes), minor_locator=NullLocator())
            _show_decades(axes)
        panels[0].set_ylabel("root mean square of entries")
        handles, labels = panels[1].get_legend_handles_labels()
        figure.legend(
            handles, labels, loc="outside right center", title="layer, slope", fontsize="small"
        )
    return figure


def _draw(
    axes: Axes,
    sizes: tuple[int, ...],
    values: Float[np.ndarray, "sizes seeds"],
    colour: Colour,
    marker: str,
    style: str,
    label: str,
) -> None:
    # A logarithmic axis has no place for 0, and none for what diverged.
    known = np.where(np.isfinite(values) & (values > 0), values, np.nan)
    line = np.exp(np.log(known).mean(axis=1))
    axes.plot(sizes, line, linestyle=style, color=colour, marker=marker, label=label)
    across = np.repeat(np.array(sizes), values.shape[1])
    axes.plot(across, known.ravel(), ".", color=colour, markersize=2, alpha=0.6)


def _show_decades(axes: Axes) -> None:
    """One decade at least: on a finer scale the scatter of seeds would look like a drift."""
    low, high = axes.get_ylim()
    if high < 10 * low:
        spread = np.sqrt(10 * low / high)
        axes.set_ylim(low / spread, high * spread)
    axes.yaxis.set(major_formatter=StrMethodFormatter("{x:g}"), minor_formatter=NullFormatter())


def save_coordinates(check: Coordinates, folder: str | Path) -> list[Path]:
    """Write ``coordinates.json`` and the figure, ``coordinates.png`` and ``.svg``.

    Returns:
        The files written.

    Raises:
        OSError: a file could not be written; that of before is untouched.
    """
    target = Path(folder) / "coordinates.json"
    found = json.dumps(plain(check.to_dict(), "coordinates"), indent=1, allow_nan=False)
    write_atomic(target, found + "\n")
    return [target, *save_figure(coordinates_figure(check), Path(folder) / "coordinates")]
