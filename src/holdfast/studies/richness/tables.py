"""Curves against gamma0 from the table of a study."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from jaxtyping import Bool

from holdfast.studies.axes import Field
from holdfast.studies.findings import Findings
from holdfast.studies.richness.curves import GammaCurve, settings_text
from holdfast.studies.table import Table


@dataclass(frozen=True, eq=False)
class Group:
    """The curves that are compared with each other.

    Args:
        settings: what they have in common, by axis; empty where nothing else is varied.
        curves: one a combination of the axes that part them.
    """

    settings: Mapping[str, Field]
    curves: tuple[GammaCurve, ...]

    @property
    def label(self) -> str:
        """The common settings as a short text."""
        return settings_text(self.settings)


def groups_of(findings: Findings, x: str, by: Sequence[str], metric: str) -> tuple[Group, ...]:
    """The curves of a metric against an axis.

    In an unfinished study a gamma0 counts once the runs of all its seeds have ended, so that NaN in
    a curve means that a run has no value, and never that it is to come.

    Args:
        findings: of a study.
        x: the axis along the curves.
        by: axes that part the curves of a group; all further axes part the groups.
        metric: a numeric column of the table.

    Raises:
        ValueError: the table has no such column.
    """
    table = findings.table
    if metric not in table:
        raise ValueError(f"the table has no column {metric!r}; it has {', '.join(table)}")
    rest = [axis for axis in findings.axes if axis != x and axis not in by]
    groups = []
    for common in _combinations(table, rest):
        found = (
            _curve(findings, {**common, **own}, x, metric, own) for own in _combinations(table, by)
        )
        curves = tuple(curve for curve in found if len(curve.gamma0))
        if curves:
            groups.append(Group(common, curves))
    return tuple(groups)


def _curve(
    findings: Findings,
    settings: Mapping[str, Field],
    x: str,
    metric: str,
    own: Mapping[str, Field],
) -> GammaCurve:
    table = findings.table
    chosen = np.ones(len(table["seed"]), dtype=bool)
    for axis, value in settings.items():
        chosen &= table[axis] == value
    columns: dict[float, list[float]] = {}
    for gamma0 in np.unique(table[x][chosen]):
        here: Bool[np.ndarray, " runs"] = chosen & (table[x] == gamma0)
        known = dict(zip(table["seed"][here].tolist(), table[metric][here].tolist(), strict=True))
        if known.keys() >= set(findings.seeds):
            columns[float(gamma0)] = [known[seed] for seed in findings.seeds]
    values = np.array(list(columns.values()), dtype=np.float64).T
    return GammaCurve(
        np.array(list(columns), dtype=np.float64),
        values.reshape(len(findings.seeds), len(columns)),
        dict(own),
    )


def _combinations(table: Table, axes: Sequence[str]) -> list[dict[str, Field]]:
    """All combinations of the values of axes: numbers ascending, names as they first appear."""
    levels = []
    for axis in axes:
        values = table[axis].tolist()
        number = table[axis].dtype.kind in "iuf"
        levels.append(sorted(set(values)) if number else list(dict.fromkeys(values)))
    return [dict(zip(axes, combination, strict=True)) for combination in product(*levels)]
