"""How far a learner stays behind joint training while it learns: old tasks, new one, and both.

Means over the evaluations within the tasks after the first, those before a task's first update and
at its end included where they were made (`holdfast.records.accuracy_gap`). Tasks count alike. The
names are those of Harun & Kanan, "Overcoming the stability gap in continual learning" (2024), the
dips themselves of De Lange, van de Ven & Tuytelaars, "Continual evaluation for lifelong learning"
(2023), whose own numbers are `holdfast.records.min_accuracy` and `worst_case_accuracy`.
"""

import numpy as np

from holdfast.records.metrics import Matrix
from holdfast.records.record import Record
from holdfast.records.within import Part, accuracy_gap


def stability_gap(record: Record, joint: Record | float) -> float:
    """Mean over evaluations t of max(0, 1 - acc_old(t) / acc_old,joint).

    acc_old is the mean accuracy on the tasks before the one in training.

    Args:
        record: of the run, with evaluations within tasks.
        joint: what is to be kept up with: the record of a run over the same tasks, whose row k of
            R is the reference while task k is trained (such as one with `holdfast.methods.Joint`),
            or one accuracy for all.

    Returns:
        NaN where the record has no evaluations within tasks or has not ended, or the reference is
        unknown or 0.

    Raises:
        ValueError: a `joint` record over other tasks, or a number that is no accuracy.
    """
    return _gap(record, joint, "old")


def plasticity_gap(record: Record, joint: Record | float) -> float:
    """The same of the new task: mean of max(0, 1 - acc_new(t) / acc_new,joint).

    Arguments, result and errors as in `stability_gap`.
    """
    return _gap(record, joint, "new")


def continual_knowledge_gap(record: Record, joint: Record | float) -> float:
    """The same of all tasks seen: mean of max(0, 1 - acc_all(t) / acc_all,joint).

    Arguments, result and errors as in `stability_gap`.
    """
    return _gap(record, joint, "all")


def _gap(record: Record, joint: Record | float, part: Part) -> float:
    rows = _rows(record, joint)
    if record.finished < len(record.tasks):
        return float("nan")
    traces = [record.trace(task)[1] for task in range(len(record.tasks))]
    return accuracy_gap(record.accuracy, traces, part, rows)


def _rows(record: Record, joint: Record | float) -> Matrix:
    if isinstance(joint, Record):
        if joint.tasks != record.tasks:
            raise ValueError(
                f"joint must be a run over the same tasks in their order, {record.tasks}; "
                f"got {joint.tasks}"
            )
        return joint.accuracy
    if not 0 < joint <= 1:
        raise ValueError(f"joint must be a record or an accuracy in (0, 1], got {joint}")
    return np.full_like(record.accuracy, joint)
