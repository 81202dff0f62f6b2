"""What probes of a run are shown before and after a task, and that their state outlives a kill."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_runs import (
    Interrupted,
    Setup,
    cut_at_checkpoint,
    make_learner,
    make_stream,
    same,
    tensors,
)

from holdfast import richness
from holdfast.methods import Method, SingleTask
from holdfast.nets.learner import Learner
from holdfast.probes import (
    EffectiveRank,
    FeatureChange,
    FeatureMovement,
    GradientNorms,
    Phase,
    TangentKernel,
)
from holdfast.starts import Fresh
from holdfast.streams.batches import Batch
from holdfast.training.options import Training
from holdfast.training.probing import probe_names
from holdfast.training.run import run


class Watch:
    """Notes all it is shown, and draws."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, Any]] = []
        self.phases: list[Phase] = []
        self.weights: list[torch.Tensor] = []

    def before(self, learner: Learner, batch: Batch, phase: Phase) -> None:
        assert not any(m.training for m in learner.modules())
        assert torch.equal(batch.x, make_stream()[batch.task].test.x)
        learner(batch.x, batch.task)
        torch.rand(7)
        self.seen.append(("before", batch.task))
        self.phases.append(phase)
        self.weights.append(next(learner.parameters()).detach().clone())

    def measure(self, learner: Learner, batch: Batch) -> dict[str, float]:
        self.seen.append(("after", batch.task))
        return {}


def test_probes_look_at_each_task_before_and_after(quick: None) -> None:
    watch, setup = Watch(), Setup(net="noisy", start=Fresh, training={"momentum": 0.5, "lr": 0.2})
    setup.probes = lambda: (watch, EffectiveRank())
    _, learner = setup.run()
    assert watch.seen == [
        ("before", 0), ("after", 0), ("before", 0), ("before", 1), ("after", 0), ("after", 1),
        *(("before", i) for i in range(3)), *(("after", i) for i in range(3)),
    ]  # fmt: skip
    assert [phase.index for phase in watch.phases] == [0, 1, 1, 2, 2, 2]
    phase = watch.phases[-1]
    assert phase.learning_rates == {name: 0.2 for name, _ in learner.named_parameters()}
    assert (phase.optimizer, phase.momentum, phase.loss) == ("sgd", 0.5, "cross_entropy")
    # the start has drawn new weights before each task
    assert torch.equal(watch.weights[1], watch.weights[2])
    assert not torch.equal(watch.weights[0], watch.weights[1])
    # and nothing of it is learned otherwise
    setup.probes = tuple
    _, other = setup.run()
    assert same(tensors(learner), tensors(other))


def test_probes_keep_to_the_current_task_as_evaluation_does(quick: None) -> None:
    watch, setup = Watch(), Setup(net="noisy", training={"evaluate_tasks": "current"})
    norms = GradientNorms()
    setup.probes = lambda: (watch, norms, FeatureChange())
    record, _ = setup.run()
    assert watch.seen == [(when, i) for i in range(3) for when in ("before", "after")]
    assert {(entry["task"], entry["on"]) for entry in record.probes} == {(i, i) for i in range(3)}
    ratios = [e["values"]["ratio"] for e in record.probes if e["probe"] == "GradientNorms"]
    assert all(math.isnan(ratio) for ratio in ratios)


@pytest.mark.parametrize("schedule", ["cosine", "one_cycle"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_probes_are_told_the_rates_of_a_parametrized_learner(
    optimizer: str, schedule: str, quick: None
) -> None:
    watch, stream = Watch(), make_stream()
    learner = richness.parametrize(make_learner(stream), "mup", gamma0=0.7, base_width=2)
    training = Training(epochs=1, optimizer=optimizer, lr=0.3, schedule=schedule)
    run(stream, learner, training=training, probes=(watch,))
    factors = richness.rates(learner, optimizer)
    wanted = {name: pytest.approx(0.3 * factor) for name, factor in factors.items()}
    assert watch.phases[-1].learning_rates == wanted
    assert len(set(factors.values())) > 1


@pytest.mark.parametrize("method", [Method, SingleTask])
def test_probes_of_ours_change_nothing_that_is_learned(method: type[Method], quick: None) -> None:
    setup = Setup(method, "task_incremental", net="noisy")
    plain, learner = setup.run()
    setup.probes = lambda: (TangentKernel(samples=4), FeatureMovement(samples=4), EffectiveRank())
    record, other = setup.run()
    assert same(tensors(learner), tensors(other))
    assert np.array_equal(plain.loss, record.loss, equal_nan=True)
    trained = [[p.requires_grad for p in found.parameters()] for found in (learner, other)]
    assert trained[0] == trained[1]
    assert len(record.probes) == 3 * 6
    means = record.probe_means()
    asked = {f"{type(p).__name__}.{column}" for p in setup.probes() for column in p.columns}
    assert set(means) == asked
    assert not np.isnan(list(means.values())).any()


@pytest.mark.parametrize(
    ("options", "loss"),
    [({"training": {"loss": "mse"}}, "mse"), ({"stream": {"regression": True}}, "mse")],
)
def test_the_phase_names_the_loss(options: dict[str, Any], loss: str, quick: None) -> None:
    class Plain(Watch):
        def before(self, learner: Learner, batch: Batch, phase: Phase) -> None:
            self.phases.append(phase)

    watch = Plain()
    Setup(scenario="domain_incremental", probes=lambda: (watch,), **options).run()
    assert {phase.loss for phase in watch.phases} == {loss}


def test_rates_are_of_what_is_trained(quick: None) -> None:
    class Plain(Watch):
        def before(self, learner: Learner, batch: Batch, phase: Phase) -> None:
            self.phases.append(phase)

    watch = Plain()
    Setup(SingleTask, "task_incremental", probes=lambda: (watch,)).run()
    names = {key.split(".")[2] for key in watch.phases[-1].learning_rates if "nets" in key}
    assert names == {"2"}


class Memory:
    """The sum of the features of a task before training, remembered until it is measured."""

    def __init__(self) -> None:
        self._before: dict[str, torch.Tensor] = {}

    @torch.no_grad()
    def before(self, learner: Learner, batch: Batch, phase: Phase) -> None:
        self._before[str(batch.task)] = learner.features(batch.x).sum()

    @torch.no_grad()
    def measure(self, learner: Learner, batch: Batch) -> dict[str, float]:
        change = learner.features(batch.x).sum() - self._before[str(batch.task)]
        return {"change": change.item()}

    def state_dict(self) -> dict[str, Any]:
        return {"before": self._before}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._before = state["before"]


@pytest.mark.parametrize("checkpoint", [6, 7, 8, 11])
def test_the_state_of_a_probe_outlives_a_kill(
    checkpoint: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: None
) -> None:
    """The last checkpoint is that before a task (6, 11), or amid the second task (7, 8)."""
    setup = Setup(net="noisy", probes=lambda: (EffectiveRank(), Memory()))
    record, _ = setup.run()
    with pytest.raises(Interrupted), cut_at_checkpoint(monkeypatch, checkpoint):
        setup.run(tmp_path, checkpoint_minutes=0.0)
    assert setup.run(tmp_path, init=1, resume=True)[0].digest() == record.digest()


def test_names_are_those_of_classes() -> None:
    assert probe_names([Watch(), Memory(), Watch(), Watch()]) == [
        "Watch", "Memory", "Watch 2", "Watch 3"
    ]  # fmt: skip
