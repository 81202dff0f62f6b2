"""A diagnosis in plain words and tables."""

import math
from collections.abc import Sequence
from textwrap import fill

import numpy as np

from holdfast.records.intervals import Interval
from holdfast.studies.plasticity.diagnose_arms import FRESH, WARM
from holdfast.studies.plasticity.diagnosis_arms import ArmFound, Compared
from holdfast.studies.plasticity.diagnosis_measures import Reach
from holdfast.studies.text import table_text

_WIDE = 100
"""Columns of a terminal that tables keep to."""

_FITTED = 0.99
"""Below this accuracy on the training data an arm is said not to have fitted them."""


def verdict(found: Compared) -> str:
    """What carrying on costs, and what recovers it: a sentence or two an arm.

    A gap is claimed where the interval over seeds excludes 0, and nothing is said of causes.
    """
    lines = [_gap_words(found), *(_tried_words(found, arm) for arm in found.tried)]
    wrapped = (fill(line, 96, subsequent_indent="  ") for line in [*lines, *_cautions(found)])
    return "\n".join(wrapped)


def report(found: Compared) -> str:
    """The verdict, a row an arm, and what was measured where the new phase begins."""
    seeds = len(found.seeds)
    updates = found.arms[0].updates
    head = f"{seeds} paired seed{'s' if seeds > 1 else ''}, {updates} updates in every arm"
    parts = [verdict(found), f"{head}\n{_arms_table(found)}"]
    probes = _probes_table(found)
    if probes:
        parts.append(
            "where the new phase begins (measured, not judged: none of these is shown to be a "
            f"cause)\n{probes}"
        )
    return "\n\n".join(parts)


def points(interval: Interval, signed: bool = True) -> str:
    """An accuracy difference in points, with half its interval.

    >>> points(Interval(-0.021, -0.025, -0.017))
    '-2.1 +- 0.4'
    """
    if math.isnan(interval.mean):
        return "-"
    half = 100 * (interval.high - interval.low) / 2
    digits = 2 if half < 0.095 else 1
    mean = round(100 * interval.mean, digits) + 0.0
    text = f"{mean:+.{digits}f}" if signed else f"{abs(mean):.{digits}f}"
    return text if math.isnan(half) else f"{text} +- {half:.{digits}f}"


def _gap_words(found: Compared) -> str:
    warm, fresh = found[WARM], found[FRESH]
    gap, seeds = found.gap(), len(found.seeds)
    if math.isnan(gap.mean):
        lost = [f"{a.label} in {a.diverged}" for a in (warm, fresh) if a.diverged]
        return f"Nothing can be said: {' and '.join(lost)} of {seeds} seeds diverged."
    levels = (
        f"{100 * warm.accuracy.mean():.1f} % from yesterday's weights, "
        f"{100 * fresh.accuracy.mean():.1f} % from fresh ones"
    )
    if math.isnan(gap.low):
        return (
            f"One seed tells no interval: {points(gap)} points of test accuracy by warm start, "
            f"{levels}. Ask for five seeds or more."
        )
    basis = f"{levels}; 95 % interval over {seeds} paired seeds"
    if gap.high < 0:
        what = f"Warm start costs {points(gap, signed=False)} points of test accuracy ({basis})."
    elif gap.low > 0:
        what = f"Warm start gains {points(gap, signed=False)} points of test accuracy ({basis})."
    else:
        # Of an interval that holds 0 the ends are what is not excluded.
        what = f"No gap seen: {points(gap)} points of test accuracy by warm start ({basis})" + (
            f"; a cost of up to {-100 * gap.low:.1f} points is not excluded." if gap.low else "."
        )
    if gap.high < 0:
        return what
    return f"{what} It {_reach_words(found.reach(), found.tolerance)}."


def _tried_words(found: Compared, arm: ArmFound) -> str:
    name = _upper(arm.words)
    gap, gain, plain = found.gap(arm.label), found.gap(arm.label, WARM), found.gap()
    if math.isnan(gap.mean):
        where = f" diverged in {arm.diverged} of {len(arm.runs)} seeds" if arm.diverged else ""
        return f"{name}{where or ': nothing can be said'}."
    if math.isnan(gap.low):
        return f"{name}: {points(gap)} points against fresh weights, of one seed."
    if np.array_equal(arm.curves, found[WARM].curves):
        return f"{name} changed nothing: its runs are those of plain warm start."
    against = f"{points(gap)} points against fresh weights"
    near = found.reach(arm.label)
    reached = f"; it {_reach_words(near, found.tolerance)}"
    if plain.high >= 0:
        if gain.low > 0:
            what = f"does better than plain warm start by {points(gain, signed=False)} points"
        elif gain.high < 0:
            what = f"does worse than plain warm start by {points(gain, signed=False)} points"
        else:
            what = "makes no difference that was seen"
    elif gain.low > 0 and gap.high >= 0 and gap.mean < -found.tolerance:
        part = f"{points(gain, signed=False)} of {points(plain, signed=False)} points"
        what, reached = f"recovers {part}, and what is left is not told from 0", ""
    elif gain.low > 0 and gap.high >= 0:
        what = "recovers it"
        if math.isfinite(near.epochs):
            reached = f", at {_share(near.ratio)} of the cost of retraining"
    elif gain.low > 0:
        what = f"recovers {points(gain, signed=False)} of {points(plain, signed=False)} points"
        reached = ""
    elif gain.high < 0:
        what, reached = f"makes it worse by {points(gain, signed=False)} points", ""
    elif gap.high >= 0:
        what = "is told apart neither from fresh weights nor from plain warm start"
    else:
        what, reached = "is not seen to recover it", ""
    return f"{name} {what} ({against}){reached}."


def _reach_words(reach: Reach, tolerance: float) -> str:
    near = f"within {100 * tolerance:g} points of fresh weights' accuracy"
    if not math.isfinite(reach.epochs):
        return f"does not come to stay {near} in this budget"
    return f"comes {near} at {_share(reach.ratio)} of the cost of retraining"


def _share(ratio: Interval, missing: str = "not reached") -> str:
    ends = [f"{100 * end:.0f}" if math.isfinite(end) else missing for end in ratio[1:]]
    between = "" if math.isnan(ratio.low) else f" [{ends[0]}, {ends[1]}]"
    return f"{100 * ratio.mean:.0f} %{between}"


def _cautions(found: Compared) -> list[str]:
    lines = []
    shown = {arm.label: float(arm.train_accuracy.mean()) for arm in found.arms}
    unfit = [f"{label} {100 * value:.1f} %" for label, value in shown.items() if value < _FITTED]
    if unfit:
        lines.append(
            f"Not fitted in this budget, by accuracy on the training data: {', '.join(unfit)}. "
            "Part of a difference may be one of fitting; more epochs would tell."
        )
    for arm in found.arms:
        if arm.kind == "reference":
            gap = found.gap(arm.label)
            lines.append(
                f"{_upper(arm.label)}: {points(gap)} points against plain fresh weights, which is "
                "what all arms are held against."
            )
    return lines


def _arms_table(found: Compared) -> str:
    rows = [
        ["arm", "test %", "train %", "against fresh", "against warm", "CPU s", "reaches fresh at"]
    ]
    for arm in found.arms:
        reach = found.reach(arm.label)
        ratio = "never" if math.isinf(reach.epochs) else "-"
        if math.isfinite(reach.epochs):
            ratio = _share(reach.ratio, "never")
        rows.append(
            [
                _short(arm.label),
                _percent(float(arm.accuracy.mean())),
                _percent(float(arm.train_accuracy.mean())),
                "" if arm.label == FRESH else points(found.gap(arm.label)),
                "" if arm.kind in ("fresh", "warm") else points(found.gap(arm.label, WARM)),
                "-" if math.isnan(arm.cpu_seconds) else f"{arm.cpu_seconds:.2f}",
                "" if arm.label == FRESH else ratio,
            ]
        )
    return table_text(rows)


def _probes_table(found: Compared) -> str:
    names = list(dict.fromkeys(name for arm in found.arms for r in arm.runs for name in r.probes))
    if not names:
        return ""
    head = ["", *(name.replace("_", " ") for name in names)]
    blocks = [[head]]
    for arm in found.arms:
        column = [_short(arm.label), *(_measured(arm.probe(name)) for name in names)]
        if _width([*blocks[-1], column]) > _WIDE and len(blocks[-1]) > 1:
            blocks.append([head])
        blocks[-1].append(column)
    return "\n".join(table_text([list(row) for row in zip(*b, strict=True)]) for b in blocks)


def _measured(value: Interval) -> str:
    half = (value.high - value.low) / 2
    text = f"{value.mean:.3g}" if not math.isnan(value.mean) else "-"
    return text if math.isnan(half) else f"{text} +- {half:.1g}"


def _width(columns: Sequence[Sequence[str]]) -> int:
    return sum(max(map(len, column)) + 2 for column in columns) - 2


def _short(label: str) -> str:
    return label if len(label) <= 26 else f"{label[:23]}..."


def _percent(value: float) -> str:
    return "-" if math.isnan(value) else f"{100 * value:.1f}"


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]
