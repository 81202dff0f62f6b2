import inspect
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.records import (
    accuracy_gap,
    anytime_accuracy,
    min_accuracy,
    steps_to,
    worst_case_accuracy,
)
from holdfast.records.within import tasks_of

# Three tasks; two evaluations within each. By hand from here.
ENDS = np.array([[0.8, 0.1, 0.2], [0.6, 0.9, 0.3], [0.5, 0.7, 1.0]])
TRACES = [
    np.array([[0.4, 0.0, 0.0], [0.6, 0.0, 0.0]]),
    np.array([[0.2, 0.5, 0.0], [0.8, 0.7, 0.0]]),
    np.array([[0.3, 0.9, 0.5], [0.6, 0.3, 0.8]]),
]


def test_hand_computed_min_accuracy():
    assert min_accuracy(ENDS, TRACES) == pytest.approx((0.2 + 0.3) / 2)
    assert worst_case_accuracy(ENDS, TRACES) == pytest.approx(1.0 / 3 + 2 / 3 * 0.25)


def test_min_accuracy_counts_the_ends_of_tasks():
    assert min_accuracy(np.array([[1.0, 0], [0.1, 1]]), [np.ones((1, 2))] * 2) == 0.1


def test_hand_computed_gaps():
    first = (0.6 / 0.8 + 0.0) / 2  # task 0 at .2 and .8, .8 before task 1
    second = ((1 - 0.6 / 0.75) + (1 - 0.45 / 0.75)) / 2  # means .6 and .45, .75 before task 2
    assert accuracy_gap(ENDS, TRACES) == pytest.approx((first + second) / 2)
    first = ((1 - 0.2 / 0.6) + 0) / 2
    second = (0 + (1 - 0.45 / 0.6)) / 2
    assert accuracy_gap(ENDS, TRACES, "old", "after") == pytest.approx((first + second) / 2)
    first = ((1 - 0.5 / 0.9) + (1 - 0.7 / 0.9)) / 2
    second = ((1 - 0.5 / 1.0) + (1 - 0.8 / 1.0)) / 2
    assert accuracy_gap(ENDS, TRACES, "new", "after") == pytest.approx((first + second) / 2)
    joint = np.full((3, 3), 0.9)
    seen = [[0.35, 0.75], [1.7 / 3, 1.7 / 3]]
    by_task = [np.mean([1 - a / 0.9 for a in row]) for row in seen]
    assert accuracy_gap(ENDS, TRACES, "all", joint) == pytest.approx(np.mean(by_task))


def test_hand_computed_anytime_accuracy():
    seen = [0.4, 0.6, 0.35, 0.75, 1.7 / 3, 1.7 / 3]
    assert anytime_accuracy(TRACES) == pytest.approx(np.mean(seen))


@given(st.integers(0, 2**32 - 1), st.integers(2, 5))
def test_min_accuracy_matches_the_search_written_out(seed, count):
    rng = np.random.default_rng(seed)
    ends = rng.uniform(0, 1, (count, count))
    traces = [rng.uniform(0, 1, (rng.integers(1, 4), count)) for _ in range(count)]
    total = 0.0
    for j in range(count - 1):
        lowest = 1.0
        for k in range(j + 1, count):
            for row in [*traces[k].tolist(), ends[k].tolist()]:
                lowest = min(lowest, row[j])
        total += lowest
    assert min_accuracy(ends, traces) == pytest.approx(total / (count - 1))
    assert 0 <= accuracy_gap(ends, traces) <= 1


def test_no_dip_is_no_gap():
    ends, traces = np.full((3, 3), 0.5), [np.full((4, 3), 0.5)] * 3
    assert accuracy_gap(ends, traces) == accuracy_gap(ends, traces, "all", "after") == 0
    assert min_accuracy(ends, traces) == 0.5


def test_without_evaluations_within_tasks_nothing_is_known():
    none = [np.zeros((0, 3))] * 3
    for metric in (min_accuracy, worst_case_accuracy, accuracy_gap):
        assert math.isnan(metric(ENDS, none))
        assert math.isnan(metric(ENDS, [*TRACES[:2], none[2]]))
        assert math.isfinite(metric(ENDS, [none[0], *TRACES[1:]]))
    assert math.isnan(anytime_accuracy([none[0], *TRACES[1:]]))


def test_one_task_has_no_gap():
    one, trace = np.array([[0.9]]), [np.array([[0.5]])]
    assert math.isnan(min_accuracy(one, trace))
    assert math.isnan(accuracy_gap(one, trace))
    assert anytime_accuracy(trace) == 0.5


def test_unknown_and_zero_references_are_unknown():
    holed = ENDS.copy()
    holed[0, 0] = np.nan
    assert math.isnan(accuracy_gap(holed, TRACES))
    assert math.isnan(min_accuracy(ENDS, [TRACES[0], TRACES[1] * np.nan, TRACES[2]]))
    assert math.isnan(accuracy_gap(np.zeros((3, 3)), TRACES))


def test_wrong_arguments_of_gaps():
    with pytest.raises(ValueError, match="traces must be 3 arrays of \\(evaluations, 3\\)"):
        accuracy_gap(ENDS, TRACES[:2])
    with pytest.raises(ValueError, match="traces must be 3 arrays"):
        # Unwrapped, here and below: the type checker of the tests would refuse the values first.
        inspect.unwrap(min_accuracy)(ENDS, [trace[:, :2] for trace in TRACES])
    with pytest.raises(ValueError, match="part='new' give 'after' or the matrix of joint"):
        accuracy_gap(ENDS, TRACES, "new")
    gap = inspect.unwrap(accuracy_gap)
    with pytest.raises(ValueError, match=r"part must be one of .*got 'both'"):
        inspect.unwrap(tasks_of)("both", 1)
    with pytest.raises(ValueError, match="'before', 'after' or a matrix, got 'joint'"):
        gap(ENDS, TRACES, "old", "joint")
    with pytest.raises(ValueError, match="reference must have shape \\(3, 3\\), got \\(2, 2\\)"):
        gap(ENDS, TRACES, "old", np.ones((2, 2)))


def test_steps_to_a_target():
    steps, values = np.array([5, 10, 15, 20]), np.array([0.2, 0.5, 0.4, 0.9])
    assert steps_to(steps, values, 0.5) == 10
    assert steps_to(steps, values, 0.51) == 20
    assert math.isnan(steps_to(steps, values, 0.95))
    assert math.isnan(steps_to(steps[:0], values[:0], 0.1))
    assert steps_to(steps, np.array([0.2, 0.5, np.nan, 0.9]), 0.5) == 10
    assert math.isnan(steps_to(steps, np.array([np.nan, 0.5, 0.4, 0.9]), 0.5))
