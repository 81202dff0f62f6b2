"""Arms as curves: over the epochs of the last phase, and over the tasks of a long stream."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from holdfast.records.record import Record
from holdfast.studies.plasticity.measures import task_losses


@dataclass(frozen=True, eq=False)
class PhaseCourse:
    """The last phase of an arm, means over seeds.

    Args:
        updates: (evaluations,) since the phase began.
        accuracy: (evaluations,) on the evaluation split.
        epochs: (epochs,) updates at the end of each epoch.
        train_accuracy: (epochs,) on the batches of each.
    """

    updates: Float[np.ndarray, " evaluations"]
    accuracy: Float[np.ndarray, " evaluations"]
    epochs: Float[np.ndarray, " epochs"]
    train_accuracy: Float[np.ndarray, " epochs"]


def phase_courses(arms: Mapping[str, Sequence[Record]]) -> dict[str, PhaseCourse]:
    """The last phase of each arm that has runs with evaluations within it.

    Of an arm whose runs differ in where they were evaluated, the first decides and others are left
    out.
    """
    found = {}
    for label, records in arms.items():
        rows = [_phase(record) for record in records if record.status == "complete"]
        rows = [row for row in rows if len(row.updates)]
        alike = [row for row in rows if row.updates.tolist() == rows[0].updates.tolist()]
        if alike:
            test = np.mean([row.accuracy for row in alike], axis=0)
            train = np.mean([row.train_accuracy for row in alike], axis=0)
            found[label] = PhaseCourse(alike[0].updates, test, alike[0].epochs, train)
    return found


def loss_courses(
    arms: Mapping[str, Sequence[Record]],
) -> dict[str, Float[np.ndarray, " tasks"]]:
    """Training loss at the end of each task, mean over the seeds of each arm that came so far.

    Arms of one task have no course.
    """
    found = {}
    for label, records in arms.items():
        rows = [task_losses(record) for record in records if record.status == "complete"]
        if rows and len(rows[0]) > 1:
            found[label] = np.mean([row for row in rows if len(row) == len(rows[0])], axis=0)
    return found


def _phase(record: Record) -> PhaseCourse:
    last = len(record.tasks) - 1
    updates, values = record.trace(last)
    before = max((c["step"] for c in record.curve if c["task"] < last), default=0)
    entries = [c for c in record.curve if c["task"] == last]
    hits = [np.nan if c["accuracy"] is None else c["accuracy"] for c in entries]
    epochs = np.array([c["step"] - before for c in entries], dtype=np.float64)
    return PhaseCourse(updates.astype(np.float64), values[:, last], epochs, np.array(hits))
