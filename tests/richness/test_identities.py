"""muP and NTP are one at the base width, and NTP at another width is muP at another gamma_0."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from by_hand import CASES, Case
from doubled import doubled
from small_runs import make_stream
from torch import Tensor, nn
from torch.nn import functional

from holdfast import richness
from holdfast.nets import mlp
from holdfast.nets.learner import HeadKind, Learner, build_learner
from holdfast.records.record import Record
from holdfast.streams.stream import Scenario
from holdfast.training.options import Training
from holdfast.training.run import run

STEPS = 4
PAIRS = {
    "base width": (64, {"parametrization": "mup"}, {"parametrization": "ntp"}),
    "wider": (
        72,
        {"parametrization": "ntp"},
        {"parametrization": "mup", "gamma0": math.sqrt(64 / 72)},
    ),
    "below the base width": (
        24,
        {"parametrization": "ntp"},
        {"parametrization": "mup", "gamma0": math.sqrt(64 / 24)},
    ),
    "narrower, absolute units": (
        20,
        {"parametrization": "ntp", "gamma0": 0.3, "base_width": 1},
        {"parametrization": "mup", "gamma0": 0.3 / math.sqrt(20), "base_width": 1},
    ),
}
OPTIMIZERS: dict[str, tuple[type[torch.optim.Optimizer], dict[str, Any], float]] = {
    "sgd": (torch.optim.SGD, {}, 1.0),
    "momentum": (torch.optim.SGD, {"momentum": 0.9, "nesterov": True}, 0.3),
    "adam": (torch.optim.Adam, {}, 0.03),
}


def curve(case: Case, width: int, options: dict[str, Any], optimizer: str) -> list[float]:
    """Losses along a few steps; a readout of variance 1, which is the harder case."""
    kind, own, lr = OPTIMIZERS[optimizer]
    model = richness.parametrize(case.model(width), readout_std=1, **options).double()
    name = "sgd" if kind is torch.optim.SGD else optimizer
    used = kind(richness.param_groups(model, name, lr=lr), **own)
    x, y = case.data(8)
    losses = []
    for _ in range(STEPS):
        loss = functional.cross_entropy(model(x), y)
        used.zero_grad()
        loss.backward()
        used.step()
        losses.append(loss.item())
    assert min(losses) < losses[0] - 0.01
    return losses


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_losses_agree_along_training(case: Case, pair: str, optimizer: str) -> None:
    width, one, other = PAIRS[pair]
    assert curve(case, width, one, optimizer) == pytest.approx(
        curve(case, width, other, optimizer), rel=1e-10
    )


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_another_gamma_gives_another_curve(optimizer: str) -> None:
    rich, lazy = (curve(CASES[0], 64, {"gamma0": gamma0}, optimizer) for gamma0 in (1.0, 0.5))
    assert rich != pytest.approx(lazy, rel=1e-3)


def learned(
    scenario: Scenario, heads: HeadKind, width: int, training: Training, **options: Any
) -> tuple[Record, Learner]:
    """A run of three tasks on five features."""
    stream = doubled(make_stream(scenario))
    learner = build_learner(mlp((5,), hidden=(1, 1), width=width).double(), stream, heads)
    record = run(stream, richness.parametrize(learner, **options).double(), training=training)
    assert record.status == "complete"
    return record, learner


RUNS: list[tuple[Scenario, HeadKind]] = [
    ("task_incremental", "per_task"),
    ("class_incremental", "growing"),
    ("class_incremental", "shared"),
    ("domain_incremental", "shared"),
]


@pytest.mark.parametrize("readout_std", [0, 1])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize(("scenario", "heads"), RUNS)
def test_runs_agree(scenario: Scenario, heads: HeadKind, optimizer: Any, readout_std: int) -> None:
    """Heads that grow amid the stream included."""
    training = Training(
        epochs=2, batch_size=4, optimizer=optimizer, lr=OPTIMIZERS[optimizer][2], schedule="cosine"
    )
    width, one, other = PAIRS["wider"]
    (a, first), (b, second) = (
        learned(scenario, heads, width, training, readout_std=readout_std, **options)
        for options in (one, other)
    )
    losses, expected = ([epoch["loss"] for epoch in record.curve] for record in (a, b))
    assert losses == pytest.approx(expected, rel=2e-7)  # added up in single precision
    assert losses[1] < losses[0]
    np.testing.assert_allclose(a.loss, b.loss, rtol=1e-10)
    for mine, theirs in zip(first.parameters(), second.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-8, atol=1e-10)


def test_the_lazy_limit_with_heads_of_their_own_forgets_nothing() -> None:
    """At gamma_0 -> 0 and readouts of 0 features do not move, and an old head gets no gradient."""
    training = Training(epochs=5, batch_size=3, lr=1.0)
    lazy, _ = learned("task_incremental", "per_task", 64, training, gamma0=1e-5)
    rich, _ = learned("task_incremental", "per_task", 64, training, gamma0=1.0)

    def forgetting(record: Record) -> float:
        return max(abs(record.loss[2, i] - record.loss[i, i]) for i in range(2))

    assert forgetting(lazy) < 1e-6 < 1e-3 < forgetting(rich)
    losses = [epoch["loss"] for epoch in lazy.curve if epoch["task"] == 0]
    assert losses[-1] < losses[0] - 0.05  # and yet it learns


def movement(gamma0: float, readout_std: int) -> float:
    """RMS of how far hidden activations move in a few steps."""
    case = CASES[0]
    x, y = case.data()
    model = richness.parametrize(case.model(64), gamma0=gamma0, readout_std=readout_std).double()
    used = torch.optim.SGD(richness.param_groups(model, lr=0.3))
    before = features(model, x)
    for _ in range(4):
        used.zero_grad()
        functional.cross_entropy(model(x), y).backward()
        used.step()
    return float((features(model, x) - before).square().mean().sqrt())


@torch.no_grad()
def features(model: nn.Module, x: Tensor) -> Tensor:
    return model.get_submodule("0")(x)


@pytest.mark.parametrize(("readout_std", "power"), [(0, 2), (1, 1)])
def test_features_move_as_a_power_of_gamma(readout_std: int, power: int) -> None:
    """gamma_0^2 from a readout of zero, gamma_0 from one of variance 1."""
    ratio = movement(1e-2, readout_std) / movement(1e-3, readout_std)
    assert math.log10(ratio) == pytest.approx(power, abs=0.15)
