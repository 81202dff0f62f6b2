"""The analysis ``good_start`` of a study: what each start does to the loss, and what it saves."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from holdfast.records.intervals import Interval
from holdfast.records.speed import SpeedUp
from holdfast.signatures import nearest
from holdfast.studies.axes import Axis, check_varied
from holdfast.studies.findings import LEVEL, RESAMPLES, Findings
from holdfast.studies.good_start.conditions import Condition, conditions_of
from holdfast.studies.good_start.courses import StartCourse, start_courses
from holdfast.studies.good_start.measures import StartMeasures, measured
from holdfast.studies.good_start.text import condition_lines, head_line


@dataclass(frozen=True)
class StartAnalysis:
    """Starts compared under each combination of the other axes, a condition.

    The runs need ``training.evaluate_start`` and ``training.evaluate_every``; without them what
    happens before the first update, and when accuracies are reached, stays unknown.

    Args:
        start: the axis of the starts.
        baseline: the label of the one that others are compared with.
        levels: shares of the best start's final accuracy to which updates are counted.
        level: of these, the one whose speed-up is shown.
        task: position of the one task to look at; None for all after the first.
        harm: accuracy that a start may take from the old classes before the first update, against
            the baseline, without a warning.

    Raises:
        ValueError: a level that is not in (0, 1], a `level` that is none of them, a `task` below 1,
            or a negative `harm`.
    """

    start: str = "start"
    baseline: str = "random"
    levels: Sequence[float] = (0.9, 0.95, 0.99)
    level: float = 0.95
    task: int | None = None
    harm: float = 0.05

    def __post_init__(self) -> None:
        if not self.levels or not all(0 < level <= 1 for level in self.levels):
            raise ValueError(f"levels must lie in (0, 1], got {list(self.levels)}")
        if self.level not in self.levels:
            raise ValueError(f"level must be one of levels {list(self.levels)}, got {self.level}")
        if self.task is not None and self.task < 1:
            raise ValueError(f"task must be 1 or more, or None; got {self.task}")
        if not self.harm >= 0:
            raise ValueError(f"harm must be 0 or more, got {self.harm}")

    def check(self, axes: Sequence[Axis]) -> None:
        """Refuse a study without the axis of starts, or without the baseline on it.

        Raises:
            ValueError: naming what there is.
        """
        labels = {axis.name: [str(choice.value) for choice in axis.choices] for axis in axes}
        check_varied("start", self.start, labels)
        if self.baseline not in labels[self.start]:
            raise ValueError(
                f"analysis.baseline names {self.baseline!r}, which is no value of {self.start}"
                f"{nearest(self.baseline, labels[self.start])}; "
                f"these are {', '.join(labels[self.start])}"
            )

    def conditions(self, findings: Findings) -> tuple[Condition, ...]:
        """What is compared, from the runs that have ended."""
        return conditions_of(findings, self.start)

    def courses(self, condition: Condition) -> dict[str, StartCourse]:
        """Loss and accuracy against the updates, of each start."""
        return start_courses(condition, self.task)

    def __call__(self, findings: Findings) -> dict[str, Any]:
        """The measures of each start in each condition, and lines that say them."""
        told: list[dict[str, Any]] = []
        arms = list(dict.fromkeys(map(str, findings.table[self.start].tolist())))
        text = [head_line(arms, self.baseline, len(findings.seeds), self.task)]
        ended, planned = len(findings.table["seed"]), len(findings.cells) * len(findings.seeds)
        if ended < planned:
            text.append(f"{planned - ended} of {planned} runs are to come")
        for condition in self.conditions(findings):
            text += ["", *([condition.label] if condition.settings else [])]
            if self.baseline not in condition.arms:
                text.append(f"no run of {self.baseline}, with which the others are compared")
                continue
            starts = measured(condition, self.baseline, self.levels, self.task)
            text += condition_lines(starts, self.baseline, self.level, self.harm)
            best = next(iter(starts.values())).speed[self.level].best
            told.append(
                {
                    "settings": dict(condition.settings),
                    "best": best,
                    "starts": {name: _as_json(start) for name, start in starts.items()},
                }
            )
        interval = {
            "kind": "percentile bootstrap over seeds, paired where two starts are compared",
            "level": LEVEL,
            "resamples": RESAMPLES,
        }
        named = {"start": self.start, "baseline": self.baseline, "task": self.task}
        return {**named, "interval": interval, "conditions": told, "text": text}


def _as_json(start: StartMeasures) -> dict[str, Any]:
    return {
        "runs": start.runs,
        "known": dict(start.known),
        **{name: value._asdict() for name, value in start.values.items()},
        "fitted": {name: value._asdict() for name, value in start.fitted.items()},
        "notes": dict(start.notes),
        "steps": {f"{level:g}": _speed(speed) for level, speed in start.speed.items()},
    }


def _speed(speed: SpeedUp) -> dict[str, Any]:
    def plain(value: Any) -> Any:
        return value._asdict() if isinstance(value, Interval) else value

    return {name: plain(getattr(speed, name)) for name in speed.__dataclass_fields__} | {
        "bound": speed.bound
    }
