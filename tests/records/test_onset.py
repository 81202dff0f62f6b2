import inspect
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.records import Onset, Record, SpeedUp, onset_metrics, ratio_interval, speed_up

NAN = math.nan


def onset(
    steps: list[int], loss: list[float], accuracy: list[float] | None = None, before: float = NAN
) -> Onset:
    values = np.zeros(len(loss)) if accuracy is None else np.array(accuracy)
    return Onset(np.array(steps, dtype=np.int64), np.array(loss), values, before)


def run(
    seed: int, course: dict[int, tuple[float, float]], end: tuple[float, float], steps: int = 20
) -> Record:
    """A run of two tasks: by update within the second, the accuracy on the old and the new task.

    Losses are 1 - accuracy.
    """
    made = Record.empty(["a", "b"], "class_incremental", seed)
    made.accuracy[:] = [[0.8, NAN], end]
    made.loss[:] = 1 - made.accuracy
    for task, last in ((0, 10), (1, 10 + steps)):
        made.curve.append({"task": task, "epoch": 0, "step": last, "loss": 1.0, "accuracy": 1.0})
    for step, values in course.items():
        losses = [1 - value for value in values]
        made.evaluations.append(
            {"task": 1, "step": 10 + step, "accuracy": list(values), "loss": losses}
        )
    made.status = "complete"
    return made


def test_before_the_first_update() -> None:
    found = onset([0, 5, 10], [3.0, 1.0, 0.5], [0.1, 0.6, 0.9], before=0.25)
    assert (found.initial_loss, found.zero_step_accuracy) == (3.0, 0.1)
    assert found.spike_ratio == 12.0
    assert found.final_accuracy == 0.9


def test_without_an_evaluation_before_the_first_update_the_start_is_unknown() -> None:
    found = onset([5, 10], [1.0, 0.5], before=0.25)
    unknown = (found.initial_loss, found.zero_step_accuracy, found.spike_ratio, found.area_above())
    assert all(map(math.isnan, unknown))
    assert math.isnan(onset([0, 5, 10], [1.0, 0.5, 0.5]).spike_ratio)
    assert math.isnan(onset([0, 5, 10], [1.0, 0.5, 0.5], before=0.0).spike_ratio)


def test_area_by_hand() -> None:
    found = onset([0, 4, 10], [3.0, 1.0, 0.5])
    assert found.area_above() == pytest.approx(4 * (2.5 + 0.5) / 2 + 6 * 0.5 / 2)
    assert found.area_above(level=0.0) == pytest.approx(4 * (3 + 1) / 2 + 6 * 1.5 / 2)
    # At 7, halfway from .5 to 0.
    assert found.area_above(updates=7) == pytest.approx(4 * 3 / 2 + 3 * (0.5 + 0.25) / 2)
    assert found.area_above(updates=2) == pytest.approx(2 * (2.5 + 1.5) / 2)
    assert math.isnan(found.area_above(updates=11))
    # What lies below the final loss does not make up for what lies above.
    assert onset([0, 4, 8, 8], [2.0, 0.0, 1.0, 1.0]).area_above() == pytest.approx(2.0)
    assert math.isnan(onset([0, 4, 8], [2.0, NAN, 1.0]).area_above())


def test_steps_to_a_share_by_hand() -> None:
    found = onset([0, 5, 10, 20], [1.0] * 4, [0.2, 0.5, 0.45, 0.8])
    assert [found.steps_to(share) for share in (0.25, 0.5, 0.6, 0.95, 1.0)] == [0, 5, 5, 20, 20]
    assert found.steps_to(0.5, final=1.0) == 5
    assert math.isnan(found.steps_to(0.95, final=0.9))


def test_the_ends_of_a_task_alone_say_nothing_of_when() -> None:
    for steps in ([10], [0, 10]):
        found = onset(steps, [1.0] * len(steps))
        assert not found.watched
        assert math.isnan(found.steps_to(0.5))
        assert math.isnan(found.area_above())


@given(st.integers(0, 2**32 - 1), st.integers(3, 8), st.floats(0.1, 10), st.floats(-5, 5))
def test_area_scales_with_the_loss_and_ignores_its_level(
    seed: int, count: int, scale: float, shift: float
) -> None:
    draws = np.random.default_rng(seed)
    steps, loss = np.arange(count) * 3, draws.uniform(0, 4, count)
    area = onset(steps.tolist(), loss.tolist()).area_above()
    assert area >= 0
    moved = onset(steps.tolist(), (scale * loss + shift).tolist()).area_above()
    assert moved == pytest.approx(scale * area, abs=1e-9)
    # The area up to a time only grows, and a sum over fine slices is the whole.
    fine = np.linspace(0, steps[-1], 3 * (count - 1) * 200 + 1)
    excess = np.interp(fine, steps, np.maximum(0, loss - loss[-1]))
    assert area == pytest.approx(np.sum((excess[1:] + excess[:-1]) / 2 * np.diff(fine)))


def test_a_record_weighs_tasks_by_their_samples_where_it_knows_them() -> None:
    record = run(0, {0: (0.7, 0.0), 10: (0.6, 0.4)}, (0.7, 0.8))
    assert record.onset(1).accuracy == pytest.approx([0.35, 0.5, 0.75])
    record.samples = [30, 10]
    found = record.onset(1)
    assert found.steps.tolist() == [0, 10, 20]
    assert found.accuracy == pytest.approx([0.525, 0.55, 0.725])
    assert found.loss == pytest.approx([0.475, 0.45, 0.275])
    assert found.spike_ratio == pytest.approx(0.475 / 0.2)
    assert record.onset(1, "old").accuracy == pytest.approx([0.7, 0.6, 0.7])
    assert record.onset(1, "old").spike_ratio == pytest.approx(0.3 / 0.2)
    assert math.isnan(record.onset(1, "new").spike_ratio)
    assert record.onset(0, "new").accuracy.tolist() == [0.8]
    back = Record.from_dict(json.loads(json.dumps(record.to_dict())))
    assert back.samples == [30, 10]
    older = record.to_dict()
    del older["samples"]
    assert Record.from_dict(older).samples == []


def test_metrics_of_a_record_are_means_over_the_later_tasks() -> None:
    record = run(0, {0: (0.7, 0.0), 10: (0.6, 0.7)}, (0.7, 0.8))
    metrics = record.metrics()
    expected = {
        "initial_loss_new": 1.0,
        "initial_loss_old": 0.3,
        "initial_loss_all": 0.65,
        "zero_step_accuracy_new": 0.0,
        "zero_step_accuracy_old": 0.7,
        "zero_step_accuracy_all": 0.35,
        "spike_ratio_old": 1.5,
        "spike_ratio_all": 0.65 / 0.2,
        "area_above_final": 10 * (0.4 + 0.1) / 2 + 10 * 0.1 / 2,
        "steps_to_90": 20,
        "steps_to_95": 20,
        "steps_to_99": 20,
    }
    assert {name: metrics[name] for name in expected} == pytest.approx(expected)
    assert onset_metrics([]).keys() == expected.keys()
    parts = [
        {"new": o, "old": o, "all": o}
        for o in (onset([0, 5, 9], [2.0, 1, 1]), onset([0, 5, 9], [4.0, 1, 1]))
    ]
    assert onset_metrics(parts)["initial_loss_old"] == 3.0


def test_a_run_cut_short_has_no_onset_metrics() -> None:
    record = run(0, {0: (0.7, 0.0), 10: (0.6, 0.7)}, (NAN, NAN))
    assert math.isnan(record.metrics()["initial_loss_all"])
    assert record.onset(1).initial_loss == pytest.approx(0.65)
    assert math.isnan(record.onset(1).final_accuracy)


FAST = {0: (0.8, 0.78), 5: (0.8, 0.8), 10: (0.8, 0.8)}
SLOW = {0: (0.8, 0.0), 5: (0.8, 0.4), 10: (0.8, 0.8)}


def test_speed_up_by_hand() -> None:
    # 95 % of (.8 + .84) / 2 is .779: at once, or at 10 updates.
    arms = {
        "random": [run(0, SLOW, (0.8, 0.8)), run(1, SLOW, (0.8, 0.8))],
        "good": [run(0, FAST, (0.8, 0.84)), run(1, {**FAST, 0: (0.8, 0.7)}, (0.8, 0.84))],
    }
    found = speed_up(arms)["good"]
    assert found.best == "good"
    assert found.ratio.mean == pytest.approx((10 + 10) / (1 + 5))
    assert found.steps.mean == 3
    assert (found.immediate, found.censored, found.baseline_censored, found.cases) == (1, 0, 0, 2)
    assert (found.bound, found.seeds, found.left_out) == ("", (0, 1), ())
    assert (found.ratio.low, found.ratio.high) == (2.0, 10.0)
    own = speed_up(arms)["random"]
    assert own.ratio == (1.0, 1.0, 1.0)
    back = speed_up(arms, baseline="good")["random"]
    assert back.ratio.mean == pytest.approx(1 / found.ratio.mean)
    assert back.ratio.low == pytest.approx(1 / found.ratio.high)


def test_what_never_arrives_is_counted_and_said() -> None:
    never = {**SLOW, 10: (0.8, 0.5)}
    arms = {
        "random": [run(s, SLOW if s else never, (0.8, 0.8 if s else 0.6)) for s in (0, 1)],
        "good": [run(s, FAST, (0.8, 0.84)) for s in (0, 1)],
        "bad": [run(s, never, (0.7, 0.6)) for s in (0, 1)],
    }
    found = speed_up(arms)
    good, bad = found["good"], found["bad"]
    assert (good.baseline_censored, good.censored, good.bound) == (1, 0, "at least")
    assert good.ratio.mean == pytest.approx((20 + 10) / 2)
    assert (bad.censored, bad.baseline_censored, bad.bound) == (2, 1, "unknown")
    assert bad.ratio.mean == pytest.approx((20 + 10) / 40)
    arms["random"] = [run(s, SLOW, (0.8, 0.8)) for s in (0, 1)]
    assert speed_up(arms)["bad"].bound == "at most"
    assert speed_up(arms, level=0.5)["bad"].bound == ""


def test_seeds_without_their_pair_are_left_out_and_named() -> None:
    arms = {
        "random": [run(s, SLOW, (0.8, 0.8)) for s in (0, 1, 2, 3)],
        "good": [run(0, FAST, (0.8, 0.84)), run(1, FAST, (NAN, NAN)), run(2, {}, (0.8, 0.8))],
    }
    found = speed_up(arms)["good"]
    assert (found.seeds, found.left_out) == ((0,), (1, 2, 3))
    assert math.isnan(found.ratio.low)
    none = speed_up({"random": arms["random"][:1], "good": arms["good"][1:2]})["good"]
    assert math.isnan(none.ratio.mean)
    assert (none.seeds, none.bound) == ((), "")


def test_parts_and_single_tasks() -> None:
    arms = {
        "random": [run(0, SLOW, (0.8, 0.8))],
        "good": [run(0, FAST, (0.8, 0.8))],
    }
    assert speed_up(arms, part="old")["good"].ratio.mean == 1.0
    assert speed_up(arms, part="new", task=1)["good"].ratio.mean == 10.0


@given(st.lists(st.tuples(st.floats(0.5, 50), st.floats(0.5, 50)), min_size=2, max_size=6))
def test_ratio_interval_inverts(pairs: list[tuple[float, float]]) -> None:
    first, second = np.array(pairs).T
    there = ratio_interval(first, second, resamples=200)
    back = ratio_interval(second, first, resamples=200)
    assert there.mean == pytest.approx(np.sum(first) / np.sum(second))
    assert there.mean == pytest.approx(1 / back.mean)
    ratios = first / second
    assert ratios.min() * (1 - 1e-12) <= there.low <= there.high <= ratios.max() * (1 + 1e-12)


def test_wrong_arguments() -> None:
    good = onset([0, 5], [1.0, 0.5])
    with pytest.raises(ValueError, match=r"share must lie in \(0, 1\], got 0"):
        good.steps_to(0.0)
    with pytest.raises(ValueError, match="updates must be positive, got -1"):
        good.area_above(updates=-1)
    with pytest.raises(ValueError, match=r"steps must ascend from 0 or more, got \[5, 0\]"):
        onset([5, 0], [1.0, 0.5])
    with pytest.raises(ValueError, match="of one length, 1 or more; got 0, 0 and 0"):
        onset([], [])
    record = run(0, SLOW, (0.8, 0.8))
    with pytest.raises(ValueError, match="part='old' of task 0 holds no tasks"):
        record.onset(0, "old")
    with pytest.raises(ValueError, match=r"task must be in 0..1, got 2"):
        record.onset(2)
    record.samples = [1]
    with pytest.raises(ValueError, match=r"samples must be 2 positive numbers, got \[1\]"):
        Record.from_dict(record.to_dict())


def test_wrong_arguments_of_speed_up() -> None:
    record = run(0, SLOW, (0.8, 0.8))
    with pytest.raises(ValueError, match="baseline must be one of good; got 'random'"):
        speed_up({"good": [record]})
    with pytest.raises(ValueError, match=r"records\['good'\] holds no records"):
        speed_up({"random": [record], "good": []})
    with pytest.raises(ValueError, match=r"must hold one record a seed, got seeds \[0, 0\]"):
        speed_up({"random": [record, record]})
    with pytest.raises(ValueError, match=r"level must lie in \(0, 1\], got 95"):
        speed_up({"random": [record]}, level=95.0)
    alone = Record.empty(["a"], "class_incremental", 0)
    with pytest.raises(ValueError, match="of a single task"):
        speed_up({"random": [alone]})
    with pytest.raises(ValueError, match=r"of as many tasks, got \[1, 2\]"):
        speed_up({"random": [record], "good": [alone]})
    with pytest.raises(ValueError, match=r"task must be in 0..1, got 2"):
        speed_up({"random": [record]}, task=2)
    # Unwrapped: the type checker of the tests would refuse the lengths first.
    ratio = inspect.unwrap(ratio_interval)
    with pytest.raises(ValueError, match="of as many runs, 1 or more; got 2 and 1"):
        ratio(np.ones(2), np.ones(1))
    with pytest.raises(ValueError, match=r"second must be positive, got \[0.0\]"):
        ratio(np.ones(1), np.zeros(1))
    with pytest.raises(ValueError, match="level must lie between 0 and 1, got 95"):
        ratio(np.ones(2), np.ones(2), level=95.0)


def test_a_bound_is_named_by_who_is_censored() -> None:
    def bound(censored: int, baseline: int) -> str:
        unknown = ratio_interval(np.ones(1), np.ones(1))
        return SpeedUp(unknown, unknown, censored, baseline, 0, 2, (0,), (), "x").bound

    assert [bound(0, 0), bound(0, 1), bound(1, 0), bound(1, 1)] == [
        "", "at least", "at most", "unknown",
    ]  # fmt: skip
