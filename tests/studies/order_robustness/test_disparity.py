"""What orders do to a task, what seeds alone would, and how places count."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ordered_runs import CYCLES, arms, crossed, record

from holdfast.records import average_order_disparity, order_disparity
from holdfast.studies.order_robustness import (
    components,
    disparities,
    finals_of,
    places,
    robustness,
)
from holdfast.studies.order_robustness.noise import expected_range, residuals, spread


def test_tasks_are_matched_by_name_wherever_they_stand() -> None:
    table = np.random.default_rng(0).uniform(0, 1, (4, 2, 4))
    runs = arms(table)
    finals = finals_of(runs)
    assert finals.tasks == tuple("abcd")
    np.testing.assert_allclose(finals.accuracy, table)
    assert finals.place[1].tolist() == [3, 0, 1, 2]
    found = disparities(finals.accuracy)
    whole = [run for arm in runs.values() for run in arm]
    by_name = order_disparity(whole)
    assert [d.value.mean for d in found.tasks] == pytest.approx([by_name[t] for t in "abcd"])
    assert found.average.value.mean == pytest.approx(average_order_disparity(whole))
    assert found.maximum.value.mean == pytest.approx(max(by_name.values()))
    # The course of an order: means over the tasks it has seen.
    assert finals.course[1, 0] == pytest.approx(
        [table[1, 0, [1, 2, 3, 0][: k + 1]].mean() for k in range(4)]
    )


@given(st.permutations(range(4)))
@settings(max_examples=10, deadline=None)
def test_relabelling_tasks_changes_nothing_but_their_names(order: list[int]) -> None:
    table = np.random.default_rng(1).uniform(0, 1, (3, 3, 4))
    one, other = disparities(table, resamples=50), disparities(table[:, :, order], resamples=50)
    for k, place in enumerate(order):
        assert other.tasks[k].floor == pytest.approx(one.tasks[place].floor)
        assert other.tasks[k].value.mean == pytest.approx(one.tasks[place].value.mean)
    assert other.average.excess.mean == pytest.approx(one.average.excess.mean)
    assert components(table[:, :, order]).parts == pytest.approx(components(table).parts)


def test_only_seeds_with_a_whole_run_at_every_order_count() -> None:
    runs = arms(np.full((4, 3, 4), 0.5))
    runs["B"][1].accuracy[-1, 2] = np.nan
    finals = finals_of({**runs, "D": runs["D"][:2]})
    assert (finals.seeds, finals.left_out) == ((0,), 7)
    alone = disparities(finals.accuracy).average
    assert alone.value.mean == 0
    assert np.isnan([alone.floor, alone.excess.mean, alone.chance]).all()
    for broken in runs["A"]:
        broken.accuracy[:] = np.nan
    with pytest.raises(ValueError, match="no seed has a run that came to its end at every order"):
        finals_of(runs)


def test_what_cannot_be_compared_is_refused() -> None:
    runs = arms(np.full((4, 1, 4), 0.5))
    with pytest.raises(ValueError, match="two or more orders with runs are compared, there are 1"):
        finals_of({"A": runs["A"]})
    other = record("abce", dict.fromkeys("abce", 0.5))
    with pytest.raises(ValueError, match=r"differ in their tasks: \['d', 'e'\]"):
        finals_of({"A": runs["A"], "B": [other]})
    with pytest.raises(ValueError, match="order 'A' has runs whose tasks come in different orders"):
        finals_of({"A": runs["A"] + runs["B"], "C": runs["C"]})
    with pytest.raises(ValueError, match="of two orders or more"):
        disparities(np.zeros((1, 2, 3)))
    with pytest.raises(ValueError, match="must be finite"):
        disparities(np.full((2, 2, 3), np.nan))


def test_expected_range_against_draws_and_closed_forms() -> None:
    assert expected_range(2) == pytest.approx(2 / np.sqrt(np.pi), abs=1e-6)
    assert expected_range(3) == pytest.approx(3 / np.sqrt(np.pi), abs=1e-6)
    drawn = np.ptp(np.random.default_rng(0).standard_normal((40_000, 7)), axis=1)
    assert expected_range(7) == pytest.approx(drawn.mean(), abs=4 * drawn.std() / 200)
    assert np.isnan(expected_range(1))


def test_residuals_do_without_orders_and_seeds() -> None:
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((4, 3, 5))
    shifted = noise + rng.standard_normal((4, 1, 5)) + rng.standard_normal((1, 3, 5))
    np.testing.assert_allclose(residuals(shifted), residuals(noise), atol=1e-12)
    assert np.abs(residuals(noise).mean(axis=0)).max() < 1e-12
    assert np.abs(residuals(noise).mean(axis=1)).max() < 1e-12


@pytest.mark.parametrize("seed_effect", [0.0, 0.05])
def test_the_floor_is_what_seeds_alone_make(seed_effect: float) -> None:
    """Against the statistic itself over fresh seeds where the order does nothing."""
    rng = np.random.default_rng(3)
    sd = np.array([0.005, 0.01, 0.01, 0.02, 0.03, 0.01])
    alike = sd * rng.standard_normal((20_000, 5, 3, 6))
    truth = np.ptp(alike.mean(axis=2), axis=1)
    effect = 0.1 * rng.standard_normal((5, 6))
    found = [
        disparities(crossed(rng, (5, 3, 6), effect * (k % 2), sd, seed_effect), resamples=100)
        for k in range(150)
    ]
    floors = np.array([[task.floor for task in d.tasks] for d in found])
    error = 4 * floors.std(axis=0) / np.sqrt(150)
    assert (np.abs(floors.mean(axis=0) - truth.mean(axis=0)) < error).all()
    average = np.mean([d.average.floor for d in found])
    assert average == pytest.approx(truth.mean(), rel=0.03)
    # The maximum's is known to come out up to a tenth too low.
    highest = np.mean([d.maximum.floor for d in found])
    assert 0.9 < highest / truth.max(axis=1).mean() < 1.05


def test_what_knows_no_order_has_the_disparity_of_its_floor() -> None:
    rng = np.random.default_rng(5)
    found = [disparities(crossed(rng, (5, 3, 8)), resamples=200) for _ in range(100)]
    excess = np.array([d.average.excess.mean for d in found])
    assert abs(excess.mean()) < 4 * excess.std() / 10
    assert np.mean([d.average.value.mean for d in found]) > 10 * abs(excess.mean())
    assert np.mean([d.average.excess.low <= 0 <= d.average.excess.high for d in found]) > 0.9
    # Permutations: each chance comes up alike.
    assert np.mean([d.average.chance for d in found]) == pytest.approx(0.5, abs=4 * 0.29 / 10)
    assert np.mean([d.maximum.chance for d in found]) == pytest.approx(0.5, abs=4 * 0.29 / 10)


def test_the_true_range_lies_between_excess_and_disparity() -> None:
    rng = np.random.default_rng(6)
    effect = 0.015 * rng.standard_normal((5, 8))
    truth = np.ptp(effect, axis=0)
    many = np.ptp((effect[None, :, None] + 0.01 * rng.standard_normal((9000, 5, 3, 8))).mean(2), 1)
    found = [disparities(crossed(rng, (5, 3, 8), effect), resamples=200) for _ in range(100)]
    for name, true, mean in (
        ("average", truth.mean(), many.mean()), ("maximum", truth.max(), many.max(axis=1).mean()),
    ):  # fmt: skip
        each = [getattr(d, name) for d in found]
        assert np.mean([d.excess.mean for d in each]) < true < np.mean([d.value.mean for d in each])
        assert np.mean([d.value.low <= mean <= d.value.high for d in each]) > 0.85
        assert np.mean([d.excess.low > 0 for d in each]) > 0.9
        assert np.mean([d.chance < 0.05 for d in each]) > 0.9


def test_no_noise_no_floor() -> None:
    effect = np.array([[0.0, 0.1, 0.2], [0.3, 0.1, 0.0]])
    found = disparities(crossed(np.random.default_rng(0), (2, 3, 3), effect, 0.0), resamples=50)
    assert [d.value.mean for d in found.tasks] == pytest.approx([0.3, 0.0, 0.2])
    assert found.average.floor == pytest.approx(0, abs=1e-12)
    assert found.maximum.excess == pytest.approx((0.3, 0.3, 0.3))


def test_a_task_counts_where_it_is_not_first() -> None:
    means = np.array([[0.9, 0.1], [0.5, 0.3], [0.4, 0.8]])
    counted = np.array([[False, True], [True, True], [True, False]])
    np.testing.assert_allclose(spread(means, counted), [0.1, 0.2])
    counted[2, 0] = False
    np.testing.assert_allclose(spread(means, counted), [np.nan, 0.2])
    # The base gains .2 at home: the disparity is all of the first places.
    table = np.full((4, 2, 4), 0.6)
    for o, names in enumerate(CYCLES.values()):
        table[o, :, "abcd".index(names[0])] += 0.2
    found = robustness(finals_of(arms(table)))
    assert found.disparities.average.value.mean == pytest.approx(0.2)
    assert found.learned.average.value.mean == pytest.approx(0)
    assert found.places.first.mean == pytest.approx(0.2)
    assert found.places.slope.mean == pytest.approx(0, abs=1e-12)


def test_places_are_told_from_tasks_and_orders() -> None:
    rng = np.random.default_rng(0)
    runs = arms(np.zeros((4, 3, 4)))
    finals = finals_of(runs)
    tasks, orders = rng.uniform(0.2, 0.4, 4), rng.uniform(0, 0.1, 4)
    gain = 0.05 * (finals.place == 0) + 0.12 * finals.place / 3
    table = np.repeat((tasks + orders[:, None] + gain)[:, None], 3, axis=1)
    found = places(finals_of(arms(table)))
    assert found.first == pytest.approx((0.05, 0.05, 0.05))
    assert found.slope == pytest.approx((0.12, 0.12, 0.12))
    pair = places(finals_of(arms(table[:2, :, :2], {"A": "ab", "B": "ba"})))
    assert np.isnan(pair.first.mean)
    assert np.isnan(pair.slope.mean)
