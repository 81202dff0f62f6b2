import inspect
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.records import (
    average_accuracy,
    average_error,
    average_loss,
    backward_transfer,
    forgetting,
    forward_transfer,
    incremental_accuracy,
    learning_accuracy,
    learning_error,
    learning_loss,
    loss_forgetting,
    named_metrics,
    onset_metrics,
    relative_forgetting,
    relative_loss_forgetting,
)

# Row i: after task i; three tasks. Everything below is worked out by hand from it.
HAND = np.array([[0.8, 0.1, 0.2], [0.9, 0.6, 0.3], [0.5, 0.7, 1.0]])
INITIAL = np.array([0.1, 0.2, 0.0])
LOSS = np.array([[0.5, 4.0, 3.0], [0.4, 1.0, 2.0], [1.0, 0.5, 0.2]])

EARLIER = [backward_transfer, forgetting, relative_forgetting]
EARLIER_LOSS = [loss_forgetting, relative_loss_forgetting]


def test_hand_computed_accuracies():
    assert average_accuracy(HAND) == pytest.approx((0.5 + 0.7 + 1.0) / 3)
    assert average_error(HAND) == pytest.approx(1 - 2.2 / 3)
    assert learning_accuracy(HAND) == pytest.approx((0.8 + 0.6 + 1.0) / 3)
    assert learning_error(HAND) == pytest.approx(0.2)
    assert incremental_accuracy(HAND) == pytest.approx((0.8 + 0.75 + 2.2 / 3) / 3)
    assert backward_transfer(HAND) == pytest.approx((-0.3 + 0.1) / 2)
    assert forward_transfer(HAND, INITIAL) == pytest.approx(((0.1 - 0.2) + (0.3 - 0.0)) / 2)
    assert forgetting(HAND) == pytest.approx(((0.9 - 0.5) + (0.6 - 0.7)) / 2)
    assert forgetting(HAND, "after_learning") == pytest.approx((0.3 - 0.1) / 2)
    assert relative_forgetting(HAND) == pytest.approx((0.4 / 0.9 - 0.1 / 0.6) / 2)
    assert relative_forgetting(HAND, "after_learning") == pytest.approx((0.3 / 0.8 - 0.1 / 0.6) / 2)


def test_hand_computed_losses():
    assert average_loss(LOSS) == pytest.approx(1.7 / 3)
    assert learning_loss(LOSS) == pytest.approx(1.7 / 3)
    assert loss_forgetting(LOSS) == pytest.approx(((1.0 - 0.4) + (0.5 - 1.0)) / 2)
    assert loss_forgetting(LOSS, "after_learning") == pytest.approx((0.5 - 0.5) / 2)
    assert relative_loss_forgetting(LOSS) == pytest.approx((0.6 / 0.4 - 0.5 / 1.0) / 2)
    assert relative_loss_forgetting(LOSS, "after_learning") == pytest.approx((0.5 / 0.5 - 0.5) / 2)


@pytest.mark.parametrize(
    ("before", "after", "cf", "cfr"), [(1.0, 0.8, 0.20, 0.20), (0.4, 0.3, 0.10, 0.25)]
)
def test_relative_forgetting_weighs_a_drop_by_what_there_was(before, after, cf, cfr):
    accuracy = np.array([[before, 0.0], [after, 0.9]])
    assert forgetting(accuracy) == pytest.approx(cf)
    assert relative_forgetting(accuracy) == pytest.approx(cfr)


def test_rising_loss_is_positive_forgetting():
    assert loss_forgetting(np.array([[0.1, 5.0], [0.7, 0.1]])) == pytest.approx(0.6)


def test_best_is_sought_from_learning_on_and_before_the_last_task():
    lucky_before = np.array([[0.5, 0.99, 0.0], [0.5, 0.6, 0.0], [0.5, 0.5, 1.0]])
    assert forgetting(lucky_before) == pytest.approx((0.0 + 0.1) / 2)


def naive(accuracy, reference):
    """Sums written out, for any T."""
    count, drops, shares = len(accuracy), 0.0, 0.0
    for j in range(count - 1):
        best = accuracy[j][j]
        if reference == "max":
            for t in range(j, count - 1):
                best = max(best, accuracy[t][j])
        drops += best - accuracy[count - 1][j]
        shares += (best - accuracy[count - 1][j]) / best
    return drops / (count - 1), shares / (count - 1)


def matrices(tasks):
    size = st.just(tasks) if isinstance(tasks, int) else tasks
    seeds = st.integers(0, 2**32 - 1)
    return st.builds(
        lambda n, seed: np.random.default_rng(seed).uniform(0.01, 1, (n, n)), size, seeds
    )


@given(matrices(st.integers(2, 9)), st.sampled_from(["max", "after_learning"]))
def test_forgetting_matches_the_sums_written_out(accuracy, reference):
    cf, cfr = naive(accuracy.tolist(), reference)
    assert forgetting(accuracy, reference) == pytest.approx(cf, abs=1e-12)
    assert relative_forgetting(accuracy, reference) == pytest.approx(cfr, abs=1e-12)
    # The loss forms: of 1 - a the minimum is where a is largest, and the rise is the drop of a.
    other = "min" if reference == "max" else reference
    assert loss_forgetting(1 - accuracy, other) == pytest.approx(cf, abs=1e-12)


@given(matrices(st.integers(2, 9)))
def test_backward_transfer_is_forgetting_after_learning_negated(accuracy):
    assert backward_transfer(accuracy) == pytest.approx(-forgetting(accuracy, "after_learning"))
    assert forgetting(accuracy) >= forgetting(accuracy, "after_learning") - 1e-12


@given(matrices(st.integers(2, 9)))
def test_metrics_of_the_past_do_not_read_the_future(accuracy):
    blind = np.where(np.tri(len(accuracy), dtype=bool), accuracy, np.nan)
    for metric in (average_accuracy, learning_accuracy, incremental_accuracy, *EARLIER):
        assert metric(blind) == metric(accuracy)
    for metric in (average_loss, learning_loss, *EARLIER_LOSS):
        assert metric(blind) == metric(accuracy)


@given(matrices(4), st.permutations(range(3)))
def test_final_accuracy_ignores_the_order_of_tasks(accuracy, order):
    columns = [*order, 3]
    assert average_accuracy(accuracy[:, columns]) == pytest.approx(average_accuracy(accuracy))


@given(matrices(st.integers(2, 6)), st.floats(0.1, 1.0))
def test_relative_forgetting_ignores_scale(accuracy, scale):
    assert relative_forgetting(accuracy * scale) == pytest.approx(relative_forgetting(accuracy))
    assert forgetting(accuracy * scale) == pytest.approx(scale * forgetting(accuracy), abs=1e-12)
    assert relative_loss_forgetting(100 * scale * accuracy) == pytest.approx(
        relative_loss_forgetting(accuracy)
    )


def test_a_constant_stream_forgets_nothing():
    accuracy = np.full((5, 5), 0.7)
    for metric in EARLIER:
        assert metric(accuracy) == 0
    assert forward_transfer(accuracy, np.full(5, 0.7)) == 0


@pytest.mark.parametrize("metric", [*EARLIER, *EARLIER_LOSS])
def test_one_task_has_nothing_to_forget(metric):
    assert math.isnan(metric(np.array([[0.9]])))


def test_one_task_still_has_an_accuracy():
    assert average_accuracy(np.array([[0.9]])) == learning_accuracy(np.array([[0.9]])) == 0.9
    assert math.isnan(forward_transfer(np.array([[0.9]]), np.array([0.1])))


@pytest.mark.parametrize(
    "metric", [average_accuracy, average_error, *EARLIER, average_loss, *EARLIER_LOSS]
)
def test_a_run_cut_short_has_no_final_metrics(metric):
    cut = HAND.copy()
    cut[-1] = np.nan
    assert math.isnan(metric(cut))
    assert math.isfinite(metric(cut[:2, :2]))


@pytest.mark.parametrize("metric", [forgetting, relative_forgetting])
def test_an_unknown_entry_in_a_maximum_makes_it_unknown(metric):
    holed = HAND.copy()
    holed[1, 0] = np.nan
    assert math.isnan(metric(holed))
    assert math.isfinite(metric(holed, "after_learning"))


def test_learner_that_cannot_predict_ahead_has_no_forward_transfer():
    blind = np.where(np.tri(3, dtype=bool), HAND, np.nan)
    assert math.isnan(forward_transfer(blind, INITIAL))
    assert math.isnan(forward_transfer(HAND, np.array([0.1, np.nan, 0.1])))
    assert math.isfinite(forward_transfer(HAND, np.array([np.nan, 0.1, 0.1])))


def test_relative_forms_of_zero_are_unknown():
    assert math.isnan(relative_forgetting(np.array([[0.0, 0.0], [0.3, 0.9]])))
    assert math.isnan(relative_loss_forgetting(np.array([[0.0, 0.0], [0.3, 0.9]])))


def test_infinite_losses_are_carried_through():
    assert loss_forgetting(np.array([[1.0, 1.0], [np.inf, 1.0]])) == math.inf
    assert math.isnan(loss_forgetting(np.array([[np.inf, 1.0], [np.inf, 1.0]])))


@pytest.mark.parametrize(
    "metric",
    [average_accuracy, learning_accuracy, incremental_accuracy, *EARLIER],
)
def test_percentages_and_losses_are_refused(metric):
    with pytest.raises(ValueError, match=r"fractions in \[0, 1\], got 80.0.*divide percentages"):
        metric(np.array([[80.0, 0.0], [0.5, 0.9]]))


@pytest.mark.parametrize("metric", [average_accuracy, average_loss, forgetting, loss_forgetting])
def test_an_empty_matrix_is_refused(metric):
    with pytest.raises(ValueError, match="must be \\(tasks, tasks\\)"):
        metric(np.zeros((0, 0)))


def test_references_are_named():
    # Unwrapped: the type checker of the tests would refuse the value first.
    with pytest.raises(ValueError, match="'max' or 'after_learning', got 'min'"):
        inspect.unwrap(forgetting)(HAND, "min")
    with pytest.raises(ValueError, match="'min' or 'after_learning', got 'max'"):
        inspect.unwrap(loss_forgetting)(LOSS, "max")


def test_named_metrics_hold_the_functions_values():
    named = named_metrics(HAND, LOSS, INITIAL, [np.zeros((0, 3))] * 3)
    assert named["acc"] == average_accuracy(HAND)
    assert named["forgetting"] == forgetting(HAND)
    assert named["forgetting_after_learning"] == forgetting(HAND, "after_learning")
    assert named["cfr"] == relative_forgetting(HAND)
    assert named["fwt"] == forward_transfer(HAND, INITIAL)
    assert named["loss_forgetting"] == loss_forgetting(LOSS)
    assert named["loss_cfr"] == relative_loss_forgetting(LOSS)
    unknown = {name for name, value in named.items() if math.isnan(value)}
    assert unknown == {
        *("min_acc", "wc_acc", "stability_gap", "plasticity_gap", "continual_knowledge_gap"),
        *("anytime_acc", *onset_metrics([])),
    }
