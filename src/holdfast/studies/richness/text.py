"""The findings on richness as a person reads them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from holdfast.records.intervals import Interval
from holdfast.studies.richness.agreements import Agreement
from holdfast.studies.richness.collapse import Collapse, Exponents
from holdfast.studies.richness.curves import GammaCurve
from holdfast.studies.richness.optima import Optimum
from holdfast.studies.richness.transitions import Transition
from holdfast.studies.text import table_text


def curve_lines(
    x: str,
    curves: Sequence[GammaCurve],
    optima: Sequence[Optimum],
    transitions: Sequence[Mapping[str, Transition]],
) -> list[str]:
    """A table with a row a curve, and lines on those that have no optimum or lost runs."""
    short = _short(x)
    named = [name.replace("_", " ") for name in transitions[0]]
    head = ["", f"{short}*", "by a parabola", "optimum", *named]
    rows: list[list[str]] = [head]
    notes: dict[str, list[str]] = {}
    for curve, best, places in zip(curves, optima, transitions, strict=True):
        label = curve.label or "all"
        sets_in = [
            _interval(place.gamma0) if place.kind == "found" else place.verdict
            for place in places.values()
        ]
        rows.append([label, _interval(best.gamma0), _interval(best.refined), best.where, *sets_in])
        if not best.interior:
            notes.setdefault(best.verdict, []).append(label)
        if best.stable.missing:
            notes.setdefault(_lost(best, short, len(curve.values)), []).append(label)
    said = [
        f"{'all' if len(labels) == len(curves) else '; '.join(labels)}: {note}"
        for note, labels in notes.items()
    ]
    return [*table_text(rows).splitlines(), *said]


def group_lines(x: str, found: Mapping[str, Any]) -> list[str]:
    """What the curves of a group say together, if there are several."""
    if "agreement" not in found:
        return []
    metrics = [name for name in found["collapse"][0] if name not in ("kind", "exponents")]
    rows = [["spread between curves against", *metrics]]
    for tried in found["collapse"]:
        scale = rescaling_text(x, tried["exponents"])
        fitted = " (fitted)" if tried["kind"] == "fitted" else ""
        rows.append([scale + fitted, *(_spread(tried[metric]) for metric in metrics)])
    return [
        *_agreement(found["agreement"]),
        *([] if found["law"] is None else [_law(x, found["law"])]),
        *table_text(rows).splitlines(),
    ]


def rescaling_text(x: str, exponents: Mapping[str, float]) -> str:
    """A rescaled axis in words.

    >>> rescaling_text("richness.gamma0", {"training.lr": 0.5, "training.epochs": 0.5})
    'gamma0 lr^0.5 epochs^0.5'
    """
    powers = [f"{_short(name)}^{power:.2g}" for name, power in exponents.items()]
    return " ".join([_short(x), *powers])


def _lost(best: Optimum, short: str, seeds: int) -> str:
    lost = ", ".join(f"{n} of {seeds} at {g:.2g}" for g, n in best.stable.missing.items())
    if np.isnan(best.stable.every):
        return f"without a finite value: {lost}"
    return f"every seed has a finite value up to {short} {best.stable.every:.2g}; not: {lost}"


def _agreement(found: Agreement) -> list[str]:
    head = f"{found.compared} of {found.of} have an interior optimum"
    if found.overlap is None:
        return [head]
    shared = f"[{found.low:.2g}, {found.high:.2g}]" if found.overlap else "no value"
    ratio = f"{found.decades:.2f} decades (by parabolas {found.refined_decades:.2f})"
    lines = [f"{head}; their intervals share {shared}", f"largest ratio of two {ratio}"]
    if not np.isnan(found.shift.mean):
        lines[1] += f", of the last to the first {_signed(found.shift)}"
    return lines


def _law(x: str, law: Exponents) -> str:
    powers = " ".join(f"{_short(name)}^({_signed(v)})" for name, v in law.values.items())
    about = f"{law.curves} curves, {law.residual:.2f} decades about it"
    if law.curves == len(law.values) + 1:
        about = f"{law.curves} curves, no more than it takes"
    return f"{_short(x)}* goes as {powers}: {about}"


def _spread(found: Collapse) -> str:
    if np.isnan(found.spread):
        return "unknown"
    seeds = "" if np.isnan(found.noise) else f" (seeds {found.noise:.2g})"
    return f"{found.spread:.2g}{seeds}"


def _interval(value: Interval) -> str:
    if np.isnan(value.mean):
        return "-"
    if np.isnan(value.low):
        return f"{value.mean:.2g}"
    return f"{value.mean:.2g} [{value.low:.2g}, {value.high:.2g}]"


def _short(axis: str) -> str:
    return axis.rpartition(".")[2]


def _signed(value: Interval) -> str:
    if np.isnan(value.low):
        return f"{value.mean:+.2f}"
    return f"{value.mean:+.2f} [{value.low:+.2f}, {value.high:+.2f}]"
