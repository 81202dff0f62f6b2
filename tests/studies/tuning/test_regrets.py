import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from holdfast.seeds import derive
from holdfast.studies.tuning import regret

GRID = np.array([0.1, 0.3, 1.0, 3.0])

errors = arrays(np.float64, (3, 4), elements=st.integers(0, 100).map(lambda n: n / 100))


def slow_regret(ae: np.ndarray, at: int, draws: np.ndarray) -> tuple[float, float, float]:
    """The regret and the ends of its interval, a draw at a time."""

    def lost(rows: list[int]) -> float:
        means = [sum(ae[r][g] for r in rows) / len(rows) for g in range(ae.shape[1])]
        return means[at] - min(means)

    drawn = sorted(lost(list(rows)) for rows in draws)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return lost(list(range(len(ae)))), low, high


def slow_held_out(ae: np.ndarray, at: int) -> float:
    lost = []
    for seed in range(len(ae)):
        others = [r for r in range(len(ae)) if r != seed]
        means = [sum(ae[r][g] for r in others) for g in range(ae.shape[1])]
        lost.append(ae[seed][at] - ae[seed][means.index(min(means))])
    return sum(lost) / len(lost)


@pytest.mark.parametrize("at", range(4))
def test_regret_is_what_its_definition_says(at: int) -> None:
    ae = np.random.default_rng(at).uniform(size=(4, 4))
    draws = np.random.default_rng(derive(0, "bootstrap")).integers(4, size=(500, 4))
    found = regret(GRID, ae, GRID[at], resamples=500)
    assert tuple(found.value) == pytest.approx(slow_regret(ae, at, draws), abs=1e-12)
    assert found.held_out.mean == pytest.approx(slow_held_out(ae, at), abs=1e-12)
    assert found.best == GRID[ae.mean(axis=0).argmin()]
    assert found.among == 4


@given(errors, st.integers(0, 3))
def test_regret_is_never_negative_and_nothing_is_lost_by_the_best(ae, at: int) -> None:
    found = regret(GRID, ae, GRID[at], resamples=50)
    assert found.value.mean >= 0
    assert 0 <= found.value.low <= found.value.high
    assert (found.value.mean == 0) == (ae.mean(axis=0)[at] == ae.mean(axis=0).min())
    best = regret(GRID, ae, found.best, resamples=50)
    assert best.value.mean == 0
    assert not best.told


@given(errors, arrays(np.float64, 3, elements=st.integers(-50, 50).map(float)))
def test_what_is_common_to_a_seed_cancels(ae, shift) -> None:
    """Paired over seeds: a seed that is harder at all gamma0 changes nothing."""
    one = regret(GRID, ae, 0.3, resamples=50)
    two = regret(GRID, ae + shift[:, None], 0.3, resamples=50)
    assert two.value == pytest.approx(one.value, abs=1e-9)


def test_a_value_that_every_seed_finds_best_or_worst_is_told() -> None:
    ae = np.array([[0.5, 0.2, 0.3, 0.4], [0.6, 0.1, 0.3, 0.5], [0.5, 0.15, 0.3, 0.6]])
    worst = regret(GRID, ae, 0.1)
    assert worst.told
    assert worst.best == 0.3
    assert worst.held_out.mean == pytest.approx(worst.value.mean)
    assert regret(GRID, ae, 0.3).value.high == 0


def test_where_a_seed_diverged_there_is_no_comparison() -> None:
    ae = np.array([[0.5, 0.2, np.nan, 0.4], [0.6, 0.3, 0.1, np.inf]])
    found = regret(GRID, ae, 0.1)
    assert (found.best, found.among) == (0.3, 2)
    diverged = regret(GRID, ae, 1.0)
    assert np.isnan(diverged.value).all()
    assert (diverged.best, diverged.among) == (0.3, 2)
    nothing = regret(GRID, np.full((2, 4), np.nan), 1.0)
    assert np.isnan([nothing.best, *nothing.value, *nothing.held_out]).all()
    assert nothing.among == 0


def test_of_one_seed_there_is_no_interval() -> None:
    found = regret(GRID, np.array([[0.5, 0.2, 0.3, 0.4]]), 0.1)
    assert found.value.mean == pytest.approx(0.3)
    assert np.isnan([found.value.low, found.value.high, *found.held_out]).all()
    assert not found.told


def test_a_value_that_was_not_run_is_refused() -> None:
    with pytest.raises(ValueError, match=r"chosen must be among \[0.1, 0.3, 1.0, 3.0\], got 0.2"):
        regret(GRID, np.zeros((2, 4)), 0.2)
