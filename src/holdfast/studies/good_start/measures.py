"""What each start of a condition did, in numbers with intervals over seeds."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from holdfast.records.gaps import continual_knowledge_gap, plasticity_gap, stability_gap
from holdfast.records.intervals import UNKNOWN, Interval, mean_interval
from holdfast.records.onset import Onset
from holdfast.records.record import Record
from holdfast.records.speed import SpeedUp, speed_up
from holdfast.records.within import Part
from holdfast.studies.findings import LEVEL, RESAMPLES
from holdfast.studies.good_start.conditions import Condition

PARTS: tuple[Part, ...] = ("new", "old", "all")

_OF_ONSETS: dict[str, tuple[Part, Callable[[Onset], float]]] = {
    **{f"initial_loss_{p}": (p, lambda o: o.initial_loss) for p in PARTS},
    **{f"zero_step_accuracy_{p}": (p, lambda o: o.zero_step_accuracy) for p in PARTS},
    "spike_ratio_old": ("old", lambda o: o.spike_ratio),
    "spike_ratio_all": ("all", lambda o: o.spike_ratio),
    "lowest_accuracy_old": ("old", lambda o: float(o.accuracy.min())),
    **{f"final_accuracy_{p}": (p, lambda o: o.final_accuracy) for p in PARTS},
}


@dataclass(frozen=True)
class StartMeasures:
    """What one start did.

    Args:
        runs: that ended, whole or diverged.
        values: means over seeds with intervals, by name. Over the tasks after the first (or the one
            asked for) of each run: ``initial_loss_``, ``zero_step_accuracy_`` and
            ``final_accuracy_`` with ``new``, ``old`` and ``all``; ``spike_ratio_old``, ``_all``;
            ``lowest_accuracy_old``, the lowest at any evaluation; ``area_above_best``, the area of
            the loss on all above the least final one of any start of the seed (`Onset.area_above`);
            ``stability_gap``, ``plasticity_gap`` and ``continual_knowledge_gap`` of the whole run
            against what the best start of the seed has at the end of each task.
        known: how many runs have a value, where that is fewer than `runs`.
        speed: against the baseline, by share of the best start's final accuracy.
        fitted: median, least and largest ``scale``, ``ridge`` and ``condition`` that the start told
            of (`Record.starts`), as far as it did.
        notes: what it told besides, and of how many tasks.
    """

    runs: int
    values: Mapping[str, Interval]
    known: Mapping[str, int]
    speed: Mapping[float, SpeedUp]
    fitted: Mapping[str, Interval]
    notes: Mapping[str, int]


def measured(
    condition: Condition, baseline: str, levels: Sequence[float], task: int | None = None
) -> dict[str, StartMeasures]:
    """The measures of each start of a condition.

    Args:
        condition: with the baseline among its starts.
        baseline: the start that speeds are compared with.
        levels: shares of the best start's final accuracy, each in (0, 1].
        task: the one task to look at; by default all after the first.

    Raises:
        ValueError: see `holdfast.records.speed_up`.
    """
    speeds = {
        level: speed_up(condition.arms, baseline, level, "all", task, LEVEL, RESAMPLES)
        for level in levels
    }
    best = next(iter(speeds[levels[0]].values())).best
    references = {record.seed: record for record in condition.arms[best]}
    floors = _least_losses(condition, task)
    found = {}
    for arm, records in condition.arms.items():
        rows = [
            _values(record, task, floors[record.seed], references.get(record.seed))
            for record in records
        ]
        columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
        known = {name: int((~np.isnan(column)).sum()) for name, column in columns.items()}
        found[arm] = StartMeasures(
            len(records),
            {name: _interval(column) for name, column in columns.items()},
            {name: count for name, count in known.items() if count < len(records)},
            {level: speeds[level][arm] for level in levels},
            *_told(records, task),
        )
    return found


def tasks_looked_at(record: Record, task: int | None) -> range:
    """The tasks after the first, or the one asked for."""
    return range(1, len(record.tasks)) if task is None else range(task, task + 1)


def _values(
    record: Record, task: int | None, floors: Sequence[float], best: Record | None
) -> dict[str, float]:
    tasks = tasks_looked_at(record, task)
    onsets = {part: [record.onset(k, part) for k in tasks] for part in PARTS}
    found = {
        name: float(np.mean([measure(onset) for onset in onsets[part]]))
        for name, (part, measure) in _OF_ONSETS.items()
    }
    areas = [o.area_above(floor) for o, floor in zip(onsets["all"], floors, strict=True)]
    found["area_above_best"] = float(np.mean(areas))
    for gap in (stability_gap, plasticity_gap, continual_knowledge_gap):
        found[gap.__name__] = float("nan") if best is None else gap(record, best)
    return found


def _told(
    records: Sequence[Record], task: int | None
) -> tuple[dict[str, Interval], dict[str, int]]:
    """What the starts fitted, and their notes, over runs and the tasks looked at."""
    entries = [
        entry
        for record in records
        for entry in record.starts
        if entry["task"] in tasks_looked_at(record, task)
    ]
    fitted = {}
    for name in ("scale", "ridge", "condition"):
        values = [entry[name] for entry in entries if entry.get(name) is not None]
        if values:
            middle = float(np.median(values))
            fitted[name] = Interval(middle, float(min(values)), float(max(values)))
    notes = Counter(note for entry in entries for note in entry.get("notes", ()))
    return fitted, dict(notes.most_common())


def _least_losses(condition: Condition, task: int | None) -> dict[int, Sequence[float]]:
    """Of each seed the least loss on all classes at the end of each task, over the starts."""
    ends: dict[int, list[list[float]]] = {}
    for record in (record for records in condition.arms.values() for record in records):
        tasks = tasks_looked_at(record, task)
        ends.setdefault(record.seed, []).append([float(record.onset(k).loss[-1]) for k in tasks])
    # fmin passes over what is unknown.
    return {seed: np.fmin.reduce(np.array(rows)).tolist() for seed, rows in ends.items()}


def _interval(values: Float[np.ndarray, " runs"]) -> Interval:
    known = values[~np.isnan(values)]
    return mean_interval(known, LEVEL, RESAMPLES) if len(known) else UNKNOWN
