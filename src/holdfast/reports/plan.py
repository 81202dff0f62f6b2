"""Which layer got which rank, and what it holds for what it takes."""

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from holdfast.methods.halrp.plan import Plan
from holdfast.reports.style import PALETTE, UNKNOWN, house_style, new_figure, shortened


def plan_figure(plan: Plan | Mapping[str, Any]) -> Figure:
    """A row a layer: its rank of the largest it can have, the share it keeps, and its parameters.

    The first panel has ranks on a logarithmic scale, over the rank at which the layer would be
    free, in grey. The second has the share of the layer's own score that is kept, and in a second
    hue the share of all layers' score. The third has the parameters of U and V.

    Args:
        plan: of `holdfast.methods.halrp`, or its values as a run's record holds them.

    Raises:
        ValueError: it has no layers.
    """
    plan = plan if isinstance(plan, Plan) else Plan.from_values(plan)
    if not plan.layers:
        raise ValueError("plan has no layers to draw")
    names, choices = list(plan.layers), list(plan.layers.values())
    rows = range(len(names))
    with house_style():
        figure = new_figure(7.5, 0.28 * len(names) + 1.2)
        ranks, shares, sizes = figure.subplots(1, 3, sharey=True)
        ranks.barh(rows, [c.largest for c in choices], color=UNKNOWN)
        ranks.barh(rows, [c.rank for c in choices], color=PALETTE[0], height=0.55)
        ranks.set(xscale="symlog", xlabel="rank, of the largest")
        ranks.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        _told(ranks, [f"{c.rank}" for c in choices], [c.largest for c in choices])
        shares.barh([i - 0.18 for i in rows], [c.share for c in choices], 0.36, color=PALETTE[0],
                    label="of the layer")  # fmt: skip
        shares.barh([i + 0.18 for i in rows], [c.of_all for c in choices], 0.36, color=PALETTE[1],
                    label="of all layers")  # fmt: skip
        shares.set(xlim=(0, 1), xlabel="share of the score kept")
        shares.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, fontsize=7)
        sizes.barh(rows, [c.parameters for c in choices], color=PALETTE[2])
        sizes.set(xlabel="parameters of U and V")
        sizes.xaxis.set_major_locator(MaxNLocator(2))
        sizes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        _told(sizes, [f"{c.parameters:,}" for c in choices], [c.parameters for c in choices])
        ranks.set_yticks(list(rows), [shortened(n) for n in names])
        ranks.invert_yaxis()
        figure.suptitle(f"{plan.share:.1%} of the score, {plan.parameters:,} parameters", size=10)
    return figure


def _told(axes: Axes, texts: list[str], ends: list[int]) -> None:
    for i, (text, end) in enumerate(zip(texts, ends, strict=True)):
        axes.text(end, i, f" {text}", va="center", size=7)
    axes.margins(x=0.25)
