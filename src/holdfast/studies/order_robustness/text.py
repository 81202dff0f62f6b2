"""The findings on orders as a person reads them."""

from collections.abc import Mapping
from textwrap import wrap

import numpy as np

from holdfast.records.intervals import Interval
from holdfast.studies.order_robustness.disparity import Disparity
from holdfast.studies.order_robustness.measures import Robustness
from holdfast.studies.table import TIMES
from holdfast.studies.text import table_text

Methods = Mapping[str, Robustness | str]

_WIDTH = 110
"""Letters in a line of notes."""

_PARTS = ("task", "order", "task x order", "seed")


def head_line(methods: Methods) -> str:
    """What is compared."""
    for method in methods.values():
        if isinstance(method, Robustness):
            orders, seeds, tasks = method.finals.accuracy.shape
            return (
                f"{tasks} tasks in {orders} orders, {seeds} seed{'s' if seeds > 1 else ''} at each"
            )
    return "no method has runs to compare yet"


def table_lines(methods: Methods, columns: Mapping[str, Mapping[str, Interval]]) -> list[str]:
    """Three tables with a row a method: disparities beside their floors, means, and places.

    Args:
        methods: what was measured of each, or why nothing was.
        columns: means of further metrics, of the methods that were measured.
    """
    known = {label: m for label, m in methods.items() if isinstance(m, Robustness)}
    notes = [f"{label}: {why}" for label, why in methods.items() if isinstance(why, str)]
    if not known:
        return notes
    shown = list(next(iter(columns.values())))
    names = [metric.rpartition(".")[2] for metric in shown]
    of_range = ("floor", "excess", "chance")
    ranges = [["ranges over orders", "AOPD", *of_range, "MOPD", *of_range]]
    means = [["means, and standard deviations of", *names, *_PARTS]]
    places = [["place", "first place", "first to last", "AOPD, not first", *of_range]]
    for label, method in known.items():
        found, parts, by_place = method.disparities, method.components, method.places
        ranges.append([label, *_disparity(found.average), *_disparity(found.maximum)])
        spreads = (parts.task, parts.order, parts.task_by_order, parts.seed)
        columns_of = [_mean(value, metric) for metric, value in columns[label].items()]
        means.append([label, *columns_of, *map(_root, spreads)])
        gains = [_full(by_place.first, "+"), _full(by_place.slope, "+")]
        places.append([label, *gains, *_disparity(method.learned.average)])
        lost = method.finals.left_out
        if lost:
            notes.append(f"{label}: {lost} runs of seeds without a whole run at every order")
    if any(len(m.finals.seeds) < 2 for m in known.values()):
        notes.append("one seed has no noise floor: two or more at each order tell it")
    told = [line for note in notes for line in wrap(note, _WIDTH, subsequent_indent="  ")]
    tables = (ranges, means, places)
    return [*(line for rows in tables for line in table_text(rows).splitlines()), *told]


def _disparity(found: Disparity) -> list[str]:
    return [
        _full(found.value),
        _number(found.floor),
        _full(found.excess, "+"),
        _number(found.chance),
    ]


def _root(variance: float) -> str:
    """The standard deviation; 0 of an estimate below 0."""
    return "-" if np.isnan(variance) else f"{max(variance, 0.0) ** 0.5:.3f}"


def _number(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.3f}"


def _mean(value: Interval, metric: str) -> str:
    return f"{value.mean:.1f}" if metric in TIMES else _number(value.mean)


def _full(value: Interval, sign: str = "-") -> str:
    if np.isnan(value.mean):
        return "-"
    if np.isnan(value.low):
        return f"{value.mean:{sign}.3f}"
    return f"{value.mean:{sign}.3f} [{value.low:{sign}.3f}, {value.high:{sign}.3f}]"
