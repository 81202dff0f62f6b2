"""What is held still stays as it is, bit for bit, and the rest learns as before."""

from typing import Any

import pytest
import torch
from small_runs import Setup, make_stream, tensors
from torch import Tensor

from holdfast.methods import AGEM, Finetune, Joint, Method, Replay
from holdfast.nets.learner import Learner
from holdfast.starts import Fresh, Start
from holdfast.streams.context import Context

OPTIMIZERS: dict[str, dict[str, Any]] = {
    "sgd": {"momentum": 0.9, "weight_decay": 0.1, "reset_optimizer": False},
    "adam": {"optimizer": "adam", "weight_decay": 0.1, "reset_optimizer": False},
    "adamw": {"optimizer": "adamw", "weight_decay": 0.1, "reset_optimizer": False, "clip": 1.0},
}


class Watch(Start):
    """Keeps what the learner was when each task began, and when it ended."""

    def __init__(self) -> None:
        self.began: list[dict[str, Tensor]] = []
        self.ended: list[dict[str, Tensor]] = []
        self.modes: list[bool] = []

    def prepare(self, learner: Learner, context: Context) -> None:
        self.began.append(tensors(learner))

    def end_task(self, learner: Learner, context: Context) -> None:
        self.ended.append(tensors(learner))
        self.modes.append(learner.backbone.training)


def watched(setup: Setup) -> Watch:
    watch = Watch()
    setup.start = lambda: watch
    record, _ = setup.run()
    assert record.status == "complete"
    return watch


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("heads", ["growing", "shared", "per_task"])
def test_old_rows_stay(optimizer: str, heads: str) -> None:
    scenario = "task_incremental" if heads == "per_task" else "class_incremental"
    training = {**OPTIMIZERS[optimizer], "lr": 0.05, "freeze_old_rows": True}
    watch = watched(Setup(Joint, scenario, heads, training=training))
    stream, met = make_stream(scenario), 0
    for i, (began, ended) in enumerate(zip(watch.began, watch.ended, strict=True)):
        own = len(stream[i].classes)
        for name in began:
            if not name.startswith("heads") or name.endswith("known"):
                continue
            moved = ~torch.eq(began[name], ended[name]).flatten(1 - began[name].ndim)
            moved = moved if moved.ndim == 1 else moved.any(1)
            if heads == "per_task":
                assert bool(moved.any()) == (f"heads.{i}." in name), name
            else:
                assert not moved[:met].any()
                assert moved[met : met + own].all()
        met += own


def test_without_the_option_they_move() -> None:
    watch = watched(Setup(Joint, training=OPTIMIZERS["adamw"]))
    assert (watch.began[1]["heads.weight"][:2] != watch.ended[1]["heads.weight"][:2]).all()


def test_first_task_learns_as_without() -> None:
    held = watched(Setup(Joint, training={"freeze_old_rows": True}))
    free = watched(Setup(Joint))
    assert all(torch.equal(v, free.ended[0][k]) for k, v in held.ended[0].items())


@pytest.mark.parametrize("freeze", ["never", "after_first", "always"])
def test_frozen_backbones_stay(freeze: str) -> None:
    """With BatchNorm and dropout: running statistics stay too."""
    training = {**OPTIMIZERS["adamw"], "freeze_backbone": freeze}
    watch = watched(Setup(lambda: Replay(memory=9), net="noisy", training=training))
    for i, (began, ended) in enumerate(zip(watch.began, watch.ended, strict=True)):
        still = freeze == "always" or (freeze == "after_first" and i > 0)
        assert watch.modes[i] == (not still)
        for name in began:
            if name.startswith("backbone"):
                assert torch.equal(began[name], ended[name]) == still, name
            elif not name.endswith("known"):
                assert not torch.equal(began[name], ended[name])


def test_a_frozen_backbone_is_not_drawn_anew() -> None:
    setup = Setup(start=lambda: Fresh("backbone"), training={"freeze_backbone": "always"})
    _, learner = setup.run()
    _, again = setup.run(seed=1)
    assert torch.equal(learner.backbone[0].weight, again.backbone[0].weight)


def test_old_rows_of_targets_are_refused() -> None:
    setup = Setup(
        scenario="domain_incremental",
        stream={"regression": True},
        training={"freeze_old_rows": True},
    )
    with pytest.raises(ValueError, match="freeze_old_rows needs class labels"):
        setup.run()


@pytest.mark.parametrize("make", [Finetune, lambda: Replay(memory=6), lambda: AGEM(memory=6)])
def test_the_context_knows_what_is_remembered(make: Any) -> None:
    found: list[Any] = []

    class Look(Start):
        def prepare(self, learner: Learner, context: Context) -> None:
            assert context.loss == "cross_entropy"
            kept = context.remembered()
            # A copy: what is given is the memory itself.
            found.append(
                kept and [(int(t), int(y)) for t, y in zip(kept.task, kept.y, strict=True)]
            )

    method: Method = make()
    Setup(lambda: method, start=Look).run()
    assert found[0] is None
    if isinstance(method, Finetune):
        assert found == [None] * 3
        return
    assert [len(kept) for kept in found[1:]] == [6, 6]
    own = [range(2), range(2, 5)]
    assert {t for t, _ in found[1]} == {0}
    assert all(y in own[t] for kept in found[1:] for t, y in kept)


def test_the_context_knows_the_loss() -> None:
    found = []

    class Look(Start):
        def prepare(self, learner: Learner, context: Context) -> None:
            found.append(context.loss)

    Setup(start=Look, training={"loss": "mse"}).run()
    assert set(found) == {"mse"}


def test_tasks_are_evaluated_before_their_first_step() -> None:
    setup = Setup(Joint, training={"evaluate_start": True, "evaluate_every": 3})
    record, _ = setup.run()
    plain, _ = Setup(Joint, training={"evaluate_every": 3}).run()
    ends = [0, *[max(c["step"] for c in plain.curve if c["task"] == i) for i in (0, 1)]]
    firsts = [next(e for e in record.evaluations if e["task"] == i) for i in range(3)]
    assert [e["step"] for e in firsts] == ends
    assert record.trace(1)[0][0] == 0
    assert [e for e in record.evaluations if e not in firsts] == plain.evaluations
    assert (record.accuracy == plain.accuracy).all() or torch.equal(
        torch.tensor(record.accuracy).nan_to_num(), torch.tensor(plain.accuracy).nan_to_num()
    )
    # Of the classes that have no row yet there is nothing to know.
    assert firsts[0]["loss"][1:] == [None, None]
    assert all(v is not None for v in firsts[2]["loss"])
    assert record.samples == [6, 8, 10]
