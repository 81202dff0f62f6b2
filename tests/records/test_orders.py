import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.records import (
    Record,
    average_order_disparity,
    maximum_order_disparity,
    order_disparity,
)


def record(finals):
    """A record whose tasks, in this order, end at these accuracies."""
    made = Record.empty(list(finals), "task_incremental", 0)
    made.accuracy[-1] = list(finals.values())
    return made


def test_hand_table():
    records = [
        record({"a": 0.9, "b": 0.5, "c": 0.7}),
        record({"b": 0.8, "c": 0.7, "a": 0.6}),
        record({"c": 0.6, "b": 0.6, "a": 0.7}),
    ]
    assert order_disparity(records) == pytest.approx({"a": 0.3, "b": 0.3, "c": 0.1})
    assert average_order_disparity(records) == pytest.approx(0.7 / 3)
    assert maximum_order_disparity(records) == pytest.approx(0.3)


def test_repeats_are_averaged_before_the_range():
    records = [
        *(record({"a": a, "b": 0.5}) for a in (0.2, 1.0)),
        *(record({"b": 0.5, "a": a}) for a in (0.7, 0.7, 0.7)),
    ]
    assert order_disparity(records) == pytest.approx({"a": 0.1, "b": 0.0})


@given(st.permutations(range(4)), st.permutations(range(4)), st.integers(0, 2**32 - 1))
def test_order_independent_learning_has_no_disparity(first, second, seed):
    finals = dict(zip("abcd", np.random.default_rng(seed).uniform(0, 1, 4), strict=True))
    orders = [first, second, [3, 2, 1, 0], [0, 1, 2, 3]]
    records = [record({"abcd"[i]: finals["abcd"[i]] for i in order}) for order in orders]
    assert maximum_order_disparity(records) == pytest.approx(0, abs=1e-12)


def test_a_run_that_diverged_makes_it_unknown():
    records = [record({"a": 0.9, "b": np.nan}), record({"b": 0.8, "a": 0.6})]
    assert order_disparity(records)["a"] == pytest.approx(0.3)
    assert math.isnan(order_disparity(records)["b"])
    assert math.isnan(average_order_disparity(records))
    assert math.isnan(maximum_order_disparity(records))


def test_what_cannot_be_compared_is_refused():
    one = record({"a": 0.9, "b": 0.5})
    with pytest.raises(ValueError, match="two or more orders of the tasks, got 1 in 2 records"):
        order_disparity([one, one])
    with pytest.raises(ValueError, match="got 0 in 0 records"):
        order_disparity([])
    with pytest.raises(ValueError, match=r"differ in their tasks: \['b', 'c'\]"):
        order_disparity([one, record({"a": 0.9, "c": 0.5})])
