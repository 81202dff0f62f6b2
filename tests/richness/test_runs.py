"""Runs of parametrized learners: bare loops, growth, optimizers carried on, kills, fresh starts."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from doubled import doubled
from small_runs import Interrupted, cut_at_checkpoint, make_stream, same, tensors
from torch import Tensor, nn
from torch.nn import functional

from holdfast import richness
from holdfast.config import build, resume, run_config
from holdfast.nets import GrowingHead, SharedHead, TaskHeads, mlp
from holdfast.nets.learner import HeadKind, Learner, build_learner
from holdfast.nets.scaled import ScaledLinear
from holdfast.richness.rates import OptimizerName
from holdfast.seeds import generator
from holdfast.starts import Fresh
from holdfast.streams.stream import Scenario, Stream
from holdfast.training.options import Training
from holdfast.training.run import run

WIDTH = 12
KINDS: list[tuple[Scenario, HeadKind]] = [
    ("task_incremental", "per_task"),
    ("class_incremental", "growing"),
    ("domain_incremental", "shared"),
]


def made(stream: Stream, heads: HeadKind, dtype: torch.dtype, **options: Any) -> Learner:
    net = mlp((5,), hidden=(1, 1), width=WIDTH).to(dtype)
    return richness.parametrize(build_learner(net, stream, heads), base_width=4, **options).to(
        dtype
    )


def torch_optimizer(
    name: OptimizerName, groups: list[dict[str, Any]], momentum: float
) -> torch.optim.Optimizer:
    if name == "sgd":
        return torch.optim.SGD(groups, momentum=momentum)
    return (torch.optim.Adam if name == "adam" else torch.optim.AdamW)(groups)


@pytest.mark.parametrize("options", [
    {"optimizer": "sgd", "lr": 0.5, "momentum": 0.9, "weight_decay": 0.1, "schedule": "cosine"},
    {"optimizer": "sgd", "lr": 1.0, "schedule": "exponential", "decay": 0.5},
    {"optimizer": "adamw", "lr": 0.05, "weight_decay": 0.5, "schedule": "cosine"},
    {"optimizer": "adam", "lr": 0.05, "clip": 0.1},
], ids=lambda options: options["optimizer"])  # fmt: skip
@pytest.mark.parametrize(("scenario", "heads"), KINDS)
def test_a_run_is_a_bare_loop_over_param_groups(
    scenario: Scenario, heads: HeadKind, options: dict[str, Any]
) -> None:
    stream, steps = doubled(make_stream(scenario)), 4
    training = Training(epochs=steps, batch_size=100, **options)
    learner, bare = (made(stream, heads, torch.float64, gamma0=0.7) for _ in range(2))
    record = run(stream, learner, training=training)
    losses = []
    for index, task in enumerate(stream):
        bare.accommodate(index, task, generator(0, "head", index))
        groups = richness.param_groups(
            bare, training.optimizer, lr=training.lr, weight_decay=training.weight_decay
        )
        used = torch_optimizer(training.optimizer, groups, training.momentum)
        for step in range(steps):
            factor = {
                "cosine": (1 + math.cos(math.pi * step / steps)) / 2,
                "exponential": 0.5**step,
                "constant": 1.0,
            }[training.schedule]
            for group in used.param_groups:
                group["lr"] = training.lr * group["factor"] * factor
            x, y = task.train.x, bare.columns(task.train.y, index)
            loss = functional.cross_entropy(bare(x, index), y)
            used.zero_grad()
            loss.backward()
            if training.clip is not None:
                nn.utils.clip_grad_norm_(bare.parameters(), training.clip)
            used.step()
            losses.append(loss.item())
    # The loop adds up its losses in single precision; the weights tell to how much they agree.
    assert [epoch["loss"] for epoch in record.curve] == pytest.approx(losses, rel=2e-7)
    for (name, mine), other in zip(learner.named_parameters(), bare.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-9, atol=1e-11, msg=name)


@pytest.mark.parametrize("options", [
    {"optimizer": "sgd", "lr": 0.5, "momentum": 0.9},
    {"optimizer": "adam", "lr": 0.05},
], ids=lambda options: options["optimizer"])  # fmt: skip
def test_optimizers_are_carried_on_over_their_groups(options: dict[str, Any]) -> None:
    """With a head that stays, one optimizer of torch over the whole stream."""
    stream = doubled(make_stream("domain_incremental"))
    training = Training(epochs=3, batch_size=100, reset_optimizer=False, **options)
    learner, bare = (
        made(stream, "shared", torch.float64, gamma0=0.7, readout_std=1) for _ in range(2)
    )
    run(stream, learner, training=training)
    groups = richness.param_groups(bare, training.optimizer, lr=training.lr)
    assert len(groups) > 1
    used = torch_optimizer(training.optimizer, groups, training.momentum)
    for index, task in enumerate(stream):
        for _ in range(3):
            used.zero_grad()
            y = bare.columns(task.train.y, index)
            functional.cross_entropy(bare(task.train.x, index), y).backward()
            used.step()
    for (name, mine), other in zip(learner.named_parameters(), bare.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-9, atol=1e-11, msg=name)


def rows_of(heads: nn.Module, index: int) -> tuple[Tensor, Tensor]:
    """Raw weight and bias that the task at `index`, of two classes, was given."""
    if isinstance(heads, TaskHeads):
        linear = heads.get_submodule(f"heads.{index}.linear")
        assert isinstance(linear, ScaledLinear)
        return linear.weight.detach(), linear.bias.detach()
    assert isinstance(heads, GrowingHead)
    assert heads.bias is not None
    own = slice(200 * index, 200 * index + 200)
    return heads.weight.detach()[own], heads.bias.detach()[own]


@pytest.mark.parametrize("readout_std", [0, 1])
@pytest.mark.parametrize("kind", [TaskHeads, GrowingHead])
def test_rows_start_as_readout_std_says(kind: Any, readout_std: int) -> None:
    learner = Learner(nn.Sequential(nn.Linear(5, 50), nn.ReLU()), kind(50))
    richness.parametrize(learner, gamma0=0.5, base_width=25, readout_std=readout_std)
    x = torch.randn(7, 5)
    before = torch.get_rng_state()
    for index in range(2):
        classes = range(200 * index, 200 * index + 200)
        learner.heads.accommodate(index, classes, generator(3, "head", index))
        weight, bias = rows_of(learner.heads, index)
        assert weight.shape == (200, 50)
        assert not bool(bias.any())
        if readout_std == 0:
            assert not bool(weight.any())
            continue
        assert abs(float(weight.mean())) < 4 / 100
        assert abs(float(weight.std()) - 1) < 4 / (100 * math.sqrt(2))
        # f = w . phi / (gamma sqrt(width)), with gamma = gamma_0 sqrt(width / base).
        expected = learner.features(x) @ weight.T / (0.5 * math.sqrt(2) * math.sqrt(50))
        torch.testing.assert_close(learner(x, index)[:, -200:], expected)
    assert torch.equal(before, torch.get_rng_state())
    if readout_std:
        first, second = (rows_of(learner.heads, i)[0] for i in range(2))
        assert not torch.equal(first, second)


def test_a_shared_head_is_scaled_too() -> None:
    learner = Learner(nn.Sequential(nn.Linear(5, 50), nn.ReLU()), SharedHead(50, (0, 1, 2)))
    richness.parametrize(learner, gamma0=0.5, base_width=25, readout_std=1)
    x = torch.randn(7, 5)
    weight = learner.get_parameter("heads.linear.weight")
    expected = learner.features(x) @ weight.T / (0.5 * math.sqrt(2) * math.sqrt(50))
    torch.testing.assert_close(learner(x), expected)
    assert not bool(learner.get_parameter("heads.linear.bias").any())


def test_mixed_tasks_are_scaled_as_one_task_is() -> None:
    learner = Learner(nn.Linear(5, 8), TaskHeads(8))
    richness.parametrize(learner, gamma0=0.3, readout_std=1)
    learner.heads.accommodate(0, (0, 1))
    learner.heads.accommodate(1, (2, 3))
    x = torch.randn(4, 5)
    mixed = learner(x, torch.tensor([1, 0, 1, 0]))
    torch.testing.assert_close(mixed[1::2], learner(x, 0)[1::2])
    torch.testing.assert_close(mixed[::2], learner(x, 1)[::2])


CUT: dict[str, tuple[Scenario, HeadKind, dict[str, Any]]] = {
    "per_task": ("task_incremental", "per_task", {"momentum": 0.9, "schedule": "cosine"}),
    "growing": ("class_incremental", "growing", {"optimizer": "adam", "lr": 0.02}),
    "shared": ("class_incremental", "shared", {"optimizer": "adamw", "weight_decay": 0.1}),
}


@pytest.mark.parametrize("name", CUT)
def test_a_run_cut_at_any_checkpoint_is_the_run_that_was_not(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenario, heads, options = CUT[name]
    defaults = {"epochs": 1, "batch_size": 5, "lr": 0.3, "reset_optimizer": False}
    training = Training(checkpoint_minutes=0.0, **{**defaults, **options})
    stream = make_stream(scenario)

    def attempt(out: Path, resume: bool) -> tuple[Any, Learner]:
        learner = made(stream, heads, torch.float32, gamma0=0.7, readout_std=1)
        return run(stream, learner, training=training, out=out, resume=resume), learner

    record, learner = attempt(tmp_path / "whole", False)
    wanted, lives = tensors(learner), 1
    while True:
        try:
            with cut_at_checkpoint(monkeypatch, 3):
                again, learner = attempt(tmp_path / "cut", True)
            break
        except Interrupted:
            lives += 1
    assert lives > 3
    assert again.digest() == record.digest()
    assert same(tensors(learner), wanted)


def test_another_richness_is_another_run(tmp_path: Path) -> None:
    stream = make_stream("task_incremental")
    training = Training(epochs=1, batch_size=5, lr=0.1)
    run(stream, made(stream, "auto", torch.float32, gamma0=0.5), training=training, out=tmp_path)
    for options in ({"gamma0": 0.25}, {"gamma0": 0.5, "readout_std": 1}):
        other = made(stream, "auto", torch.float32, **options)
        with pytest.raises(ValueError, match="another run"):
            run(stream, other, training=training, out=tmp_path, resume=True)


@pytest.mark.parametrize("readout_std", [0, 1])
def test_a_fresh_start_draws_raw_weights_anew(readout_std: int) -> None:
    """Training at a rate of 1e-30 leaves what the start has drawn."""
    stream = make_stream("task_incremental")
    net = mlp((5,), hidden=(1, 1, 1), width=80, norm="layer")
    learner = richness.parametrize(build_learner(net, stream), gamma0=0.7, readout_std=readout_std)
    multipliers = {n: m.multiplier for n, m in learner.named_modules() if hasattr(m, "multiplier")}
    before = tensors(learner)
    run(stream, learner, training=Training(epochs=1, lr=1e-30), start=Fresh())
    after = tensors(learner)
    for name, multiplier in multipliers.items():
        assert learner.get_submodule(name).multiplier == multiplier
    for name, value in before.items():
        if name.endswith("bias"):
            assert float(after[name].abs().max()) < 1e-28
        elif "norm" in name:
            assert bool((after[name] == 1).all())
        else:
            assert not torch.equal(after[name], value)
            four_errors = 4 / math.sqrt(2 * value.numel())
            assert float(after[name].std()) == pytest.approx(1, abs=four_errors)
    for index in range(len(stream)):
        weight = after[f"heads.heads.{index}.linear.weight"]
        assert (float(weight.abs().max()) > 1e-28) == bool(readout_std)


CONFIG = {
    "stream": {"name": "split", "dataset": {"name": "digits", "per_class": 6}, "tasks": 2},
    "net": {"name": "mlp", "hidden": [1], "width": 32},
    "richness": {"parametrization": "mup", "gamma0": 0.5, "base_width": 16},
    "training": {"epochs": 1, "lr": 1.0},
}


def test_a_configuration_has_a_richness(tmp_path: Path) -> None:
    learner = build(CONFIG).learner
    again = mlp((1, 8, 8), hidden=(1,), width=32)
    expected = richness.parametrize(
        build_learner(again, build(CONFIG).stream), gamma0=0.5, base_width=16
    )
    assert same(tensors(learner), tensors(expected))
    assert richness.rates(learner) == richness.rates(expected)
    record = run_config(CONFIG, tmp_path)
    assert record.config["richness"]["readout_std"] == 0
    assert resume(tmp_path).digest() == record.digest()
    without = build({**CONFIG, "richness": {**CONFIG["richness"], "readout_bias": False}}).learner
    without.heads.accommodate(0, (0, 1))
    assert not any(name.endswith("bias") for name, _ in without.heads.named_parameters())
