"""gamma0*: the argmin of the average error, its intervals, and whether it is an optimum at all."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.studies.richness import Optimum, optimum, stable_range
from holdfast.studies.richness.curves import check_curve, left_out_means, resampled_means
from holdfast.studies.richness.optima import refined_argmin

GRID = np.logspace(-2, 0, 9)
X = np.log10(GRID)


def u_shape(place: float, seeds: int = 4, noise: float = 0.0, seed: int = 0) -> np.ndarray:
    """Parabolas in log10 gamma0 with their least value at 10^place, on a level a seed."""
    draws = np.random.default_rng(seed)
    levels = 0.2 + 0.05 * draws.normal(size=(seeds, 1))
    return levels + 0.1 * (X - place) ** 2 + noise * draws.normal(size=(seeds, len(X)))


def test_a_parabola_in_log_gamma0_is_found_off_the_grid() -> None:
    found = optimum(GRID, u_shape(-0.8))
    assert found.gamma0.mean == pytest.approx(10**-0.75)
    assert found.refined == pytest.approx([10**-0.8] * 3)
    assert (found.where, found.interior) == ("interior", True)
    assert found.verdict == "interior"
    assert found.stable.every == found.stable.most == 1.0
    # Noise-free curves of levels that differ: the excess of the ends is the same in every seed.
    assert found.lower_excess == pytest.approx([0.1 * (1.2**2 - 0.05**2)] * 3)
    assert found.upper_excess == pytest.approx([0.1 * (0.8**2 - 0.05**2)] * 3)


def test_the_interval_is_that_of_all_resamples() -> None:
    values = u_shape(-0.8, seeds=4, noise=0.15)
    places = [
        GRID[np.mean(drawn, axis=0).argmin()] for drawn in itertools.product(values, repeat=4)
    ]
    found = optimum(GRID, values, level=0.8)
    assert len(set(places)) > 2
    low, high = np.quantile(places, [0.1, 0.9], method="inverted_cdf")
    assert (found.gamma0.low, found.gamma0.high) == pytest.approx((low, high))


@pytest.mark.parametrize("seed", range(5))
def test_the_refinement_is_the_vertex_of_the_interpolating_parabola(seed: int) -> None:
    draws = np.random.default_rng(seed)
    grid = np.sort(draws.uniform(0.01, 2, size=7))
    means = draws.normal(size=(40, 7))
    for row, found in zip(means, refined_argmin(grid, means), strict=True):
        best = int(row.argmin())
        if best in (0, 6):
            assert found == grid[best]
            continue
        near = slice(best - 1, best + 2)
        a, b, _ = np.polyfit(np.log(grid[near]), row[near], 2)
        assert found == pytest.approx(math.exp(-b / (2 * a)), rel=1e-6)
        assert grid[best - 1] <= found <= grid[best + 1]


@given(
    shift=st.floats(-3, 3),
    scale=st.floats(0.1, 10),
    stretch=st.floats(0.01, 100),
    levels=st.lists(st.floats(-1, 1), min_size=3, max_size=3),
)
@settings(max_examples=15)
def test_levels_and_units_change_nothing(
    shift: float, scale: float, stretch: float, levels: list[float]
) -> None:
    values = u_shape(-0.9, seeds=3, noise=0.01)
    plain = optimum(GRID, values, resamples=200)
    moved = optimum(
        stretch * GRID, shift + scale * values + np.array(levels)[:, None], resamples=200
    )
    assert moved.where == plain.where
    assert moved.gamma0 == pytest.approx([stretch * g for g in plain.gamma0])
    assert moved.refined == pytest.approx([stretch * g for g in plain.refined], rel=1e-5)


@pytest.mark.parametrize(
    ("slope", "where", "best"), [(-0.1, "upper end", 1.0), (0.1, "lower end", 0.01)]
)
def test_monotone_curves_have_no_interior_optimum(slope: float, where: str, best: float) -> None:
    values = (
        u_shape(0.0, seeds=5) * 0
        + slope * X
        + 0.005 * np.random.default_rng(0).normal(size=(5, len(X)))
    )
    found = optimum(GRID, values)
    assert (found.where, found.gamma0.mean) == (where, best)
    assert found.refined.mean == best
    assert found.verdict.startswith(f"no interior optimum in this range: the {where}")


def test_a_dip_beside_an_end_that_is_as_good_is_no_interior_optimum() -> None:
    values = u_shape(-0.2, seeds=5, noise=0.01, seed=3)
    found = optimum(GRID, values)
    assert 0 < GRID.tolist().index(found.gamma0.mean) < len(GRID) - 1
    assert found.where == "upper end"
    assert found.upper_excess.low <= 0 < found.lower_excess.low


def test_flat_curves_are_said_to_be_flat() -> None:
    assert optimum(GRID, np.full((3, len(GRID)), 0.25)).where == "flat"
    assert optimum(GRID, np.full((3, len(GRID)), 0.25)).gamma0.mean == GRID[0]
    noise = np.random.default_rng(1).normal(size=(100, 3, len(GRID)))
    kinds = [optimum(GRID, values, resamples=300).where for values in noise]
    # The least of nine noisy means lies below both ends in most of these.
    assert sum(kind == "interior" for kind in kinds) <= 12
    assert sum(kind == "flat" for kind in kinds) >= 65


def test_runs_that_diverged_are_left_out_and_the_stable_range_is_told() -> None:
    values = u_shape(-0.8, seeds=3)
    values[:, -1] = np.nan
    values[1, -2] = np.inf
    found = optimum(GRID, values)
    assert (found.where, found.gamma0.mean) == ("interior", pytest.approx(10**-0.75))
    assert found.stable.every == GRID[-3]
    assert found.stable.most == GRID[-2]
    assert found.stable.missing == {GRID[-2]: 1, GRID[-1]: 3}
    assert np.isfinite(found.upper_excess).all()


def test_where_all_runs_diverge_it_says_so() -> None:
    values = np.full((3, len(GRID)), np.nan)
    found = optimum(GRID, values)
    assert (found.where, found.verdict) == (
        "unstable", "none: at no gamma0 has every seed a finite value",
    )  # fmt: skip
    assert np.isnan([*found.gamma0, *found.refined, *found.error]).all()
    assert math.isnan(found.stable.every)
    values[0] = 0.5
    assert optimum(GRID, values).where == "unstable"


def test_one_seed_and_two_points_decide_nothing() -> None:
    one = optimum(GRID, u_shape(-0.8, seeds=1))
    assert (one.where, one.gamma0.mean) == ("undecided", pytest.approx(10**-0.75))
    assert np.isnan([one.gamma0.low, one.gamma0.high, one.refined.low]).all()
    assert one.refined.mean == pytest.approx(10**-0.8)
    two = optimum(GRID[:2], u_shape(-0.8)[:, :2])
    assert two.where == "undecided"
    assert "two seeds and three gamma0" in two.verdict
    assert not two.interior


def test_of_equal_errors_the_smallest_gamma0_is_taken() -> None:
    values = np.array([[0.5, 0.25, 0.25, 0.5]] * 2)
    found = optimum(GRID[:4], values)
    assert (found.gamma0.mean, found.where) == (GRID[1], "interior")
    assert found.refined.mean == pytest.approx(math.sqrt(GRID[1] * GRID[2]))


def test_the_draws_are_those_of_the_seed_given() -> None:
    values = u_shape(-0.8, seeds=5, noise=0.03)

    def ends(seed: int) -> Optimum:
        return optimum(GRID, values, resamples=30, seed=seed)

    assert ends(0) == ends(0)
    assert len({ends(seed).refined for seed in range(5)}) > 1


def test_draws_of_seeds_are_shared_by_curves_and_seeds_left_out_in_turn() -> None:
    values = np.random.default_rng(0).normal(size=(4, 3))
    both = resampled_means(np.hstack([values, 2 * values]), 50)
    np.testing.assert_allclose(both[:, 3:], 2 * both[:, :3])
    np.testing.assert_allclose(both[:, :3], resampled_means(values, 50))
    expected = [np.delete(values, i, axis=0).mean(axis=0) for i in range(4)]
    np.testing.assert_allclose(left_out_means(values), expected)


@pytest.mark.parametrize(
    ("grid", "shape", "message"),
    [
        ([0.0, 0.1], (2, 2), "gamma0 must be a row of positive finite numbers"),
        ([-0.1, 0.1], (2, 2), "gamma0 must be a row of positive finite numbers"),
        ([0.1, np.inf], (2, 2), "gamma0 must be a row of positive finite numbers"),
        ([0.1, 0.1], (2, 2), "gamma0 must ascend, each value once"),
        ([0.2, 0.1], (2, 2), "gamma0 must ascend"),
        ([0.1, 0.2], (0, 2), "needs one or more seeds, got none"),
    ],
)
def test_what_is_no_curve_is_refused(grid: list[float], shape: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=r"ae must have a row a seed .* got shape \(3,\)"):
        check_curve(GRID, np.zeros(3), "ae")
    for estimate in (optimum, stable_range):
        with pytest.raises(ValueError, match=message):
            estimate(np.array(grid), np.zeros(shape))
