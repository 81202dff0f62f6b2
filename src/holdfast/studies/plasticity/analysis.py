"""The analysis ``plasticity`` of a study: what carrying on costs, in two measures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from holdfast.records.intervals import Interval
from holdfast.signatures import nearest
from holdfast.studies.axes import VARIANTS, Axis, Field, check_varied
from holdfast.studies.findings import Findings
from holdfast.studies.good_start.conditions import Condition, conditions_of
from holdfast.studies.plan import Budget, Cell
from holdfast.studies.plasticity.gap import LAST
from holdfast.studies.plasticity.measures import ArmMeasures, arm_measures
from holdfast.studies.plasticity.text import generalisation_lines, trainability_lines

Measure = Literal["generalisation", "trainability"]


@dataclass(frozen=True)
class PlasticityAnalysis:
    """Arms compared with fresh weights under each combination of the other axes, a condition.

    Two tables, never one score: the generalisation gap, test accuracy less that of the reference
    with training accuracy beside it (`generalisation_gap`), and the trainability gap, training loss
    after the same budget less that of the reference (`loss_gap`) with what the probe
    `Trainability` found, where the runs have it.

    Args:
        arm: the axis of the arms.
        reference: the label of the arm, or the labels of several, that all are compared with.
        last: share of the epochs at the end of a phase that accuracies are means over.
        phases: how many of the last tasks are looked at: 1 for growing data, more for streams of
            many tasks that are alike.
        measures: the tables to show.

    Raises:
        ValueError: no reference, `last` outside (0, 1], `phases` below 1, or a measure that is
            none.
    """

    arm: str = VARIANTS
    reference: str | Sequence[str] = "fresh"
    last: float = LAST
    phases: int = 1
    measures: Sequence[str] = get_args(Measure)

    def __post_init__(self) -> None:
        if not self.references:
            raise ValueError("analysis.reference must name one or more arms, got none")
        if not 0 < self.last <= 1:
            raise ValueError(f"analysis.last must be a share in (0, 1], got {self.last}")
        if self.phases < 1:
            raise ValueError(f"analysis.phases must be 1 or more, got {self.phases}")
        if not self.measures or set(self.measures) - set(get_args(Measure)):
            raise ValueError(
                f"analysis.measures must be of {', '.join(get_args(Measure))}; "
                f"got {list(self.measures)}"
            )

    @property
    def references(self) -> tuple[str, ...]:
        """The arms that all are compared with."""
        return (self.reference,) if isinstance(self.reference, str) else tuple(self.reference)

    def check(self, axes: Sequence[Axis]) -> None:
        """Refuse a study without the axis of the arms, or without a reference on it.

        Raises:
            ValueError: naming what there is.
        """
        labels = {axis.name: [str(choice.value) for choice in axis.choices] for axis in axes}
        check_varied("arm", self.arm, labels)
        there = labels[self.arm]
        for reference in self.references:
            if reference not in there:
                raise ValueError(
                    f"analysis.reference names {reference!r}, which is no value of {self.arm}"
                    f"{nearest(reference, there)}; these are {', '.join(there)}"
                )

    def check_budgets(self, planned: Sequence[tuple[Cell, Budget]]) -> None:
        """Refuse arms that cannot be compared with a reference.

        Raises:
            ValueError: the last phases of both differ in updates, or in the samples tested on.
        """
        arms: dict[tuple[Field, ...], dict[str, tuple[Cell, Budget]]] = {}
        for cell, budget in planned:
            rest = tuple(value for axis, value in cell.fields.items() if axis != self.arm)
            arms.setdefault(rest, {})[str(cell.fields[self.arm])] = cell, budget
        for there in arms.values():
            for reference in set(self.references) & set(there):
                for arm in there.values():
                    self._compare(*arm, *there[reference])

    def _compare(self, cell: Cell, ours: Budget, reference: Cell, theirs: Budget) -> None:
        for what, a, b, remedy in (
            ("makes {} updates in its last phase", ours.updates, theirs.updates,
             "the same samples, epochs and batch size there"),
            ("is tested on {} samples", ours.samples, theirs.samples,
             "the same evaluation split"),
        ):  # fmt: skip
            if a[-self.phases :] != b[-self.phases :]:
                raise ValueError(
                    f"arms with unequal budgets cannot be compared: cell {cell.label!r} "
                    f"{what.format(a[-1])}, {reference.label!r} {b[-1]}; give both {remedy}"
                )

    def conditions(self, findings: Findings) -> tuple[Condition, ...]:
        """What is compared, from the runs that have ended."""
        return conditions_of(findings, self.arm)

    def measured(self, condition: Condition) -> dict[str, ArmMeasures | str]:
        """The measures of each arm of a condition; or why there are none."""
        return arm_measures(condition.arms, self.references, self.last, self.phases)

    def __call__(self, findings: Findings) -> dict[str, Any]:
        """The measures of each arm in each condition, and lines that say them."""
        text: list[str] = []
        ended, planned = len(findings.table["seed"]), len(findings.cells) * len(findings.seeds)
        if ended < planned:
            text.append(f"{planned - ended} of {planned} runs are to come")
        told = []
        for condition in self.conditions(findings):
            found = self.measured(condition)
            arms = {label: arm for label, arm in found.items() if isinstance(arm, ArmMeasures)}
            text += [*([""] if text else []), *([condition.label] if condition.settings else [])]
            if "generalisation" in self.measures:
                text += generalisation_lines(arms, self.references, self.last, self.phases)
            if "trainability" in self.measures:
                text += trainability_lines(arms, self.references, self.phases)
            text += [f"{label}: {why}" for label, why in found.items() if isinstance(why, str)]
            text += [
                f"no run of {name}, with which the others are compared"
                for name in self.references
                if name not in condition.arms
            ]
            arm_values = {label: _as_json(arm) for label, arm in found.items()}
            told.append({"settings": dict(condition.settings), "arms": arm_values})
        interval = {"kind": "Student's over seeds, paired where arms are compared", "level": 0.95}
        asked = {"arm": self.arm, "reference": list(self.references), "phases": self.phases}
        return {**asked, "last": self.last, "interval": interval, "conditions": told, "text": text}


def _as_json(arm: ArmMeasures | str) -> dict[str, Any]:
    if isinstance(arm, str):
        return {"unknown": arm}

    def plain(value: Any) -> Any:
        if isinstance(value, Interval):
            return value._asdict()
        if isinstance(value, Mapping):
            return {name: plain(of) for name, of in value.items()}
        return value

    return {name: plain(getattr(arm, name)) for name in arm.__dataclass_fields__}
