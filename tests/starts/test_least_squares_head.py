"""The start of new rows in runs: what it gathers, sets, keeps and tells."""

import inspect
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import Setup, make_learner, make_stream, same, tensors
from torch import Tensor, nn

from holdfast.config import run_config
from holdfast.methods import DERpp, Finetune, Joint, Replay, SingleTask
from holdfast.nets.heads import GrowingHead
from holdfast.nets.learner import Learner
from holdfast.records.record import Record
from holdfast.richness import parametrize
from holdfast.starts import STARTS, FeatureStatistics, LeastSquaresHead, fingerprint, new_rows
from holdfast.starts.gathering import distinct
from holdfast.starts.heads import linear_head
from holdfast.streams import Batch, Context, Stream
from holdfast.training.options import Training
from holdfast.training.run import run

FROZEN = {"freeze_backbone": "always"}


class Spy(LeastSquaresHead):
    """Keeps the learner as it was before each task's rows were set, and after."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"ridge": "gcv", **options})
        self._before: list[dict[str, Tensor]] = []
        self._after: list[dict[str, Tensor]] = []
        self._held: list[tuple[int, ...]] = []

    def prepare(self, learner: Learner, context: Context) -> dict[str, Any] | None:
        modes = [m.training for m in learner.modules()]
        self._before.append(tensors(learner))
        found = super().prepare(learner, context)
        self._after.append(tensors(learner))
        assert [m.training for m in learner.modules()] == modes
        return found

    def end_task(self, learner: Learner, context: Context) -> None:
        super().end_task(learner, context)
        kept = self._statistics
        self._held.append(() if kept is None else tuple(kept.classes))
        assert kept is None or kept.backbone == fingerprint(learner.backbone)


def spied(setup: Setup, **options: Any) -> tuple[Spy, Record]:
    spy = Spy(**options)
    setup.start = lambda: spy
    record, _ = setup.run()
    assert record.status == "complete"
    return spy, record


def by_hand(
    stream: Stream, state: dict[str, Tensor], tasks: dict[int, list[int]], **options: Any
) -> Tensor:
    """Rows of the last task's classes: features of the plain net, by the rows of each task."""
    net = nn.Sequential(nn.Linear(5, 8), nn.ReLU())
    net.load_state_dict({k[9:]: v for k, v in state.items() if k.startswith("backbone")})
    x = [stream[i].train.x[rows] for i, rows in tasks.items()]  # type: ignore[union-attr]
    y = [stream[i].train.y[rows] for i, rows in tasks.items()]  # type: ignore[union-attr]
    features = net(torch.cat(x)).detach()
    statistics = FeatureStatistics(8, per_class=True).update(features, torch.cat(y))
    new = list(stream[max(tasks)].classes)
    old = list(range(new[0]))
    known = torch.cat([state["heads.weight"], state["heads.bias"].unsqueeze(1)], 1)[: new[0]]
    return new_rows(statistics, known, old, new, ridge="gcv", **options).new


def written(state: dict[str, Tensor], new: tuple[int, ...]) -> Tensor:
    return torch.cat([state["heads.weight"], state["heads.bias"].unsqueeze(1)], 1)[list(new)]


def everything(stream: Stream, until: int) -> dict[int, list[int]]:
    return {i: list(range(len(stream[i].train))) for i in range(until + 1)}


@pytest.mark.parametrize("weighting", ["balanced", "frequency"])
@pytest.mark.parametrize("training", [{}, FROZEN])
def test_rows_are_those_of_all_samples(weighting: str, training: dict[str, Any]) -> None:
    """Full rehearsal, the backbone trained or not."""
    setup = Setup(Joint, training=training)
    spy, record = spied(setup, weighting=weighting, ridge="gcv")
    stream = make_stream()
    assert [entry["task"] for entry in record.starts] == [1, 2]
    for i in (1, 2):
        wanted = by_hand(stream, spy._before[i], everything(stream, i), weighting=weighting)
        found = written(spy._after[i], stream[i].classes)
        assert torch.allclose(found.double(), wanted, rtol=1e-4, atol=1e-5)
        first = stream[i].classes[0]
        for name in ("heads.weight", "heads.bias"):
            assert torch.equal(spy._after[i][name][:first], spy._before[i][name][:first])
        assert all(
            torch.equal(v, spy._after[i][k])
            for k, v in spy._before[i].items()
            if k.startswith("backbone")
        )


def test_what_another_run_left_does_not_count() -> None:
    """Its columns stand for other classes, though the backbone is the same."""
    fresh, _ = spied(Setup(Finetune, training=FROZEN))
    used = Spy()
    other = make_stream().reordered([2, 0, 1])
    run(other, make_learner(other), Finetune(), Training(epochs=1, **FROZEN), start=used)
    again = Setup(Finetune, training=FROZEN)
    again.start = lambda: used
    again.run()
    assert same(used._after[-1], fresh._after[-1])


def test_a_frozen_backbone_needs_no_old_samples() -> None:
    """Without rehearsal the statistics kept are those of all samples."""
    spy, record = spied(Setup(Finetune, training=FROZEN))
    stream = make_stream()
    for i in (1, 2):
        wanted = by_hand(stream, spy._before[i], everything(stream, i), weighting="balanced")
        found = written(spy._after[i], stream[i].classes)
        assert torch.allclose(found.double(), wanted, rtol=1e-4, atol=1e-5)
        assert record.starts[i - 1]["start"] == "calibrated"
        assert record.starts[i - 1]["notes"] == []
    assert spy._held == [(0, 1), (0, 1, 2, 3, 4), (0, 1, 2, 3, 4, 5, 6)]
    # In memory that does not grow with the classes.
    assert spy._statistics is not None
    assert spy._statistics.settled == spy._statistics.classes


def test_a_trained_backbone_without_samples_knows_the_last_task_alone() -> None:
    spy, record = spied(Setup(Finetune))
    stream = make_stream()
    assert spy._held == [(0, 1), (2, 3, 4), (5, 6)]
    wanted = by_hand(stream, spy._before[1], everything(stream, 1), weighting="balanced")
    assert torch.allclose(written(spy._after[1], (2, 3, 4)).double(), wanted, rtol=1e-4, atol=1e-5)
    assert record.starts[0]["notes"] == []
    assert any(
        "of 2 of 5 old classes no sample is rehearsed or remembered" in note
        for note in record.starts[1]["notes"]
    )
    assert any("[0, 1]" in note for note in record.starts[1]["notes"])


def test_one_that_is_frozen_later_keeps_what_came_since() -> None:
    spy, record = spied(Setup(Finetune, training={"freeze_backbone": "after_first"}))
    assert spy._held == [(0, 1), (0, 1, 2, 3, 4), (0, 1, 2, 3, 4, 5, 6)]
    assert [entry["notes"] for entry in record.starts] == [[], []]


@pytest.mark.parametrize("weighting", ["balanced", "frequency"])
def test_what_is_remembered_stands_for_its_classes(weighting: str) -> None:
    method = Replay(memory=6, selection="class_balanced")
    kept: list[Any] = []

    class Look(Spy):
        def prepare(self, learner: Learner, context: Context) -> dict[str, Any] | None:
            memory = context.remembered()
            kept.append(None if memory is None else (memory.x.clone(), memory.y.clone()))
            return super().prepare(learner, context)

    spy, stream = Look(weighting=weighting), make_stream()
    record, _ = Setup(lambda: method, start=lambda: spy).run()
    x, y = kept[2]
    old = y < 2  # of the first task; the second was gathered whole when it ended
    rows = [int((stream[0].train.x == row).all(1).nonzero()[0]) for row in x[old]]  # type: ignore[union-attr]
    tasks = {0: rows, 1: list(range(9)), 2: list(range(10))}
    wanted = by_hand(stream, spy._before[2], tasks, weighting=weighting)
    assert torch.allclose(written(spy._after[2], (5, 6)).double(), wanted, rtol=1e-4, atol=1e-5)
    note = record.starts[1]["notes"][-1]
    assert note.startswith("2 of 5 old classes are known by the samples that were remembered")
    assert ("counts alike" in note) == (weighting == "balanced")


def test_samples_remembered_twice_are_no_error() -> None:
    """DER++ may keep a sample of several epochs: more of a class than there were."""
    setup = Setup(lambda: DERpp(memory=200), training={"epochs": 6, **FROZEN})
    for ridge in ("loo", "held_out", "auto"):
        _, record = spied(setup, ridge=ridge)
        assert [entry["start"] for entry in record.starts] == ["calibrated", "calibrated"]
        assert all(entry["notes"] == [] for entry in record.starts)


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("loss", ["cross_entropy", "mse"])
def test_every_start_runs(start: str, loss: str) -> None:
    """With the first task too, where there are no old rows, and on a shared head."""
    for heads in ("growing", "shared") if loss == "mse" else ("growing",):
        setup = Setup(Joint, heads=heads, training={"loss": loss, "epochs": 1, "lr": 1e-3})  # type: ignore[arg-type]
        spy, record = spied(setup, start=start, first=True)
        assert [entry["asked"] for entry in record.starts] == [start] * 3
        assert {entry["loss"] for entry in record.starts} == {loss}
        replaced = start == "least_squares_all_rows" or (start, loss) == ("calibrated", "mse")
        old = spy._after[2]["heads.weight" if heads == "growing" else "heads.linear.weight"][:5]
        was = spy._before[2]["heads.weight" if heads == "growing" else "heads.linear.weight"][:5]
        assert torch.equal(old, was) != replaced


def test_random_rows_are_those_the_head_draws() -> None:
    plain, _ = Setup(Joint).run()
    spy, record = spied(Setup(Joint), start="random")
    assert plain.accuracy.tobytes() == record.accuracy.tobytes()
    assert plain.loss.tobytes() == record.loss.tobytes()
    assert spy._statistics is None
    assert record.starts[0]["before"] == record.starts[0]["after"]


def test_heads_of_tasks_are_set_whole() -> None:
    training = {"evaluate_start": True, "epochs": 8, "lr": 0.2}
    setup = Setup(Finetune, "task_incremental", training=training, stream={"rows": 30})
    spy, record = spied(setup, first=True)
    assert [entry["start"] for entry in record.starts] == ["least_squares"] * 3
    assert all(entry["scale"] > 1 for entry in record.starts)  # a temperature
    assert all(entry["before"]["old"] is None for entry in record.starts)
    assert all(e["after"]["new"]["loss"] < e["before"]["new"]["loss"] for e in record.starts)
    assert torch.equal(
        spy._before[2]["heads.heads.0.linear.weight"], spy._after[2]["heads.heads.0.linear.weight"]
    )
    assert spy._held == [(), (), ()]


def test_the_report_is_what_the_head_gives(tmp_path: Path) -> None:
    spy, record = spied(Setup(Joint, training=FROZEN))
    stream = make_stream()
    entry = record.starts[0]
    assert {"task", "step", "asked", "start", "loss", "scale", "ridge", "condition"} < set(entry)
    assert entry["step"] == record.curve[1]["step"]
    learner = make_learner(stream)
    for i in range(2):
        learner.accommodate(i, stream[i], torch.Generator())
    for when, states in (("before", spy._before), ("after", spy._after)):
        learner.load_state_dict(states[1])
        for part, tasks in (("old", [0]), ("new", [1]), ("all", [0, 1])):
            x = torch.cat([stream[i].train.x for i in tasks])  # type: ignore[union-attr]
            y = torch.cat([stream[i].train.y for i in tasks])  # type: ignore[union-attr]
            logits = learner(x)
            found = entry[when][part]
            wanted = nn.functional.cross_entropy(logits, y).item()
            assert found["loss"] == pytest.approx(wanted, rel=1e-5)
            assert found["accuracy"] == pytest.approx((logits.argmax(1) == y).double().mean())
            assert found["samples"] == len(y)
    assert entry["after"]["all"]["loss"] < entry["before"]["all"]["loss"]
    json.dumps(record.starts, allow_nan=False)
    record.save(tmp_path)
    assert Record.load(tmp_path).starts == record.starts
    assert Record.load(tmp_path).digest() == record.digest()


def test_few_features_are_kept() -> None:
    _, record = spied(Setup(Joint, stream={"rows": 40}), samples=12)
    sizes = record.starts[1]["after"]
    assert 0 < sizes["all"]["samples"] <= 13
    assert sizes["all"]["samples"] == sizes["old"]["samples"] + sizes["new"]["samples"]


def test_domains_bring_no_new_classes() -> None:
    plain, _ = Setup(scenario="domain_incremental").run()
    _, record = spied(Setup(scenario="domain_incremental"))
    assert plain.loss.tobytes() == record.loss.tobytes()
    assert [e["notes"] for e in record.starts] == [["the task brings no new class"]] * 2
    assert {e["start"] for e in record.starts} == {"none"}


def test_classes_that_come_again_keep_their_rows() -> None:
    """One growing head in a task-incremental stream whose tasks share classes."""
    first = make_stream("task_incremental")
    stream = Stream([first[0], first[1], *_again(first)], "task_incremental")
    spy = Spy()
    learner = make_learner(stream, "growing")
    run(stream, learner, Finetune(), Training(epochs=1, batch_size=5, lr=0.01), start=spy)
    before, after = spy._before[2]["heads.weight"], spy._after[2]["heads.weight"]
    assert torch.equal(before[:5], after[:5])
    assert not torch.equal(before[5:], after[5:])


def _again(stream: Stream) -> list[Any]:
    from holdfast.data.split import Split
    from holdfast.streams import Task

    splits = [
        Split(
            torch.cat([getattr(stream[i], name).x for i in (1, 2)]),
            torch.cat([getattr(stream[i], name).y for i in (1, 2)]),
        )
        for name in ("train", "test")
    ]
    return [Task("both", *splits)]


def test_multipliers_of_parametrized_heads_count() -> None:
    stream = make_stream()
    learner = parametrize(make_learner(stream), "ntp", seed=0)
    spy = Spy(ridge="gcv")
    run(stream, learner, Joint(), Training(epochs=1, batch_size=5, lr=0.01), start=spy)
    assert learner.heads.readout.multiplier != 1
    again = parametrize(make_learner(stream), "ntp", seed=0)
    for i in range(2):
        again.accommodate(i, stream[i], torch.Generator())
    again.load_state_dict(spy._after[1])
    found = linear_head(again.heads).rows()[2:]
    again.load_state_dict(spy._before[1])
    x = torch.cat([stream[i].train.x for i in range(2)])  # type: ignore[union-attr]
    y = torch.cat([stream[i].train.y for i in range(2)])  # type: ignore[union-attr]
    statistics = FeatureStatistics(8, per_class=True).update(again.features(x).detach(), y)
    known = linear_head(again.heads).rows()[:2]
    rows = new_rows(statistics, known, [0, 1], [2, 3, 4], ridge="gcv")
    assert torch.allclose(found, rows.new, rtol=1e-4, atol=1e-5)


def test_networks_of_single_tasks_are_left_alone() -> None:
    _, record = spied(Setup(SingleTask, "task_incremental"))
    wanted = [["the backbone computes another function for each task"]] * 2
    assert [entry["notes"] for entry in record.starts] == wanted


def test_batch_norm_without_running_statistics() -> None:
    stream = make_stream()
    net = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8, track_running_stats=False))
    training = Training(epochs=1, batch_size=6, lr=0.01)
    record = run(stream, net, Joint(), training, start=LeastSquaresHead(samples=3))
    assert record.status == "complete"


def test_named_in_a_configuration() -> None:
    config = {
        "stream": {"name": "split", "tasks": 2, "dataset": {"name": "digits", "per_class": 20}},
        "net": {"name": "mlp", "hidden": [16]},
        "method": "joint",
        "training": {"epochs": 1, "evaluate_start": True},
    }
    one = run_config({**config, "start": "calibrated"})
    two = run_config({**config, "start": {"name": "least_squares_head", "start": "calibrated"}})
    assert one.digest() == two.digest()
    assert one.config["start"]["ridge"] == "auto"
    zeros = run_config({**config, "start": {"name": "least_squares_head", "start": "zeros"}})
    assert zeros.starts[0]["start"] == "zeros"
    assert one.trace(1, "loss")[1][0].mean() < zeros.trace(1, "loss")[1][0].mean()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"start": "best"}, "start must be one of random, zeros"),
        ({"loss": "hinge"}, "loss must be one of auto"),
        ({"ridge": "aic"}, "ridge must be a number or one of"),
        ({"ridge": -0.1}, "ridge"),
        ({"ridge": float("nan")}, "ridge"),
        ({"weighting": "auto"}, "weighting must be one of"),
        ({"samples": 0}, "samples must be positive"),
    ],
)
def test_refused_when_made(options: dict[str, Any], message: str) -> None:
    make = inspect.unwrap(LeastSquaresHead.__init__)
    with pytest.raises(ValueError, match=message):
        make(object.__new__(LeastSquaresHead), **options)


def test_refused_before_the_run() -> None:
    setup = Setup(
        scenario="domain_incremental", stream={"regression": True}, start=LeastSquaresHead
    )
    with pytest.raises(ValueError, match="needs class labels"):
        setup.run()
    stream = make_stream()
    bare = Learner(make_learner(stream).backbone, GrowingHead(8, bias=False))
    with pytest.raises(ValueError, match="'lda' needs a head with biases"):
        run(stream, bare, start=LeastSquaresHead("lda"))


def test_state_survives() -> None:
    spy, _ = spied(Setup(Finetune, training=FROZEN))
    again = LeastSquaresHead()
    again.load_state_dict(spy.state_dict())
    assert again._statistics is not None
    assert spy._statistics is not None
    first, second = spy._statistics.state_dict(), again._statistics.state_dict()
    held = {k for k, v in first.items() if isinstance(v, Tensor)}
    assert same({k: first[k] for k in held}, {k: second[k] for k in held})
    assert LeastSquaresHead().state_dict() == {"statistics": None, "in_part": []}


def test_distinct_samples_come_once() -> None:
    x = torch.tensor([[1.0, 2.0], [3.0, 4.0], [1.0, 2.0], [0.0, 0.0]])
    found = distinct(Batch(x, torch.tensor([0, 1, 0, 2]), torch.tensor([0, 0, 0, 1])))
    assert found.x.tolist() == [[1.0, 2.0], [3.0, 4.0], [0.0, 0.0]]
    assert found.y.tolist() == [0, 1, 2]
    assert isinstance(found.task, Tensor)
    assert found.task.tolist() == [0, 0, 1]
    assert distinct(found) is found
