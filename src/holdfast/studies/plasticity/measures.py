"""What each arm of a study of plasticity did: two measures side by side, never one score."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from holdfast.records.intervals import UNKNOWN, Interval, student_interval
from holdfast.records.record import Record
from holdfast.studies.plasticity.gap import LAST, by_seed, check_budgets, generalisation_gap, tail

PROBE = "Trainability"
"""The probe whose numbers are shown beside, where runs have it."""


@dataclass(frozen=True)
class ArmMeasures:
    """One arm, and how it differs from each reference, over the seeds both have.

    Intervals are Student's at 95 % over seeds; differences are paired.

    Args:
        runs: that came to their end, and
        of: that there are.
        accuracy: on the evaluation split over the last part of the last phases (see `tail`).
        train_accuracy: on the training batches then.
        gaps: `generalisation_gap` to each reference, by its label.
        loss: of the training batches of the last epoch of the last phases, and
        first_loss: of as many phases at the beginning.
        loss_gaps: `loss` less that of each reference: positive where the arm is left with more.
        probe_gap: what the probe `Trainability` found where the last phase began.
        updates: in a phase at the end.
        seconds: of training, over all phases.
    """

    runs: int
    of: int
    accuracy: Interval
    train_accuracy: Interval
    gaps: Mapping[str, Interval]
    loss: Interval
    first_loss: Interval
    loss_gaps: Mapping[str, Interval]
    probe_gap: Interval
    updates: float
    seconds: Interval


def loss_gap(arm: Sequence[Record], reference: Sequence[Record], phases: int = 1) -> Interval:
    """Training loss at the end of a phase less that of the reference, paired over seeds.

    The mean over the batches of the last epoch, and over the last `phases` tasks: after the same
    budget on the same task, so that each task of a long stream is a probe task of the weights it
    began with. Positive where training has become harder.

    Raises:
        ValueError: see `generalisation_gap`.
    """
    ours, theirs, found = by_seed("arm", arm), by_seed("reference", reference), []
    for seed in sorted(set(ours) & set(theirs)):
        a, b = tail(ours[seed], phases=phases), tail(theirs[seed], phases=phases)
        if not np.isnan([a.updates, b.updates]).any():
            check_budgets(a, b, seed)
            found.append(a.train_loss - b.train_loss)
    return interval(found)


def task_losses(record: Record) -> Float[np.ndarray, " tasks"]:
    """Training loss in the last epoch of each task; NaN of tasks that did not end."""
    losses = np.full(len(record.tasks), np.nan)
    for entry in record.curve:
        losses[entry["task"]] = entry["loss"]  # the last epoch's stays
    losses[record.finished :] = np.nan
    return losses


def arm_measures(
    arms: Mapping[str, Sequence[Record]],
    references: Sequence[str],
    last: float = LAST,
    phases: int = 1,
) -> dict[str, ArmMeasures | str]:
    """The measures of each arm; or why they cannot be told, such as unequal budgets.

    Args:
        arms: records by label, one a seed.
        references: the labels of those that the others are compared with; one that is no arm is
            passed over.
        last: see `tail`.
        phases: see `tail`.
    """
    found: dict[str, ArmMeasures | str] = {}
    for label, records in arms.items():
        others = {name: arms[name] for name in references if name in arms and name != label}
        try:
            found[label] = _measured(records, others, last, phases)
        except ValueError as error:
            found[label] = str(error)
    return found


def _measured(
    records: Sequence[Record], references: Mapping[str, Sequence[Record]], last: float, phases: int
) -> ArmMeasures:
    whole = [record for record in records if record.status == "complete"]
    ends = [tail(record, last, phases) for record in whole]
    losses = [task_losses(record) for record in whole]
    return ArmMeasures(
        runs=len(whole),
        of=len(records),
        accuracy=interval([end.accuracy for end in ends]),
        train_accuracy=interval([end.train_accuracy for end in ends]),
        gaps={n: generalisation_gap(records, r, last, phases).value for n, r in references.items()},
        loss=interval([end.train_loss for end in ends]),
        first_loss=interval([float(of_tasks[:phases].mean()) for of_tasks in losses]),
        loss_gaps={n: loss_gap(records, r, phases) for n, r in references.items()},
        probe_gap=interval([v for record in whole if (v := _probed(record)) is not None]),
        updates=float(np.mean([end.updates for end in ends])) if ends else float("nan"),
        seconds=interval([float(sum(record.seconds)) for record in whole]),
    )


def _probed(record: Record) -> float | None:
    """What the probe found where the last task began."""
    last = len(record.tasks) - 1
    for entry in record.probes:
        if entry["probe"] == PROBE and entry["task"] == entry["on"] == last:
            value = entry["values"].get("gap")
            return None if value is None else float(value)
    return None


def interval(values: Sequence[float]) -> Interval:
    """Student's, of values one a seed; unknown of none."""
    return student_interval(np.array(values)) if len(values) else UNKNOWN
