import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.records import mean_interval, student_interval


def test_of_many_values_it_is_the_normal_interval():
    values = np.random.default_rng(0).normal(3, 2, 400)
    found = mean_interval(values, 0.9, resamples=20_000)
    half = 1.645 * values.std() / 20
    assert found.mean == pytest.approx(values.mean())
    assert found.high - found.mean == pytest.approx(half, rel=0.04)
    assert found.mean - found.low == pytest.approx(half, rel=0.04)


def test_of_two_values_the_resampled_means_are_three():
    # Means a, (a + b) / 2, b with probability 1/4, 1/2, 1/4.
    assert mean_interval(np.array([1.0, 3.0]), 0.95) == (2.0, 1.0, 3.0)
    assert mean_interval(np.array([1.0, 3.0]), 0.4) == (2.0, 2.0, 2.0)


@given(st.integers(0, 2**32 - 1), st.integers(2, 12), st.floats(0.1, 10), st.floats(-5, 5))
def test_it_moves_and_scales_with_the_values(seed, count, scale, shift):
    values = np.random.default_rng(seed).normal(size=count)
    found, moved = mean_interval(values), mean_interval(scale * values + shift)
    assert moved == pytest.approx(tuple(scale * v + shift for v in found), abs=1e-9)
    least, most = values.min() - 1e-12, values.max() + 1e-12
    assert least <= found.low <= found.mean <= found.high <= most
    wider = mean_interval(values, 0.99)
    assert wider.low <= found.low
    assert wider.high >= found.high


def test_one_value_has_no_interval_and_an_unknown_one_no_mean():
    single = mean_interval(np.array([0.5]))
    assert single.mean == 0.5
    assert math.isnan(single.low)
    assert math.isnan(single.high)
    assert all(map(math.isnan, mean_interval(np.array([0.5, np.nan, 0.7]))))


def test_wrong_arguments():
    with pytest.raises(ValueError, match="one or more values, got none"):
        mean_interval(np.zeros(0))
    for level in (0.0, 1.0, 95.0):
        with pytest.raises(ValueError, match=f"level must lie between 0 and 1, got {level}"):
            mean_interval(np.ones(3), level)
    with pytest.raises(ValueError, match="resamples must be 1 or more, got 0"):
        mean_interval(np.ones(3), resamples=0)


def test_students_interval_holds_its_level_for_few_runs():
    draws = np.random.default_rng(0).normal(1.0, 2.0, (1500, 4))
    found = [student_interval(values, 0.9) for values in draws]
    assert np.mean([i.low <= 1.0 <= i.high for i in found]) == pytest.approx(0.9, abs=0.025)
    # t of one degree of freedom at 0.95 is tan(0.45 pi), s of two values |a - b| / sqrt(2)
    low = 2.0 - math.tan(0.45 * math.pi)
    assert student_interval(np.array([1.0, 3.0]), 0.9).low == pytest.approx(low)


def test_students_interval_of_one_value_or_an_unknown_one():
    assert student_interval(np.array([0.5])).mean == 0.5
    assert math.isnan(student_interval(np.array([0.5])).low)
    assert math.isnan(student_interval(np.array([0.5, np.nan])).mean)
    assert student_interval(np.full(3, 2.0)) == (2.0, 2.0, 2.0)
    with pytest.raises(ValueError, match="needs one or more values"):
        student_interval(np.zeros(0))
    with pytest.raises(ValueError, match="level must lie between"):
        student_interval(np.zeros(2), level=1.0)
