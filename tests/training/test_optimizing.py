"""The optimizer of a run: its rate, what it remembers, what a checkpoint keeps of it."""

import pytest
import torch
from small_runs import make_learner, make_stream
from torch import Tensor
from torch.nn.functional import cross_entropy

from holdfast.nets.learner import Learner
from holdfast.starts.start import Start
from holdfast.training.optimizing import Optimizing
from holdfast.training.options import ScheduleName, Training


class Halving(Start):
    def rate(self, index: int, step: int, steps: int) -> float:
        return 0.5 ** (index + step / steps)


def make(training: Training | None = None, train: bool = True) -> tuple[Optimizing, Learner]:
    """The optimizer of a learner that has taken two steps, and the learner."""
    learner = make_learner(make_stream("domain_incremental"))
    made = Optimizing(training or Training(optimizer="adam"), Start())
    optimizer = made.renew(learner, carry=False)
    for seed in (0, 1) if train else ():
        x = torch.randn(6, 5, generator=torch.Generator().manual_seed(seed))
        cross_entropy(learner(x), torch.arange(6) % 2).backward()
        optimizer.step()
        optimizer.zero_grad()
    return made, learner


def remembered(optimizing: Optimizing, learner: Learner) -> dict[str, Tensor]:
    assert optimizing.optimizer is not None
    state = optimizing.optimizer.state
    return {n: state[p]["exp_avg"] for n, p in learner.named_parameters() if p in state}


def test_rate_is_the_schedules_times_the_starts_own() -> None:
    training = Training(lr=0.1, schedule="exponential", decay=0.9, epochs=4)
    made = Optimizing(training, Halving())
    assert made.rate(1, 6, 3, 4) == pytest.approx(0.1 * 0.9**2 * 0.5 ** (1 + 6 / 12))


@pytest.mark.parametrize(
    ("schedule", "start", "varies"),
    [("constant", Start(), False), ("cosine", Start(), True), ("constant", Halving(), True)],
)
def test_rate_varies_with_the_schedule_or_the_start(
    schedule: ScheduleName, start: Start, varies: bool
) -> None:
    assert Optimizing(Training(schedule=schedule), start).varies is varies


def test_set_rate_keeps_the_factor_of_each_group() -> None:
    made, _ = make(train=False)
    optimizer = made.optimizer
    assert optimizer is not None
    optimizer.param_groups[0]["factor"] = 0.25
    made.set_rate(optimizer, 0.4)
    assert optimizer.param_groups[0]["lr"] == 0.1


@pytest.mark.parametrize("carry", [True, False])
def test_renewed_it_remembers_where_asked_to(carry: bool) -> None:
    made, learner = make()
    before = remembered(made, learner)
    made.renew(learner, carry=carry)
    after = remembered(made, learner)
    assert after.keys() == (before.keys() if carry else set())
    assert all(torch.equal(after[name], before[name]) for name in after)


@pytest.mark.parametrize("amid_task", [True, False])
def test_state_comes_back(amid_task: bool) -> None:
    training = Training(optimizer="adam", reset_optimizer=False)
    made, learner = make(training)
    state = made.state_dict(amid_task)
    back = Optimizing(training, Start())
    back.load_state_dict(state, learner, amid_task)
    before, after = remembered(made, learner), remembered(back, learner)
    assert before.keys() == after.keys() == dict(learner.named_parameters()).keys()
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_between_tasks_nothing_is_kept_that_the_next_one_resets() -> None:
    made, learner = make()
    assert made.state_dict(amid_task=False) == {}
    back = Optimizing(Training(optimizer="adam"), Start())
    back.load_state_dict({}, learner, amid_task=False)
    assert back.optimizer is None


def test_between_tasks_parameters_that_are_gone_are_passed_over() -> None:
    training = Training(optimizer="adam", reset_optimizer=False)
    made, learner = make(training)
    state = made.state_dict(amid_task=False)
    state["backbone.gone"] = dict(next(iter(state.values())))
    back = Optimizing(training, Start())
    back.load_state_dict(state, learner, amid_task=False)
    assert remembered(back, learner).keys() == dict(learner.named_parameters()).keys()
