"""The generalisation gap: test accuracy after carrying on, less that from fresh weights."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from holdfast.records.intervals import UNKNOWN, Interval, student_interval
from holdfast.records.record import Record

LAST = 0.3
"""Share of the epochs of a phase, at its end, that accuracies are means over."""


def first_of_last(total: int, last: float = LAST) -> int:
    """Position of the first of the last part: e of E, counted from 1, with e > (1 - last) E.

    At least the last one belongs to it. Counted from 0, so also how many come before.

    >>> first_of_last(10), first_of_last(4), first_of_last(1)
    (7, 2, 0)
    """
    # A rounding error above is not above.
    return min(int((1 - last) * total + 1e-9), total - 1)


@dataclass(frozen=True)
class Tail:
    """The end of the last phase (or phases) of a run.

    Args:
        accuracy: on the phase's evaluation split, mean over the last part of its evaluations; that
            at the end alone where there were none within.
        train_accuracy: on the batches it was trained on, mean over the last part of its epochs.
        train_loss: of the batches of its last epoch.
        updates: made in the phase; with several phases, in each of them on average.
        samples: that `accuracy` is of; 0 where the record does not know.
    """

    accuracy: float
    train_accuracy: float
    train_loss: float
    updates: float
    samples: int


@dataclass(frozen=True)
class Gap:
    """What one arm has more than another, paired over seeds.

    Args:
        value: mean of the differences, with Student's interval at 95 %; signed: negative where
            the arm stays below its reference.
        differences: by seed.
        arm: mean accuracy of the arm over these seeds, with its own interval.
        reference: of the reference.
        arm_train: mean training accuracy of the arm, which tells a net that generalises worse from
            one that has not learned its samples.
        reference_train: of the reference.
        left_out: seeds of either that have no pair, because a run is missing or did not end.
    """

    value: Interval
    differences: Mapping[int, float]
    arm: Interval
    reference: Interval
    arm_train: Interval
    reference_train: Interval
    left_out: tuple[int, ...] = ()


def tail(record: Record, last: float = LAST, phases: int = 1) -> Tail:
    """The end of the last `phases` tasks of a run, each on its own evaluation split.

    The epochs from `first_of_last` on are the last part; evaluations belong to it likewise, by
    their update.

    Args:
        record: of a run that ended; NaN of one that did not.
        last: share of the phase, in (0, 1].
        phases: how many of the last tasks to average over, each alike.

    Raises:
        ValueError: `last` or `phases` out of range.
    """
    if not 0 < last <= 1:
        raise ValueError(f"last must be a share in (0, 1], got {last}")
    if not 1 <= phases <= len(record.tasks):
        raise ValueError(f"phases must be in 1..{len(record.tasks)}, the tasks; got {phases}")
    tasks = range(len(record.tasks) - phases, len(record.tasks))
    samples = record.samples[-1] if record.samples else 0
    if record.status != "complete":
        return Tail(float("nan"), float("nan"), float("nan"), float("nan"), samples)
    rows = np.array([_phase(record, task, last) for task in tasks])
    accuracy, train_accuracy, train_loss, updates = rows.mean(axis=0).tolist()
    return Tail(accuracy, train_accuracy, train_loss, updates, samples)


def generalisation_gap(
    arm: Sequence[Record], reference: Sequence[Record], last: float = LAST, phases: int = 1
) -> Gap:
    """Test accuracy of an arm less that of its reference, at equal budget, paired over seeds.

    The arm carries on from weights that were trained on a part of the data, the reference starts
    from fresh ones; in the last phase both see the same samples equally often (Ash & Adams, 2020;
    Berariu et al., 2021, *A study on the plasticity of neural networks*, who average over the last
    100 epochs). It says nothing of whether the training loss still falls: see `trainability_gap`.

    Args:
        arm: records, one a seed.
        reference: likewise.
        last: see `tail`.
        phases: see `tail`.

    Raises:
        ValueError: two runs of one seed in an arm, or arms of unequal budgets: of one seed they
            make different numbers of updates in the last phase, or are tested on different numbers
            of samples.
    """
    ours, theirs = by_seed("arm", arm), by_seed("reference", reference)
    pairs = {}
    for seed in sorted(set(ours) & set(theirs)):
        pair = tail(ours[seed], last, phases), tail(theirs[seed], last, phases)
        if not np.isnan([pair[0].updates, pair[1].updates]).any():
            check_budgets(*pair, seed)
            pairs[seed] = pair
    left_out = tuple(sorted((set(ours) | set(theirs)) - set(pairs)))
    return Gap(
        _interval([a.accuracy - b.accuracy for a, b in pairs.values()]),
        {seed: a.accuracy - b.accuracy for seed, (a, b) in pairs.items()},
        _interval([a.accuracy for a, _ in pairs.values()]),
        _interval([b.accuracy for _, b in pairs.values()]),
        _interval([a.train_accuracy for a, _ in pairs.values()]),
        _interval([b.train_accuracy for _, b in pairs.values()]),
        left_out,
    )


def check_budgets(arm: Tail, reference: Tail, seed: int) -> None:
    """Refuse a pair of runs that did not have the same budget.

    Raises:
        ValueError: naming what differs, and how to make it equal.
    """
    if arm.updates != reference.updates:
        raise ValueError(
            f"the arms have unequal budgets: at seed {seed} the last phase makes {arm.updates:g} "
            f"updates in one and {reference.updates:g} in the other; give both the same samples, "
            "epochs and batch size there"
        )
    if arm.samples != reference.samples:
        raise ValueError(
            f"the arms are tested on different samples: at seed {seed} on {arm.samples} and "
            f"{reference.samples}; give both the same evaluation split"
        )


def by_seed(name: str, records: Sequence[Record]) -> dict[int, Record]:
    """Records by their seed.

    Raises:
        ValueError: two of one seed, naming the argument.
    """
    found = {record.seed: record for record in records}
    if len(found) < len(records):
        raise ValueError(
            f"{name} must hold one record a seed, got seeds {sorted(r.seed for r in records)}"
        )
    return found


def _phase(record: Record, task: int, last: float) -> tuple[float, float, float, float]:
    entries = [entry for entry in record.curve if entry["task"] == task]
    before = max((c["step"] for c in record.curve if c["task"] < task), default=0)
    updates = entries[-1]["step"] - before
    train = [e["accuracy"] for e in entries[first_of_last(len(entries), last) :]]
    steps, values = record.trace(task)
    within = values[steps > first_of_last(updates, last), task]
    test = within.mean() if len(within) else record.accuracy[task, task]
    hits = float("nan") if None in train else float(np.mean(train))
    return float(test), hits, float(entries[-1]["loss"]), float(updates)


def _interval(values: Sequence[float]) -> Interval:
    return student_interval(np.array(values)) if len(values) else UNKNOWN
