"""The analysis ``order_robustness`` of a study: how much the order of the tasks matters."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from holdfast.records.intervals import Interval
from holdfast.signatures import nearest
from holdfast.studies.axes import Axis, Field, check_varied
from holdfast.studies.findings import LEVEL, Findings
from holdfast.studies.good_start.conditions import Condition, conditions_of
from holdfast.studies.order_robustness.finals import finals_of
from holdfast.studies.order_robustness.measures import DRAWS, Robustness, over_orders, robustness
from holdfast.studies.order_robustness.text import head_line, table_lines
from holdfast.studies.table import TIMES, metric_names

_SIZES = ("LearnerSize.growth", "LearnerSize.growth_counted")
"""How much the learner has grown at the end, where the runs have the probe ``learner_size``."""


@dataclass(frozen=True)
class OrderAnalysis:
    """Methods compared by how much the order of the tasks matters to them.

    Every combination of the other axes is a row, mostly a method.

    Args:
        order: the axis of the orders.
        show: further columns of the table, means over runs; by default ``acc``, ``bwt``, how much
            the learner has grown where runs have the probe ``learner_size``, and both times.

    Raises:
        ValueError: `show` names something that can be no column.
    """

    order: str = "order"
    show: Sequence[str] | None = None

    def __post_init__(self) -> None:
        known = (*metric_names(), *TIMES)
        for metric in self.show or ():
            if metric not in known and "." not in metric:
                raise ValueError(
                    f"analysis.show names {metric!r}, which is none{nearest(metric, known)}; "
                    f"there are {', '.join(known)}"
                )

    def check(self, axes: Sequence[Axis]) -> None:
        """Refuse a study that does not vary the order.

        Raises:
            ValueError: no such axis, or one order alone.
        """
        named = {axis.name: len(axis.choices) for axis in axes}
        check_varied("order", self.order, named)
        if named[self.order] < 2:
            raise ValueError(f"{self.order} must have two values or more to compare, it has one")

    def measured(self, findings: Findings) -> dict[str, Robustness | str]:
        """The measures of each method by its label; or why there are none."""
        found: dict[str, Robustness | str] = {}
        for condition in conditions_of(findings, self.order):
            try:
                found[_label(condition)] = robustness(finals_of(condition.arms))
            except ValueError as error:
                found[_label(condition)] = str(error)
        return found

    def __call__(self, findings: Findings) -> dict[str, Any]:
        """The measures of each method, and lines that say them."""
        conditions = {_label(c): c for c in conditions_of(findings, self.order)}
        methods = self.measured(findings)
        shown = self._shown(findings)
        columns = {
            label: _means(findings, self.order, conditions[label], method, shown)
            for label, method in methods.items()
            if isinstance(method, Robustness)
        }
        text = [head_line(methods), *table_lines(methods, columns)]
        ended, planned = len(findings.table["seed"]), len(findings.cells) * len(findings.seeds)
        if ended < planned:
            text.append(f"{planned - ended} of {planned} runs are to come")
        told = {
            label: {
                "settings": dict(conditions[label].settings),
                **(
                    {"unknown": method}
                    if isinstance(method, str)
                    else {
                        **method.as_json(),
                        "means": {n: v._asdict() for n, v in columns[label].items()},
                    }
                ),
            }
            for label, method in methods.items()
        }
        interval = {"kind": "parametric bootstrap of runs", "level": LEVEL, "resamples": DRAWS}
        return {"order": self.order, "interval": interval, "methods": told, "text": text}

    def _shown(self, findings: Findings) -> tuple[str, ...]:
        if self.show is not None:
            return tuple(self.show)
        return ("acc", "bwt", *(name for name in _SIZES if name in findings.table), *TIMES)


def _label(condition: Condition) -> str:
    return ", ".join(str(value) for value in condition.settings.values()) or "all runs"


def _means(
    findings: Findings,
    order: str,
    condition: Condition,
    method: Robustness,
    shown: Sequence[str],
) -> dict[str, Interval]:
    """Means over orders and seeds of the columns, of the runs that are compared."""
    table, means = findings.table, {}
    for metric in shown:
        values: dict[str, dict[int, float]] = {}
        for row in range(len(table["seed"])) if metric in table else ():
            if all(_same(table[axis][row], v) for axis, v in condition.settings.items()):
                by_seed = values.setdefault(str(table[order][row]), {})
                by_seed[int(table["seed"][row])] = float(table[metric][row])
        means[metric] = over_orders(values, method.finals)
    return means


def _same(given: object, value: Field) -> bool:
    return bool(given == value)
