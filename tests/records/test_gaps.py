import math

import numpy as np
import pytest

from holdfast.records import (
    Record,
    accuracy_gap,
    continual_knowledge_gap,
    min_accuracy,
    plasticity_gap,
    stability_gap,
)

ENDS = [[0.8, 0.1, 0.2], [0.6, 0.9, 0.3], [0.5, 0.7, 1.0]]
WITHIN = {
    0: [[0.4, 0.0, 0.0]],
    1: [[0.2, 0.0, 0.0], [0.8, 0.7, 0.0]],
    2: [[0.3, 0.9, 0.5], [0.6, 0.3, 0.8]],
}
JOINT = [[0.8, 0.0, 0.0], [0.8, 1.0, 0.0], [0.6, 0.9, 0.8]]


def record(ends: list[list[float]], within: dict[int, list[list[float]]]) -> Record:
    made = Record.empty(["a", "b", "c"], "class_incremental", 0)
    made.accuracy[:] = ends
    made.loss[:] = 0.0
    for task, rows in within.items():
        made.curve.append({"task": task, "epoch": 0, "step": 10 * (task + 1)})
        for n, row in enumerate(rows):
            made.evaluations.append(
                {"task": task, "step": 10 * task + 4 * n, "accuracy": row, "loss": row}
            )
    return made


RUN, REFERENCE = record(ENDS, WITHIN), record(JOINT, {})


def test_gaps_against_joint_training_by_hand() -> None:
    first = (1 - 0.2 / 0.8 + 0) / 2
    second = ((1 - 0.6 / 0.75) + (1 - 0.45 / 0.75)) / 2
    assert stability_gap(RUN, REFERENCE) == pytest.approx((first + second) / 2)
    first = (1 + (1 - 0.7 / 1.0)) / 2  # nothing of the new task before its first update
    second = ((1 - 0.5 / 0.8) + 0) / 2
    assert plasticity_gap(RUN, REFERENCE) == pytest.approx((first + second) / 2)
    first = ((1 - 0.1 / 0.9) + (1 - 0.75 / 0.9)) / 2
    level = 2.3 / 3
    second = 1 - (1.7 / 3) / level
    assert continual_knowledge_gap(RUN, REFERENCE) == pytest.approx((first + second) / 2)


def test_a_number_stands_for_all_tasks() -> None:
    everywhere = record([[0.9] * 3] * 3, {})
    for gap in (stability_gap, plasticity_gap, continual_knowledge_gap):
        assert gap(RUN, 0.9) == gap(RUN, everywhere)
    assert stability_gap(RUN, 0.1) == 0


def test_the_run_itself_is_a_reference() -> None:
    traces = [RUN.trace(k)[1] for k in range(3)]
    own = accuracy_gap(RUN.accuracy, traces, "old", "after")
    assert stability_gap(RUN, RUN) == pytest.approx(own)
    assert RUN.metrics()["plasticity_gap"] == pytest.approx(plasticity_gap(RUN, RUN))
    assert RUN.metrics()["continual_knowledge_gap"] == pytest.approx(
        continual_knowledge_gap(RUN, RUN)
    )


def test_what_a_start_destroys_counts_for_the_lowest_accuracy() -> None:
    # .2 on the first task before the first update of the second.
    traces = [RUN.trace(k)[1] for k in range(3)]
    assert min_accuracy(RUN.accuracy, traces) == pytest.approx((0.2 + 0.3) / 2)


def test_what_is_unknown_stays_unknown() -> None:
    assert math.isnan(stability_gap(record(ENDS, {0: WITHIN[0], 1: WITHIN[1]}), 0.9))
    unfinished = [[*ENDS[0]], [*ENDS[1]], [math.nan] * 3]
    cut = record(unfinished, WITHIN)
    cut.loss[2] = np.nan
    assert math.isnan(stability_gap(cut, 0.9))
    assert math.isnan(stability_gap(RUN, record([[0.0] * 3] * 3, {})))


def test_wrong_references() -> None:
    other = Record.empty(["a", "c", "b"], "class_incremental", 0)
    with pytest.raises(ValueError, match=r"same tasks in their order, \('a', 'b', 'c'\)"):
        stability_gap(RUN, other)
    with pytest.raises(ValueError, match=r"an accuracy in \(0, 1\], got 90"):
        plasticity_gap(RUN, 90.0)
