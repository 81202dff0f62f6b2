"""How figures look: one style, safe for colour-blind readers, whatever the user's own settings."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import matplotlib.style
import numpy as np
from jaxtyping import Float, Shaped
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

Colour = str | tuple[float, ...]

_HOUSE = {
    "figure.dpi": 150,
    "savefig.dpi": 150,
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "0.9",
    "legend.frameon": False,
    "lines.linewidth": 1.5,
    "lines.markersize": 4.5,
    # Names of tasks and methods are words, also with a dollar sign in them.
    "text.parse_math": False,
    # The ids in an SVG file are drawn from this, so that the same figure gives the same file.
    "svg.hashsalt": "holdfast",
}

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9", "#000000", "#7F7F7F")
"""Okabe & Ito, 2008, without the yellow that is lost on white."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
"""One a colour, for readers and printers that see none."""

UNKNOWN = "0.85"
"""Grey of what was not measured."""

_NUMBERED = 12
"""Up to this many cells a side a heat map shows its numbers."""


@contextmanager
def house_style() -> Iterator[None]:
    """Matplotlib's defaults and the house's settings inside the block; the user's after it."""
    with matplotlib.style.context(["default", _HOUSE]):
        yield


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of this size in inches, laid out so that nothing overlaps."""
    return Figure(figsize=(width, height), layout="constrained")


def colours(count: int) -> list[Colour]:
    """`count` colours: the palette, or a ramp in order when there are more than it holds."""
    if count <= len(PALETTE):
        return list(PALETTE[:count])
    ramp = colormaps["viridis"]
    return [ramp(0.95 * i / (count - 1)) for i in range(count)]


def shortened(name: object, longest: int = 18) -> str:
    """`name` as a label: not too long, and never one that a legend would leave out."""
    text = str(name)
    text = text if len(text) <= longest else text[: longest - 1].rstrip() + "…"
    return f" {text}" if text.startswith("_") else text


def tilt_labels(axes: Axes, room: int) -> None:
    """Tilt the labels of the x axis when, each as long as the longest, they take `room` letters."""
    texts = axes.get_xticklabels()
    lengths = [len(text.get_text()) for text in texts]
    if lengths and max(lengths) * len(lengths) > room:
        for text in texts:
            text.set(rotation=45, ha="right", rotation_mode="anchor")


def draw_heat(
    axes: Axes,
    values: Float[np.ndarray, "rows columns"],
    low: float,
    high: float,
    colormap: str,
    marks: Shaped[np.ndarray, "rows columns"] | None = None,
) -> AxesImage:
    """Cells coloured from `low` to `high`, with numbers when they are few; grey where not finite.

    Args:
        axes: to draw on.
        values: row 0 on top.
        low: value of the colormap's first colour.
        high: value of its last.
        colormap: its name in matplotlib.
        marks: text set behind the number of each cell.
    """
    ramp = colormaps[colormap].with_extremes(bad=UNKNOWN)
    axes.grid(False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    shown = np.ma.masked_invalid(values)
    image = axes.imshow(shown, cmap=ramp, vmin=low, vmax=high, aspect="auto")
    if max(values.shape) <= _NUMBERED:
        for (i, j), value in np.ndenumerate(values):
            if np.isnan(value):
                continue
            red, green, blue, _ = ramp(image.norm(value)) if np.isfinite(value) else (1, 1, 1, 1)
            ink = "black" if 0.3 * red + 0.59 * green + 0.11 * blue > 0.5 else "white"
            text = _number(float(value), low, high) + ("" if marks is None else str(marks[i, j]))
            axes.text(j, i, text, ha="center", va="center", color=ink, size=8)
    return image


def _number(value: float, low: float, high: float) -> str:
    """As many digits as tell values on this scale apart; short ones alone fit a cell."""
    digits = 1 - math.floor(math.log10(high - low)) if high > low else 2
    least = 2 if max(abs(low), abs(high)) < 10 else 0
    digits = min(max(digits, least), 4)
    text = f"{round(value, digits) + 0.0:.{digits}f}"  # + 0.0: no minus before a zero
    return text if len(text) <= 6 else f"{value:.0e}"
