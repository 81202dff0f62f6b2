"""The lazy-rich transition, by leaving the plateau and by the steepest slope."""

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.studies.richness import Transition, plateau_departure, steepest_slope

GRID = np.logspace(-2, 0, 9)
X = np.log10(GRID)

Estimator = Callable[..., Transition]
BOTH = (plateau_departure, steepest_slope)


def rise(place: float = -0.5, noise: float = 0.002, seeds: int = 4, seed: int = 0) -> np.ndarray:
    """From 0 to 0.2 within about half a decade around 10^place; seeds on levels of their own."""
    draws = np.random.default_rng(seed)
    levels = 0.01 * draws.normal(size=(seeds, 1))
    curve = 0.2 / (1 + np.exp(-(X - place) / 0.08))
    return levels + curve + noise * draws.normal(size=(seeds, len(X)))


def test_a_plateau_is_left_where_the_mean_first_exceeds_k_standard_errors() -> None:
    values = rise()
    found = plateau_departure(GRID, values, k=3.0)
    # By hand: each seed above its own plateau, the noise of the plateau pooled over its points.
    heights, square = [[value - sum(row[:3]) / 3 for value in row] for row in values], 0.0
    columns = list(zip(*heights, strict=True))
    means = [sum(column) / 4 for column in columns]
    for seed, gamma in itertools.product(range(4), range(3)):
        square += (heights[seed][gamma] - means[gamma]) ** 2 / (2 * 3)
    place = 3
    while True:
        own = sum((v - means[place]) ** 2 for v in columns[place]) / 3
        error = math.sqrt(max(own, square * 4 / 3) / 4)
        if means[place] > max(3 * error, 1e-3):
            break
        place += 1
    assert (found.kind, found.gamma0.mean) == ("found", GRID[place])
    assert found.size == pytest.approx(means[place])
    assert found.threshold == pytest.approx(max(3 * error, 1e-3))
    assert found.verdict == "found"
    assert found.share == 1.0


def test_the_interval_of_the_departure_is_that_of_all_resamples() -> None:
    values = rise(noise=0.02, seeds=3, seed=3)
    found = plateau_departure(GRID, values)
    above = values - values[:, :3].mean(axis=1, keepdims=True)
    pooled = ((above[:, :3] - above[:, :3].mean(axis=0)) ** 2).sum() / 4
    threshold = 2 * np.sqrt(np.maximum(above.var(axis=0, ddof=1), 4 / 3 * pooled) / 3)
    places = []
    for drawn in itertools.product(above, repeat=3):
        out = np.mean(drawn, axis=0) > threshold
        places += [GRID[j] for j in range(3, 9) if out[j] and (j == 8 or out[j + 1])][:1]
    assert len(set(places)) > 1
    low, high = np.quantile(places, [0.025, 0.975], method="inverted_cdf")
    assert (found.gamma0.low, found.gamma0.high) == pytest.approx((low, high))
    assert found.share == pytest.approx(len(places) / 27, abs=0.02)


def test_one_point_that_stands_out_is_no_departure_but_the_last_is() -> None:
    values = rise(place=2.0, noise=0.001)
    values[:, 5] += 0.1
    assert plateau_departure(GRID, values).kind == "none"
    values[:, 6] += 0.1
    assert plateau_departure(GRID, values).gamma0.mean == GRID[5]
    values = rise(place=2.0, noise=0.001)
    values[:, -1] += 0.1
    assert plateau_departure(GRID, values).gamma0.mean == 1.0


def test_a_lazy_end_without_any_forgetting_is_left_at_the_floor() -> None:
    values = np.zeros((3, len(GRID)))
    values[:, 4:] = [0.0004, 0.002, 0.01, 0.05, 0.2]
    assert plateau_departure(GRID, values).gamma0.mean == GRID[5]
    assert plateau_departure(GRID, values, floor=0.0).gamma0.mean == GRID[4]
    assert plateau_departure(GRID, values, floor=0.02).gamma0.mean == GRID[7]


def test_the_steepest_slope_is_that_of_lines_through_three_neighbours() -> None:
    values = rise(noise=0.004)
    found = steepest_slope(GRID, values, floor=0.005)
    mean = [math.log(max(value, 0.005)) for value in values.mean(axis=0)]
    slopes = [np.polyfit(np.log(GRID[i : i + 3]), mean[i : i + 3], 1)[0] for i in range(7)]
    best = int(np.argmax(slopes))
    assert (found.kind, found.gamma0.mean) == ("found", GRID[best + 1])
    assert found.size == pytest.approx(slopes[best])
    assert found.threshold == 0.005
    places = []
    for drawn in itertools.product(values, repeat=4):
        y = np.log(np.maximum(np.mean(drawn, axis=0), 0.005))
        lines = [np.polyfit(np.log(GRID[i : i + 3]), y[i : i + 3], 1)[0] for i in range(7)]
        places.append(GRID[np.argmax(lines) + 1])
    low, high = np.quantile(places, [0.025, 0.975], method="inverted_cdf")
    assert (found.gamma0.low, found.gamma0.high) == pytest.approx((low, high))


def test_the_steepest_slope_of_a_known_curve() -> None:
    """a + b s(x) with s the logistic of x / w is steepest where s = 1 / (1 + sqrt(1 + b / a))."""
    grid = np.logspace(-3, 1, 401)
    a, b, width = 0.01, 0.2, 0.1
    s = 1 / (1 + np.exp(-(np.log(grid) + 1.5) / width))
    found = steepest_slope(grid, np.tile(a + b * s, (2, 1)), floor=1e-6, resamples=10)
    share = 1 / (1 + math.sqrt(1 + b / a))
    expected = math.exp(-1.5 + width * math.log(share / (1 - share)))
    assert found.gamma0.mean == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("estimate", BOTH)
def test_a_flat_curve_has_no_transition(estimate: Estimator) -> None:
    for level in (0.0, 0.03):
        found = estimate(GRID, np.full((3, len(GRID)), level))
        assert (found.kind, found.verdict) == ("none", "none in this range")
        assert np.isnan(found.gamma0).all()
        assert found.share == 0.0
    noise = 0.004 * np.random.default_rng(0).normal(size=(100, 3, len(GRID)))
    found_any = [estimate(GRID, values, resamples=300).kind == "found" for values in noise]
    assert sum(found_any) <= 12


def test_curves_without_a_low_plateau_say_so() -> None:
    noise = 0.002 * np.random.default_rng(0).normal(size=(4, len(GRID)))
    shared_head = 0.3 - 0.2 * X + noise
    assert plateau_departure(GRID, shared_head).kind == "no plateau"
    assert steepest_slope(GRID, shared_head).kind == "none"
    from_the_start = 0.3 + 0.1 * X + noise
    assert plateau_departure(GRID, from_the_start).verdict == "no lazy plateau"
    assert plateau_departure(GRID, 0.2 - rise()).kind == "falls"
    assert plateau_departure(GRID, 0.2 - rise()).verdict == "falls from the plateau"


@pytest.mark.parametrize("estimate", BOTH)
def test_runs_that_diverged_are_left_out(estimate: Estimator) -> None:
    values = rise()
    values[0, -1] = values[2, -2] = np.nan
    assert estimate(GRID, values) == estimate(GRID[:-2], values[:, :-2])
    assert estimate(GRID, np.full((3, len(GRID)), np.nan)).kind == "undecided"


@pytest.mark.parametrize("estimate", BOTH)
def test_one_seed_and_three_points_decide_nothing(estimate: Estimator) -> None:
    assert estimate(GRID, rise(seeds=1)).kind == "undecided"
    assert estimate(GRID[:3], rise()[:, :3]).verdict == "undecided"


@pytest.mark.parametrize("estimate", BOTH)
@given(stretch=st.floats(0.01, 100), place=st.floats(-0.9, -0.3))
@settings(max_examples=10)
def test_places_follow_the_unit_of_gamma0(
    estimate: Estimator, stretch: float, place: float
) -> None:
    values = rise(place)
    plain = estimate(GRID, values, resamples=100)
    moved = estimate(stretch * GRID, values, resamples=100)
    assert moved.gamma0 == pytest.approx([stretch * g for g in plain.gamma0])
    assert abs(math.log10(plain.gamma0.mean) - place) < 0.55


@pytest.mark.parametrize("estimate", BOTH)
def test_the_draws_are_those_of_the_seed_given(estimate: Estimator) -> None:
    values = rise(noise=0.02)
    assert estimate(GRID, values, seed=3) == estimate(GRID, values, seed=3)


def test_wrong_arguments() -> None:
    with pytest.raises(ValueError, match="k must be 0 or more, got -1"):
        plateau_departure(GRID, rise(), k=-1.0)
    with pytest.raises(ValueError, match="floor must be 0 or more, got nan"):
        plateau_departure(GRID, rise(), floor=float("nan"))
    with pytest.raises(ValueError, match=r"floor must be positive, got 0\.0"):
        steepest_slope(GRID, rise(), floor=0.0)
    for estimate in BOTH:
        with pytest.raises(ValueError, match="gamma0 must ascend"):
            estimate(GRID[::-1].copy(), rise())
