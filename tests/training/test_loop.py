"""A run against the loop a person would write, and what it must leave alone."""

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
from torch import nn

from holdfast.methods import DERpp, Finetune, Joint, Replay
from holdfast.nets.learner import Learner
from holdfast.seeds import derive, generator
from holdfast.starts import Fresh
from holdfast.streams import sources
from holdfast.streams.batches import Batch, Resident
from holdfast.streams.context import Context
from holdfast.training.options import Training
from holdfast.training.run import run


@pytest.mark.parametrize("scenario", ["class_incremental", "task_incremental"])
@pytest.mark.parametrize("joint", [False, True])
def test_is_the_bare_loop(scenario: str, joint: bool, quick: None) -> None:
    """The same batches in the same order, the same numbers to the last bit."""
    stream = make_stream(scenario, rows=21)
    learner, bare = make_learner(stream), make_learner(stream)
    training = Training(epochs=3, batch_size=4, lr=0.1, weight_decay=1e-3, clip=0.5)
    record = run(stream, learner, Joint() if joint else Finetune(), training, seed=5)
    curve = []
    for i, task in enumerate(stream):
        bare.accommodate(i, task, generator(5, "head", i))
        met = range(i + 1) if joint else [i]
        source = Resident.of([(j, stream[j]) for j in met], bare.columns)
        # PyTorch's own optimizer, not in its fused form.
        optimizer = torch.optim.SGD(bare.parameters(), lr=0.1, weight_decay=1e-3, foreach=False)
        for epoch in range(3):
            losses, hits = [], 0
            for batch in source.epoch(4, derive(5, "order", i, epoch)):
                optimizer.zero_grad()
                logits = bare(batch.x, batch.task)
                loss = nn.functional.cross_entropy(logits, batch.y)
                loss.backward()
                nn.utils.clip_grad_norm_(bare.parameters(), 0.5)
                optimizer.step()
                losses.append(loss.item())
                hits += int((logits.argmax(1) == batch.y).sum())
            curve.append((i, epoch, sum(losses) / len(losses), hits / len(source)))
    for name, value in bare.state_dict().items():
        assert torch.equal(value, learner.state_dict()[name]), name
    assert [(c["task"], c["epoch"], c["accuracy"]) for c in record.curve] == [
        (i, epoch, accuracy) for i, epoch, _, accuracy in curve
    ]
    assert [c["loss"] for c in record.curve] == pytest.approx([c[2] for c in curve], rel=1e-12)


def test_samples_that_do_not_fit_give_the_same_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: None
) -> None:
    setup = Setup(Joint, "task_incremental", net="noisy")
    record, learner = setup.run()
    monkeypatch.setattr(sources, "fit", lambda tasks, device: False)
    again, other = setup.run()
    assert again.digest() == record.digest()
    assert same(tensors(learner), tensors(other))
    with pytest.raises(Interrupted), cut_at_checkpoint(monkeypatch, 8):
        setup.run(tmp_path, checkpoint_minutes=0.0)
    assert setup.run(tmp_path, resume=True)[0].digest() == record.digest()


def test_the_seed_makes_the_run(quick: None) -> None:
    setup = Setup(lambda: DERpp(memory=10), net="noisy", training={"evaluate_every": 3})
    record, learner = setup.run(seed=3)
    torch.manual_seed(123)
    again, other = setup.run(seed=3)
    assert again.digest() == record.digest()
    assert same(tensors(learner), tensors(other))
    for seed in (0, 4):
        assert setup.run(seed=seed)[0].digest() != record.digest()


@pytest.mark.parametrize("fed", ["tensors", "loader", "own"])
def test_global_generators_are_left_alone(fed: str, quick: None) -> None:
    setup = Setup(lambda: Replay(memory=5), net="noisy", stream={"fed": fed}, start=Fresh)
    state, other = torch.get_rng_state(), repr(np.random.get_state())  # noqa: NPY002
    setup.run()
    assert torch.equal(torch.get_rng_state(), state)
    assert repr(np.random.get_state()) == other  # noqa: NPY002


class Watch:
    """A probe that draws, and notes the mode it finds the learner in."""

    def __init__(self) -> None:
        self.modes: list[set[bool]] = []
        self.batches: list[Batch] = []

    def measure(self, learner: Learner, batch: Batch) -> dict[str, float]:
        self.modes.append({m.training for m in learner.modules()})
        self.batches.append(batch)
        return {"draw": torch.rand(())}  # type: ignore[dict-item]  # a number, in a way


def test_probes_see_each_task_in_evaluation_mode(quick: None) -> None:
    watch = Watch()
    record, learner = Setup(net="noisy", probes=lambda: (watch,)).run()
    assert watch.modes == [{False}] * 6
    assert [b.task for b in watch.batches] == [0, 0, 1, 0, 1, 2]
    assert [(p["task"], p["on"], p["step"]) for p in record.probes] == [
        (0, 0, 4), (1, 0, 8), (1, 1, 8), (2, 0, 12), (2, 1, 12), (2, 2, 12)
    ]  # fmt: skip
    assert {p["probe"] for p in record.probes} == {"Watch"}
    assert {type(p["values"]["draw"]) for p in record.probes} == {float}
    stream = make_stream()
    test = stream[1].test
    assert torch.equal(watch.batches[4].x, test.x)
    assert torch.equal(watch.batches[4].y, learner.columns(test.y, 1))
    # what is measured changes nothing that is learned, nor the mode
    plain, other = Setup(net="noisy").run()
    assert same(tensors(learner), tensors(other))
    assert np.array_equal(plain.accuracy, record.accuracy, equal_nan=True)
    assert [m.training for m in learner.modules()] == [m.training for m in other.modules()]


def test_the_learner_is_trained_in_place(quick: None) -> None:
    stream = make_stream()
    learner = make_learner(stream)
    weight, before = learner.backbone[0].weight, learner.backbone[0].weight.detach().clone()
    run(stream, learner, training=Training(epochs=1, batch_size=5))
    assert learner.backbone[0].weight is weight
    assert not torch.equal(weight, before)
    assert learner.heads.known.tolist() == list(range(7))
    net = nn.Sequential(nn.Linear(5, 8), nn.ReLU())
    before = net[0].weight.detach().clone()
    run(stream, net, training=Training(epochs=1, batch_size=5))
    assert not torch.equal(net[0].weight, before)


class Hooks(Finetune):
    """Notes the hooks in their order, and what they find."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def begin_task(self, learner: Learner, context: Context) -> None:
        assert context.task is context.stream[context.index]
        assert learner.heads.knows(context.index, context.task.classes)
        self.calls.append("begin")

    def loss(self, learner: Learner, batch: Batch, context: Context) -> Any:
        assert learner.training
        assert all(p.grad is None for p in learner.parameters())
        self.calls.append("loss")
        return super().loss(learner, batch, context)

    def after_backward(self, learner: Learner, batch: Batch, context: Context) -> None:
        self.before = learner.backbone[0].weight.detach().clone()
        assert learner.backbone[0].weight.grad is not None
        self.calls.append("backward")

    def after_step(self, learner: Learner, batch: Batch, context: Context) -> None:
        assert not torch.equal(learner.backbone[0].weight, self.before)
        self.calls.append("step")

    def end_task(self, learner: Learner, context: Context) -> None:
        self.calls.append("end")


def test_hooks_are_called_in_their_order(quick: None) -> None:
    hooks = Hooks()
    Setup(lambda: hooks, training={"evaluate_every": 1}).run()
    assert hooks.calls == ["begin", *["loss", "backward", "step"] * 4, "end"] * 3


def test_evaluations_and_curve_are_where_they_should_be(quick: None) -> None:
    setup = Setup(heads="shared", training={"evaluate_every": 3, "evaluate_tasks": "seen"})
    record, _ = setup.run()
    # steps 3 of each task's 4: counted within the task, recorded over the run
    assert [(e["task"], e["step"]) for e in record.evaluations] == [(0, 3), (1, 7), (2, 11)]
    for e in record.evaluations:
        known = [value is not None for value in e["accuracy"]]
        assert known == [j <= e["task"] for j in range(3)]
    assert np.isnan(record.accuracy).tolist() == np.triu(np.ones((3, 3)), 1).astype(bool).tolist()
    assert not np.isnan(record.initial_accuracy).any()
    every, _ = Setup(heads="shared", training={"evaluate_every": 3}).run()
    assert not np.isnan(every.accuracy).any()
    assert np.tril(np.nan_to_num(record.loss)).tolist() == np.tril(every.loss).tolist()
    assert [(c["task"], c["epoch"], c["step"], c["lr"]) for c in record.curve] == [
        (i, e, 4 * i + 2 * (e + 1), 0.05) for i in range(3) for e in range(2)
    ]
    assert len(record.seconds) == len(record.cpu_seconds) == len(record.eval_seconds) == 3
    assert all(s > 0 for s in record.seconds + record.eval_seconds)


def test_evaluations_at_the_end_of_each_epoch_of_the_current_task(quick: None) -> None:
    options = {"evaluate_every": "epoch", "evaluate_tasks": "current"}
    record, _ = Setup(heads="shared", training=options).run()
    assert [e["step"] for e in record.evaluations] == [c["step"] for c in record.curve]
    known = [[value is not None for value in e["accuracy"]] for e in record.evaluations]
    assert known == [[j == i for j in range(3)] for i in range(3) for _ in range(2)]
    assert np.isnan(record.accuracy).tolist() == (np.eye(3) == 0).tolist()
    every, _ = Setup(heads="shared").run()
    assert np.diagonal(record.loss).tolist() == np.diagonal(every.loss).tolist()


def test_tasks_before_the_last_may_have_other_epochs(quick: None) -> None:
    record, _ = Setup(training={"pretraining_epochs": 1, "schedule": "cosine"}).run()
    assert [(c["task"], c["epoch"]) for c in record.curve] == [(0, 0), (1, 0), (2, 0), (2, 1)]
    # The schedule runs over the epochs there are: steps 1 of 2, then 1 and 3 of 4.
    ends = [0.5, 0.5, (1 + 2**-0.5) / 2, (1 - 2**-0.5) / 2]
    assert [c["lr"] for c in record.curve] == pytest.approx([0.05 * end for end in ends])


class Half(Finetune):
    """Trains on the first half of each batch, twice."""

    def batch(self, batch: Batch, context: Context) -> Batch:
        half = torch.arange(len(batch)) % -(-len(batch) // 2)
        return Batch(batch.x[half], batch.y[half], batch.task)


def test_a_method_may_exchange_the_samples_of_a_batch(quick: None) -> None:
    hooks = Hooks()
    hooks.batch = Half().batch  # type: ignore[method-assign]
    seen: list[Tensor] = []
    loss = hooks.loss
    hooks.loss = lambda learner, batch, context: (  # type: ignore[method-assign]
        seen.append(batch.x), loss(learner, batch, context)
    )[1]  # fmt: skip
    Setup(lambda: hooks).run()
    assert all(torch.equal(x[0], x[-(-len(x) // 2)]) for x in seen if len(x) > 1)


def test_rates_of_the_curve_are_those_of_the_last_step(quick: None) -> None:
    record, _ = Setup(training={"schedule": "step", "milestones": (1,), "decay": 0.5}).run()
    assert [c["lr"] for c in record.curve] == [0.05, 0.025] * 3
    record, _ = Setup(training={"schedule": "cosine"}).run()
    # steps 1 and 3 of 4
    half = [0.05 * (1 + 2**-0.5) / 2, 0.05 * (1 - 2**-0.5) / 2]
    assert [c["lr"] for c in record.curve] == pytest.approx(half * 3)


def test_the_test_split_is_not_looked_at_for_validation(quick: None) -> None:
    on_test, a = Setup(stream={"validation": True}).run()
    held, b = Setup(stream={"validation": True}, training={"evaluate_on": "validation"}).run()
    assert same(tensors(a), tensors(b))
    assert not np.array_equal(on_test.loss, held.loss, equal_nan=True)


def test_moments_are_carried_only_on_request(quick: None) -> None:
    runs = [
        Setup(training={"momentum": 0.9, "reset_optimizer": reset}).run()[1]
        for reset in (True, False)
    ]
    assert not same(*(tensors(learner) for learner in runs))
