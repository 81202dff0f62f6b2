"""The theory beside networks, and over richness and similarity."""

from collections.abc import Mapping
from typing import Literal

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator, StrMethodFormatter

from holdfast.records.intervals import Interval
from holdfast.reports.cells import Cell, Levels, cell
from holdfast.reports.line import Line, draw_line, value_ticks
from holdfast.reports.style import (
    MARKERS,
    PALETTE,
    colours,
    draw_heat,
    house_style,
    new_figure,
    tilt_labels,
)
from holdfast.theory.comparison import Comparison, What
from holdfast.theory.phase import Phase
from holdfast.theory.words import gamma0_words, shown

_INK = "0.15"
_ABOVE = 1e4
"""Times the loss at the start, or gaps: what is larger has diverged and is not drawn."""
_GAPS: dict[What, str] = {
    "losses": "loss curves (relative)",
    "features": "feature kernels (relative)",
    "forgetting": "forgetting",
}


def overlay_figure(comparison: Comparison) -> Figure:
    """Losses of the theory and of networks over time, and the gap between them against width.

    To the left each task's loss: the theory's in black, the mean over networks of each width, those
    of the widest one by one, and about the theory the band c(t) / sqrt(N) of the widest (see
    `Comparison.band`). To the right the root mean square gap over networks with its bootstrap
    interval, each network as a dot, a dashed line of slope -1/2 through the first, and, dotted, the
    standard error of the theory's losses.
    """
    solution, tasks = comparison.solution, comparison.solution.problem.tasks
    with house_style():
        figure = new_figure(9.6, 1.4 + 1.7 * max(tasks, 2))
        figure.suptitle(gamma0_words(solution.problem.gamma0), x=0.02, ha="left", size=10)
        grid = figure.add_gridspec(len(_GAPS) * tasks, 2, width_ratios=[1.5, 1])
        for task in range(tasks):
            rows = slice(len(_GAPS) * task, len(_GAPS) * (task + 1))
            axes = figure.add_subplot(grid[rows, 0])
            _draw_losses(axes, comparison, task)
        axes.set_xlabel("step")
        for place, what in enumerate(_GAPS):
            panel = figure.add_subplot(grid[tasks * place : tasks * (place + 1), 1])
            _draw_gaps(panel, comparison, what)
        panel.set_xlabel("width N")
        handles, labels = axes.get_legend_handles_labels()
        columns = min(len(handles), 6)
        figure.legend(handles, labels, loc="outside lower left", ncols=columns, fontsize=8)
    return figure


def _draw_losses(axes: Axes, comparison: Comparison, task: int) -> None:
    theory = comparison.solution.losses[:, task].cpu().numpy()
    top = _ABOVE * theory[0]
    theory, steps = _below(theory, top), np.arange(len(theory))
    for at, colour in zip(comparison.finite, colours(len(comparison.finite)), strict=True):
        whole = _below(at.losses[at.whole][:, :, task].numpy(), top)
        if not len(whole):
            continue
        if at is comparison.finite[-1]:
            axes.plot(steps, whole.T, color=colour, linewidth=0.4, alpha=0.5)
        axes.plot(steps, whole.mean(0), color=colour, linewidth=1, label=f"N = {at.width}")
    axes.plot(steps, theory, color=_INK, linestyle="--", label="theory")
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    width = comparison.finite[-1].width
    reach = _below(comparison.band[:, task].numpy() / width**0.5, top)
    axes.fill_between(
        steps, (theory - reach).clip(low), theory + reach, color=_INK, alpha=0.15, linewidth=0,
        label=f"N^(-1/2) band at {width}",
    )  # fmt: skip
    for end in comparison.solution.ends[:-1]:
        axes.axvline(end, color="0.6", linewidth=0.8, linestyle=":")
    axes.set(ylabel=f"loss on task {task + 1}", ylim=(low, high))
    _plain_decades(axes)


def _draw_gaps(axes: Axes, comparison: Comparison, what: What) -> None:
    gaps, typical = comparison.gaps(what), comparison.gap(what)
    widths = np.array(list(gaps))
    for width, all_gaps in gaps.items():
        own = _below(all_gaps, _ABOVE)
        axes.plot(np.full(len(own), width), own, ".", color=PALETTE[0], markersize=2.5, alpha=0.5)
    mean, low, high = _below(np.array([typical[int(w)] for w in widths]).T, _ABOVE)
    reach = np.nan_to_num([mean - low, high - mean]).clip(0)
    axes.errorbar(widths, mean, reach, fmt="o-", color=PALETTE[0], capsize=2, linewidth=1)
    known = np.flatnonzero(np.isfinite(mean))
    if len(known):
        first = known[0]
        law = mean[first] * (widths / widths[first]) ** -0.5
        axes.plot(widths, law, color=_INK, linewidth=0.8, linestyle="--")
    if what == "losses" and comparison.theory_error:
        axes.axhline(comparison.theory_error, color="0.6", linewidth=0.8, linestyle=":")
    axes.set(xscale="log", yscale="log", xlim=(widths[0] / 1.2, widths[-1] * 1.2))
    axes.xaxis.set(major_locator=FixedLocator(list(widths)), minor_locator=NullLocator())
    axes.set_xticks(widths, [str(w) for w in widths])
    tilt_labels(axes, room=40)
    _plain_decades(axes)
    axes.set_title(f"gap of {_GAPS[what]}\nN^{shown(comparison.slope(what))}", loc="left", size=8)


def _below(values: Float[np.ndarray, "*any"], top: float) -> Float[np.ndarray, "*any"]:
    """NaN where values are not finite or above the top."""
    return np.where(np.nan_to_num(values, nan=np.inf) <= top, values, np.nan)


def _plain_decades(axes: Axes) -> None:
    """Numbers for powers of ten, which mathematics would be needed to typeset; one at least."""
    low, high = axes.get_ylim()
    if not 0 < low < high:  # nothing is drawn
        axes.set_ylim(0.1, 10)
    elif high < 10 * low:
        spread = np.sqrt(10 * low / high)
        axes.set_ylim(low / spread, high * spread)
    axes.yaxis.set(major_formatter=StrMethodFormatter("{x:g}"), minor_formatter=NullFormatter())


def forgetting_figure(
    theory: Mapping[float, float],
    networks: Mapping[float, Mapping[int, Float[np.ndarray, " seeds"]]] | None = None,
    x: str = "gamma0, absolute units",
    log_x: bool = True,
) -> Figure:
    """Forgetting against gamma0, say: the theory's line, and networks with intervals over seeds.

    Args:
        theory: forgetting by gamma0.
        networks: of each network by gamma0 and width; NaN where it diverged.
        x: name of the axis.
        log_x: whether it is logarithmic.

    Raises:
        ValueError: no gamma0.
    """
    if not theory:
        raise ValueError("theory needs forgetting at one value or more, got none")
    networks = networks or {}
    widths = sorted({width for own in networks.values() for width in own})
    with house_style():
        figure = new_figure(6.2 if widths else 5.0, 3.4)
        axes = figure.add_subplot()
        for i, (width, colour) in enumerate(zip(widths, colours(len(widths)), strict=True)):
            places = np.array([g for g in sorted(networks) if width in networks[g]])
            cells = [_cell(networks[g][width]) for g in places.tolist()]
            marker = MARKERS[i] if len(widths) <= len(PALETTE) else "."
            aside = i - (len(widths) - 1) / 2
            line = Line(
                places * 1.03**aside if log_x else places, cells, colour, marker, f"N = {width}"
            )
            draw_line(axes, line, banded=False)
            axes.plot([], [], marker, color=colour, label=line.label)
        grid = sorted(theory)
        axes.plot(grid, [theory[g] for g in grid], color=_INK, marker=".", label="theory")
        axes.axhline(0, color="0.6", linewidth=0.8)
        axes.set(xscale="log" if log_x else "linear", xlabel=x, ylabel="forgetting")
        ticks = Levels(np.arange(len(grid)), [f"{g:.3g}" for g in grid], np.array(grid))
        value_ticks(axes, ticks, log_x)
        axes.xaxis.set_minor_locator(NullLocator())
        if widths:
            figure.legend(loc="outside right upper")
    return figure


def _cell(values: Float[np.ndarray, " seeds"]) -> Cell:
    return cell(values, np.ones(len(values), dtype=bool))


_UNDER = 0.36
"""Of a row, by which marks stand under its numbers."""

Shown = Literal["forgetting", "learning_loss", "average_loss"]

_PANELS: dict[Shown, str] = {
    "forgetting": "forgetting",
    "learning_loss": "loss when learned",
    "average_loss": "average loss at the end",
}


def phase_figure(phase: Phase) -> Figure:
    """Forgetting, the loss when learned and that at the end, over gamma0 and similarity.

    Means over the seeds of the data. In the last panel the dots are gamma0* with their intervals
    (see `Phase.optimum`), where they lie inside the grid.
    """
    rows, columns = len(phase.similarity), len(phase.gamma0)
    with house_style():
        wide = min(max(0.5 * columns, 2.2), 5.0)
        figure = new_figure(3 * (wide + 0.9) + 0.5, min(max(0.45 * rows, 2.0), 5.0) + 0.9)
        for axes, (name, title) in zip(
            figure.subplots(1, 3, sharey=True), _PANELS.items(), strict=True
        ):
            values = getattr(phase, name).mean(0).double().numpy()
            low, high = _range(values, centred=name == "forgetting")
            ramp = "PuOr" if name == "forgetting" else "cividis"
            image = draw_heat(axes, values, low, high, ramp)
            figure.colorbar(image, ax=axes).outline.set_visible(False)
            axes.set_title(title, loc="left", size=9)
            axes.set_xticks(range(columns), [f"{g:.2g}" for g in phase.gamma0])
            tilt_labels(axes, room=40)
            axes.set_xlabel("gamma0, absolute")
            axes.invert_yaxis()
        axes.set_yticks(range(rows), [f"{s:g}" for s in phase.similarity])
        figure.axes[0].set_ylabel("similarity")
        _draw_optima(axes, phase)
    return figure


def _draw_optima(axes: Axes, phase: Phase) -> None:
    """gamma0* at its place between the columns."""
    grid, places = np.log(phase.gamma0), np.arange(len(phase.gamma0))
    for row, found in enumerate(phase.optimum()):
        inside = phase.gamma0[0] * 1.001 < found.mean < phase.gamma0[-1] * 0.999
        if not inside:
            continue
        at, low, high = (np.interp(np.log(_or(v, found)), grid, places) for v in found)
        line = row - _UNDER
        axes.plot([low, high], [line, line], color="white", linewidth=2, alpha=0.8)
        axes.plot(at, line, "o", color=PALETTE[1], markeredgecolor="white", markersize=4)


def _or(value: float, found: Interval) -> float:
    return found.mean if np.isnan(value) else value


def _range(values: Float[np.ndarray, "rows columns"], centred: bool) -> tuple[float, float]:
    known = values[np.isfinite(values)]
    if not len(known):
        return 0.0, 1.0
    if centred:
        reach = float(np.abs(known).max()) or 1.0
        return -reach, reach
    return float(known.min()), float(known.max())
