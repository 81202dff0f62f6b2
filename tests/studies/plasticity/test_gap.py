"""The generalisation gap, from records written by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.records import Record
from holdfast.studies.plasticity import generalisation_gap, tail


def record(
    test: list[float],
    train: list[float] | None = None,
    seed: int = 0,
    stages: int = 1,
    steps: int = 5,
    samples: int = 20,
) -> Record:
    """A run of so many stages, evaluated after each epoch of `steps` updates."""
    made = Record.empty([f"stage {i}" for i in range(stages)], "domain_incremental", seed)
    made.samples, done = [samples] * stages, 0
    train = test if train is None else train
    for task in range(stages):
        for epoch, (on_test, on_train) in enumerate(zip(test, train, strict=True)):
            done += steps
            place = {"task": task, "step": done}
            lost = {"loss": 1 - on_train, "accuracy": on_train}
            made.curve.append({**place, "epoch": epoch, **lost, "lr": 0.1})
            row = [on_test - (stages - 1 - task)] * stages
            made.evaluations.append({**place, "accuracy": row, "loss": row})
        made.accuracy[task] = 0.0
    made.status = "complete"
    return made


def naive_tail(values: list[float], last: float) -> float:
    counted = [v for e, v in enumerate(values, start=1) if e > (1 - last) * len(values) + 1e-9]
    return sum(counted) / len(counted) if counted else float("nan")


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=12),
    st.sampled_from([0.1, 0.3, 0.5, 1.0]),
    st.integers(1, 3),
)
def test_the_tail_is_that_of_the_last_phase(values, last, stages) -> None:
    found = tail(record(values, stages=stages), last)
    if not np.isnan(naive_tail(values, last)):
        assert found.accuracy == pytest.approx(naive_tail(values, last))
        assert found.train_accuracy == pytest.approx(naive_tail(values, last))
    assert found.train_loss == pytest.approx(1 - values[-1])
    assert found.updates == 5 * len(values)
    assert found.samples == 20


def test_without_evaluations_the_end_counts() -> None:
    made = record([0.1, 0.2])
    made.evaluations.clear()
    made.accuracy[0, 0] = 0.75
    assert tail(made).accuracy == 0.75


def test_several_phases_are_averaged_each_on_its_own_samples() -> None:
    made = record([0.2, 0.4], stages=3)
    # Rows are 2 and 1 below in the first two stages.
    assert tail(made, 0.5, phases=2).accuracy == pytest.approx(0.4 - 0.5)
    assert tail(made, 1.0, phases=3).accuracy == pytest.approx(0.3 - 1)


def test_pairs_by_seed_and_is_signed() -> None:
    fresh = [record([0.5, 0.9 + 0.01 * s], seed=s) for s in range(3)]
    warm = [record([0.5, 0.8 + 0.02 * s], [0.0, 1.0], seed=s, stages=2) for s in range(3)]
    gap = generalisation_gap(warm, fresh[::-1])
    assert gap.differences == pytest.approx({s: -0.1 + 0.01 * s for s in range(3)})
    half = 4.302652729911275 * 0.01 / np.sqrt(3)
    assert gap.value == pytest.approx((-0.09, -0.09 - half, -0.09 + half))
    assert gap.arm_train.mean == 1
    assert gap.reference_train.mean == pytest.approx(0.91)
    other = generalisation_gap(fresh, warm).value
    assert other == pytest.approx((-gap.value.mean, -gap.value.high, -gap.value.low))


def test_seeds_without_a_pair_are_told_of() -> None:
    fresh = [record([0.9], seed=s) for s in range(4)]
    warm = [record([0.8], seed=s) for s in range(1, 5)]
    warm[0].status = "diverged"
    gap = generalisation_gap(warm, fresh)
    assert set(gap.differences) == {2, 3}
    assert gap.left_out == (0, 1, 4)
    nothing = generalisation_gap([], fresh)
    assert np.isnan(nothing.value.mean)
    assert nothing.left_out == (0, 1, 2, 3)


def test_refuses() -> None:
    one = record([0.5, 0.6])
    with pytest.raises(ValueError, match=r"last must be a share in \(0, 1\], got 0"):
        tail(one, 0.0)
    with pytest.raises(ValueError, match=r"phases must be in 1\.\.1, the tasks; got 2"):
        tail(one, phases=2)
    with pytest.raises(ValueError, match="one record a seed, got seeds \\[0, 0\\]"):
        generalisation_gap([one], [one, one])
    with pytest.raises(ValueError, match=r"unequal budgets: at seed 0.* makes 15 updates .* 10 in"):
        generalisation_gap([record([0.5] * 3)], [one])
    with pytest.raises(ValueError, match="tested on different samples: at seed 0 on 9 and 20"):
        generalisation_gap([record([0.5] * 2, samples=9)], [one])
