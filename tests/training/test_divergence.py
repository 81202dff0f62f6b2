"""A run that leaves the finite numbers says so, and keeps what came before."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_runs import Setup, copies_of_checkpoints, make_learner, make_stream, same

from holdfast.methods import Finetune
from holdfast.nets.learner import Learner
from holdfast.records.record import Record
from holdfast.streams.batches import Batch
from holdfast.streams.context import Context
from holdfast.training.checkpoint import load_checkpoint
from holdfast.training.options import Training
from holdfast.training.run import run


class Break(Finetune):
    """Breaks the net after a number of steps of the whole run."""

    def __init__(self, after: int, value: float = math.nan, part: str = "bias") -> None:
        self.after, self.value, self.part, self.steps = after, value, part, 0

    def after_step(self, learner: Learner, batch: Batch, context: Context) -> None:
        self.steps += 1
        if self.steps == self.after:
            with torch.no_grad():
                getattr(learner.backbone[0], self.part)[0] = self.value

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self.steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.steps = state["steps"]


@pytest.mark.parametrize("loss", ["cross_entropy", "mse"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_too_large_a_rate(loss: str, optimizer: str, tmp_path: Path, quick: None) -> None:
    rate = {"sgd": 1e6, "adam": 1e30}[optimizer]
    setup = Setup(training={"lr": rate, "loss": loss, "optimizer": optimizer, "epochs": 20})
    heard: list[dict[str, Any]] = []
    record, _ = setup.run(tmp_path / "a", listener=heard.append)
    assert record.status == "diverged"
    assert record.diverged is not None
    assert record.diverged["task"] == 0
    assert record.diverged["step"] < 40
    assert record.diverged["reason"].startswith("the training loss became")
    assert math.isnan(record.metrics()["acc"])
    assert heard[-1] == {"event": "diverged", **record.diverged}
    assert json.loads((tmp_path / "a" / "events.jsonl").read_text().splitlines()[-1]) == heard[-1]
    assert Record.load(tmp_path / "a").digest() == record.digest()
    assert setup.run()[0].digest() == record.digest()


# Tasks of 4 steps: (after, task, epoch) of what is noticed.
PLACES = [(1, 0, 0), (2, 0, 1), (4, 0, 1), (5, 1, 0), (8, 1, 1), (11, 2, 1), (12, 2, 1)]


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize(("after", "task", "epoch"), PLACES)
def test_noticed_wherever_it_happens(
    after: int, task: int, epoch: int, value: float, tmp_path: Path, quick: None
) -> None:
    whole, _ = Setup().run()
    setup = Setup(lambda: Break(after, value))
    record, _ = setup.run(tmp_path)
    assert record.status == "diverged"
    found = record.diverged
    assert found is not None
    assert (found["task"], found["epoch"], found["step"]) == (task, epoch, after)
    last = after % 4 == 0
    assert found["reason"].startswith("parameter backbone.0.bias" if last else "the training loss")
    assert record.finished == task
    assert np.array_equal(record.accuracy[:task], whole.accuracy[:task], equal_nan=True)
    assert np.isnan(record.accuracy[task:]).all()
    assert record.curve == whole.curve[: len(record.curve)]
    assert len(record.seconds) == task + 1
    assert setup.run()[0].digest() == record.digest()


def test_noticed_before_the_task_is_closed(quick: None) -> None:
    """What a method does at the end of a task, such as drawing labels, is spared lost weights."""

    class Late(Break):
        def end_task(self, learner: Learner, context: Context) -> None:
            assert context.index == 0

    record, _ = Setup(lambda: Late(8)).run()
    assert record.diverged is not None
    assert record.diverged["step"] == 8


def test_noticed_in_what_a_method_does_at_the_end(quick: None) -> None:
    class End(Finetune):
        def end_task(self, learner: Learner, context: Context) -> None:
            learner.backbone[0].weight.data[:] = math.inf

    record, _ = Setup(End).run()
    assert record.diverged is not None
    assert record.diverged["reason"] == "parameter backbone.0.weight left the finite numbers"


def test_noticed_in_finite_weights_that_overflow(quick: None) -> None:
    """At the very last step: the weights are finite, what the net gives is not."""
    record, _ = Setup(lambda: Break(12, 3e38, "weight")).run()
    assert record.status == "diverged"
    assert record.diverged is not None
    assert record.diverged["reason"].startswith("the evaluation loss became")
    assert record.finished == 2


@pytest.mark.parametrize("after", [2, 3, 6])
def test_when_checkpoints_are_due_does_not_show(
    after: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: None
) -> None:
    setup = Setup(lambda: Break(after, math.inf, "weight"))
    records = [setup.run()[0]]
    records += [setup.run(tmp_path / str(m), checkpoint_minutes=m)[0] for m in (0.0, 9.0)]
    assert len({r.digest() for r in records}) == 1
    with copies_of_checkpoints(monkeypatch, tmp_path / "copies") as kept:
        setup.run(tmp_path / "again", checkpoint_minutes=0.0)
    # the start, one a step that went well, one a task that did
    assert len(kept) == 1 + (after - 1) + (after - 1) // 4


def test_evaluations_within_a_task_are_not_of_lost_weights(quick: None) -> None:
    record, _ = Setup(lambda: Break(3), heads="shared", training={"evaluate_every": 1}).run()
    assert [e["step"] for e in record.evaluations] == [1, 2]
    assert record.diverged is not None
    assert record.diverged["step"] == 3
    assert all(v is not None for e in record.evaluations for v in e["loss"])


def test_lost_from_the_start(tmp_path: Path, quick: None) -> None:
    stream = make_stream()
    learner = make_learner(stream)
    learner.backbone[0].weight.data[0, 0] = math.nan
    training = Training(epochs=1, batch_size=5)
    record = run(stream, learner, training=training, out=tmp_path)
    assert record.diverged == {
        "task": 0, "epoch": 0, "step": 0, "reason": "the training loss became nan"
    }  # fmt: skip


def test_resumed_it_diverges_again(tmp_path: Path, quick: None) -> None:
    setup = Setup(lambda: Break(7))
    record, _ = setup.run(tmp_path)
    events = (tmp_path / "events.jsonl").read_bytes()
    again, _ = setup.run(tmp_path, resume=True)
    assert again.digest() == record.digest()
    assert (tmp_path / "events.jsonl").read_bytes() == events
    assert Record.load(tmp_path).digest() == record.digest()
    with pytest.raises(ValueError, match="holds a run already"):
        setup.run(tmp_path)


def test_the_checkpoint_is_the_last_good_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: None
) -> None:
    with copies_of_checkpoints(monkeypatch, tmp_path / "copies") as kept:
        Setup(lambda: Break(99)).run(tmp_path / "good", checkpoint_minutes=9.0)
    Setup(lambda: Break(9)).run(tmp_path / "bad", checkpoint_minutes=9.0)
    state = load_checkpoint(tmp_path / "bad" / "checkpoint" / "state.safetensors")
    assert state["position"]["index"] == 2
    assert same(state["learner"]["tensors"], load_checkpoint(kept[2])["learner"]["tensors"])
