"""Learning-rate schedules against torch's, step by step."""

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.optim import SGD, Optimizer
from torch.optim import lr_scheduler as theirs
from torch.optim.lr_scheduler import LRScheduler

from holdfast.training.options import Training
from holdfast.training.schedules import lr_factor

EPOCHS = st.integers(1, 6)
STEPS = st.integers(1, 7)


def factors(training: Training, steps: int) -> list[float]:
    return [lr_factor(training, i, steps) for i in range(training.epochs * steps)]


def optimizer(lr: float = 1.0) -> Optimizer:
    return SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)


def their_rates(scheduler: LRScheduler, steps: int) -> list[float]:
    rates = []
    for _ in range(steps):
        rates.append(scheduler.optimizer.param_groups[0]["lr"])
        if len(rates) < steps:
            scheduler.optimizer.step()
            scheduler.step()
    return rates


def test_constant() -> None:
    assert factors(Training(epochs=2), 3) == [1.0] * 6


@settings(max_examples=40, deadline=None)
@given(EPOCHS, STEPS)
def test_cosine_is_torch_s_over_the_steps_of_the_task(epochs: int, steps: int) -> None:
    ours = factors(Training(schedule="cosine", epochs=epochs), steps)
    scheduler = theirs.CosineAnnealingLR(optimizer(), T_max=epochs * steps)
    assert ours == pytest.approx(their_rates(scheduler, epochs * steps), rel=1e-9, abs=1e-12)
    assert ours[0] == 1.0


@settings(max_examples=40, deadline=None)
@given(EPOCHS, STEPS, st.floats(0.05, 1.0))
def test_exponential_is_torch_s_at_each_epoch_and_smooth_between(
    epochs: int, steps: int, decay: float
) -> None:
    ours = factors(Training(schedule="exponential", decay=decay, epochs=epochs), steps)
    scheduler = theirs.ExponentialLR(optimizer(), gamma=decay)
    assert ours[::steps] == pytest.approx(their_rates(scheduler, epochs), rel=1e-9)
    ratios = [b / a for a, b in pairwise(ours)]
    assert ratios == pytest.approx([decay ** (1 / steps)] * len(ratios), rel=1e-9)


@settings(max_examples=40, deadline=None)
@given(EPOCHS, STEPS, st.lists(st.integers(1, 8), min_size=1, max_size=4))
def test_step_is_torch_s_multi_step(epochs: int, steps: int, milestones: list[int]) -> None:
    training = Training(schedule="step", decay=0.3, milestones=tuple(milestones), epochs=epochs)
    scheduler = theirs.MultiStepLR(optimizer(), milestones=milestones, gamma=0.3)
    by_epoch = their_rates(scheduler, epochs)
    expected = [rate for rate in by_epoch for _ in range(steps)]
    assert factors(training, steps) == pytest.approx(expected, rel=1e-9)


@settings(max_examples=40, deadline=None)
@given(EPOCHS, st.integers(1, 40))
def test_one_cycle_is_torch_s(epochs: int, steps: int) -> None:
    ours = factors(Training(schedule="one_cycle", epochs=epochs), steps)
    scheduler = theirs.OneCycleLR(
        optimizer(), max_lr=1.0, total_steps=epochs * steps, cycle_momentum=False
    )
    assert ours == pytest.approx(their_rates(scheduler, epochs * steps), rel=1e-9, abs=1e-12)


def test_one_cycle_by_hand() -> None:
    # n = 10 steps: up over 0.3 n - 1 = 2 of them, down over the 7 left.
    ours = factors(Training(schedule="one_cycle", epochs=2), 5)
    assert ours[0] == pytest.approx(1 / 25)
    assert ours[1] == pytest.approx((1 + 1 / 25) / 2)
    assert ours[2] == 1.0
    assert ours[9] == pytest.approx(1 / 25e4)
    assert ours[3] == pytest.approx(4e-6 + (1 - 4e-6) * (1 + math.cos(math.pi / 7)) / 2)
