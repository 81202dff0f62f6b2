"""Loss and accuracy against the updates since a task switch, of each start."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from holdfast.records.record import Record
from holdfast.records.within import Part
from holdfast.studies.good_start.conditions import Condition
from holdfast.studies.good_start.measures import PARTS, tasks_looked_at


@dataclass(frozen=True, eq=False)
class StartCourse:
    """How training sets in from one start.

    Args:
        steps: updates since the switch, 0 before the first one.
        loss: by part of the tasks, a row a seed: a mean over the tasks looked at.
        accuracy: likewise.
        lost: runs that are not among the rows: cut short, or evaluated at other updates.
    """

    steps: Int[np.ndarray, " evaluations"]
    loss: Mapping[Part, Float[np.ndarray, "seeds evaluations"]]
    accuracy: Mapping[Part, Float[np.ndarray, "seeds evaluations"]]
    lost: int


def start_courses(condition: Condition, task: int | None = None) -> dict[str, StartCourse]:
    """The course of each start, at the updates at which all tasks looked at were evaluated.

    A start without a single run that has one is left out. The ends of tasks count where these are
    of one length; else the courses end with the shortest.

    Args:
        condition: the runs.
        task: the one task to look at; by default all after the first, in a mean.
    """
    grids = [
        set(record.onset(k).steps.tolist())
        for records in condition.arms.values()
        for record in records
        if record.finished == len(record.tasks)
        for k in tasks_looked_at(record, task)
    ]
    steps = np.array(sorted(set.intersection(*grids)) if grids else [], dtype=np.int64)
    found = {}
    for arm, records in condition.arms.items():
        whole = [r for r in records if r.finished == len(r.tasks)]
        if len(steps) and whole:
            rows = [_rows(record, task, steps) for record in whole]
            loss = {part: np.array([row[part][0] for row in rows]) for part in PARTS}
            accuracy = {part: np.array([row[part][1] for row in rows]) for part in PARTS}
            found[arm] = StartCourse(steps, loss, accuracy, len(records) - len(whole))
    return found


def _rows(
    record: Record, task: int | None, steps: Int[np.ndarray, " evaluations"]
) -> dict[Part, Float[np.ndarray, "2 evaluations"]]:
    """Loss and accuracy at the given updates, a mean over tasks."""
    rows: dict[Part, Float[np.ndarray, "2 evaluations"]] = {}
    for part in PARTS:
        onsets = [record.onset(k, part) for k in tasks_looked_at(record, task)]
        # The last of the entries at one update: a task's end counts before an evaluation there.
        places = [np.searchsorted(o.steps, steps, side="right") - 1 for o in onsets]
        values = [
            np.stack([o.loss[at], o.accuracy[at]]) for o, at in zip(onsets, places, strict=True)
        ]
        rows[part] = np.mean(values, axis=0)
    return rows
