import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.theory import slope, typical


@given(st.floats(-2, 0.5), st.floats(0.01, 10))
def test_the_slope_of_a_power_law_is_its_exponent(exponent, scale):
    own = np.array([0.5, 1.0, 2.0])
    found = slope({n: scale * own * n**exponent for n in (8, 32, 100, 1000)})
    assert found.mean == pytest.approx(exponent, abs=1e-9)
    assert found.low <= found.mean <= found.high


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    draws = np.random.default_rng(0)
    hits = 0
    for trial in range(100):
        gaps = {n: np.abs(draws.normal(size=20)) / n**0.5 for n in (64, 256, 1024)}
        found = slope(gaps, resamples=300, seed=trial)
        hits += found.low <= -0.5 <= found.high
    assert 85 <= hits <= 99


def test_networks_that_diverged_and_widths_without_others_are_left_out():
    whole = {n: np.array([1.0, 3.0]) / n**0.5 for n in (4, 16, 64)}
    lame = {4: np.append(whole[4], np.nan), 16: whole[16], 64: whole[64], 256: np.array([np.nan])}
    assert slope(lame).mean == pytest.approx(slope(whole).mean)
    assert typical(np.array([3.0, np.nan, 4.0])).mean == pytest.approx(math.sqrt(12.5))


def test_what_cannot_be_known_is_nan():
    assert math.isnan(slope({64: np.ones(3)}).mean)
    single = slope({64: np.ones(1), 128: np.ones(3)})
    assert single.mean == pytest.approx(0)
    assert math.isnan(single.low)
    assert math.isnan(typical(np.array([np.nan])).mean)
    assert math.isnan(typical(np.array([2.0])).low)
