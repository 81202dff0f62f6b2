"""Scores against a loop over tasks and samples written out."""

import math
from collections.abc import Sequence

import pytest
import torch
from small_runs import make_learner, make_stream
from torch import Tensor, nn

from holdfast.data.normalize import Normalize
from holdfast.data.split import Dataset, Split
from holdfast.methods.single_task import SingleTask
from holdfast.nets.heads import GrowingHead, Head, SharedHead, TaskHeads
from holdfast.nets.learner import Learner, build_learner
from holdfast.seeds import derive, generator, seeded
from holdfast.streams import growing
from holdfast.streams.context import Context
from holdfast.streams.sources import source
from holdfast.streams.stream import Stream, Task
from holdfast.training import evaluation
from holdfast.training.evaluation import Evaluator, Scores
from holdfast.training.losses import cross_entropy, mse
from holdfast.training.options import Training

CPU = torch.device("cpu")


def naive(
    stream: Stream, learner: Learner, tasks: Sequence[int], squared: bool = False,
    which: str = "test", size: int = 4,
) -> Scores:  # fmt: skip
    """One task after the other, loss and hit of one sample after the other."""
    accuracy, loss = [math.nan] * len(stream), [math.nan] * len(stream)
    for i in tasks:
        split = getattr(stream[i], which)
        x, losses, hits = stream[i].inputs(split.x), [], []
        rows = torch.cat([learner(part, i) for part in x.split(size)]).double().tolist()
        for row, y in zip(rows, split.y, strict=True):
            if split.is_regression:
                losses.append(sum((a - b) ** 2 for a, b in zip(row, y.tolist(), strict=True)) / 2)
                continue
            column = int(learner.columns(y[None], i))
            wanted = [float(j == column) for j in range(len(row))]
            if squared:
                losses.append(sum((a - b) ** 2 for a, b in zip(row, wanted, strict=True)) / 2)
            else:
                losses.append(math.log(sum(math.exp(v) for v in row)) - row[column])
            hits.append(row.index(max(row)) == column)
        loss[i] = sum(losses) / len(losses)
        accuracy[i] = sum(hits) / len(hits) if hits else math.nan
    return Scores(accuracy, loss)


def check(found: Scores, wanted: Scores) -> None:
    assert found.accuracy == pytest.approx(wanted.accuracy, nan_ok=True)
    assert found.loss == pytest.approx(wanted.loss, rel=1e-5, nan_ok=True)


def met(stream: Stream, learner: Learner, count: int) -> Learner:
    for i in range(count):
        learner.accommodate(i, stream[i], generator(0, "head", i))
    return learner.eval()


@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize("squared", [True, False])
@pytest.mark.parametrize(
    ("scenario", "heads", "head", "known"),
    [
        ("class_incremental", "growing", GrowingHead, [0, 1]),
        ("class_incremental", "shared", SharedHead, [0, 1, 2]),
        ("task_incremental", "per_task", TaskHeads, [0, 1]),
        ("domain_incremental", "shared", SharedHead, [0, 1, 2]),
    ],
)
def test_matches_a_loop_over_tasks(
    scenario: str, heads: str, head: type, known: list[int], squared: bool, cached: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    if not cached:
        monkeypatch.setattr(evaluation, "CACHED_ELEMENTS", 10)
    stream = make_stream(scenario, validation=True)
    learner = met(stream, make_learner(stream, heads, net="noisy"), 2)
    assert isinstance(learner.heads, head)
    loss = mse if squared else cross_entropy
    for which in ("test", "validation"):
        training = Training(evaluation_batch=4, evaluate_on=which)
        evaluator = Evaluator(stream, training, CPU)
        assert evaluator.fits == cached
        wanted = naive(stream, learner, known, squared, which)
        for _ in range(2):
            check(evaluator(learner, loss), wanted)
        wanted = naive(stream, learner, [0], squared, which)
        check(evaluator(learner, loss, range(1)), wanted)
        last = known[-1]
        wanted = naive(stream, learner, [last], squared, which)
        check(evaluator(learner, loss, (last,)), wanted)


def test_follows_a_growing_head() -> None:
    stream = make_stream()
    learner = make_learner(stream)
    evaluator = Evaluator(stream, Training(), CPU)
    assert all(math.isnan(v) for v in evaluator(learner, cross_entropy).accuracy)
    for i in range(3):
        learner = met(stream, learner, i + 1)
        check(evaluator(learner, cross_entropy), naive(stream, learner, range(i + 1)))


@pytest.mark.parametrize("scenario", ["domain_incremental", "task_incremental"])
def test_regression_has_a_loss_alone(scenario: str) -> None:
    stream = make_stream(scenario, regression=True)
    learner = met(stream, make_learner(stream), 1)
    scores = Evaluator(stream, Training(evaluation_batch=4), CPU)(learner, mse)
    assert all(math.isnan(v) for v in scores.accuracy)
    check(scores, naive(stream, learner, [0, 1, 2]))


@pytest.mark.parametrize("scenario", ["domain_incremental", "task_incremental"])
def test_networks_of_their_own(scenario: str) -> None:
    stream = make_stream(scenario)
    learner, method = make_learner(stream), SingleTask()
    draws = generator(0, "method")
    for i in range(2):
        learner.accommodate(i, stream[i], draws)
        phase = source([(i, stream[i])], learner.columns)
        method.begin_task(learner, Context(i, stream, phase, mse, 4, draws, CPU, 0))
    learner.eval()
    assert learner.per_task
    scores = Evaluator(stream, Training(), CPU)(learner, cross_entropy)
    check(scores, naive(stream, learner, [0, 1]))
    assert scores.loss[0] != scores.loss[1]


@pytest.mark.parametrize("heads", ["shared", "per_task"])
def test_batch_statistics_of_one_task_alone(heads: str) -> None:
    """A net that normalises by the batch must not see two tasks in one."""
    stream = make_stream("task_incremental")
    with seeded(0, "test"):
        norm = nn.BatchNorm1d(8, track_running_stats=False)
        learner = build_learner(nn.Sequential(nn.Linear(5, 8), norm, nn.ReLU()), stream, heads)
    learner = met(stream, learner, 3)
    scores = Evaluator(stream, Training(), CPU)(learner, cross_entropy)
    check(scores, naive(stream, learner, [0, 1, 2], size=99))


@pytest.mark.parametrize("size", [3, 5])
def test_batch_statistics_need_two_samples(size: int) -> None:
    """However the batches come out, none is left with one sample, which has no variance."""
    stream = make_stream("domain_incremental", rows=9)
    stream = Stream(
        [Task(t.name, t.train, Split(t.test.x[[0] * n], t.test.y[[0] * n]))
         for t, n in zip(stream, (size + 1, 2 * size + 1, 1), strict=True)][:2],
        "domain_incremental",
    )  # fmt: skip
    norm = nn.BatchNorm1d(8, track_running_stats=False)
    learner = build_learner(nn.Sequential(nn.Linear(5, 8), norm), stream, "shared")
    scores = Evaluator(stream, Training(evaluation_batch=size), CPU)(learner, cross_entropy)
    assert all(math.isfinite(v) for v in scores.loss)


def test_a_growing_stream_passes_its_test_set_once() -> None:
    x, y = torch.randn(30, 5, generator=torch.Generator().manual_seed(0)), torch.arange(30) % 3
    dataset = Dataset(Split(x, y), Split(x[:9], y[:9]), normalize=Normalize((0.5,), (2.0,)))
    stream = growing(dataset, stages=3, validation=0.2)
    learner = build_learner(nn.Linear(5, 8), stream).eval()
    seen: list[int] = []
    learner.backbone.register_forward_hook(lambda m, i, o: seen.append(len(o)))
    for which, rows in (("test", 9), ("validation", len(stream[0].validation))):
        evaluator = Evaluator(stream, Training(evaluate_on=which), CPU)
        seen.clear()
        scores = evaluator(learner, cross_entropy)
        assert sum(seen) == rows
        check(scores, naive(stream, learner, [0, 1, 2], which=which))
        assert len(set(scores.loss)) == 1
        check(evaluator(learner, cross_entropy, (2,)), naive(stream, learner, [2], which=which))


@pytest.mark.parametrize("known", [1, 2, 3])
def test_a_shared_test_split_with_a_head_a_task(known: int) -> None:
    """Tasks that share test samples still differ where their heads do."""
    base = make_stream("domain_incremental")
    stream = Stream(
        [Task(f"t{i}", t.train, base[0].test, classes=(0, 1)) for i, t in enumerate(base)],
        "task_incremental",
    )
    learner = met(stream, make_learner(stream), known)
    scores = Evaluator(stream, Training(evaluation_batch=4), CPU)(learner, cross_entropy)
    check(scores, naive(stream, learner, range(known)))
    assert len(set(scores.loss[:known])) == known


class Shifted(Head):
    """A person's own head: one layer, plus the task's position on the first logit."""

    def __init__(self, width: int, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, outputs)

    def accommodate(self, index: int, classes: object, generator: object = None) -> None: ...

    def knows(self, index: int, classes: object) -> bool:
        return True

    def columns(self, y: Tensor, index: int) -> Tensor:
        return y

    def forward(self, features: Tensor, task: int | Tensor | None = None) -> Tensor:
        assert task is not None
        shift = torch.as_tensor(task, dtype=features.dtype).expand(len(features))
        first = nn.functional.one_hot(torch.tensor(0), self.linear.out_features)
        return self.linear(features) + shift[:, None] * first


def test_a_person_s_own_head_is_told_the_task() -> None:
    base = make_stream("domain_incremental")
    stream = Stream(
        [Task(f"t{i}", t.train, base[0].test, classes=(0, 1)) for i, t in enumerate(base)],
        "domain_incremental",
    )
    learner = Learner(nn.Linear(5, 8), Shifted(8, 2)).eval()
    scores = Evaluator(stream, Training(), CPU)(learner, cross_entropy)
    check(scores, naive(stream, learner, [0, 1, 2]))


@pytest.mark.parametrize("mode", [True, False])
def test_puts_the_mode_of_every_module_back(mode: bool) -> None:
    stream = make_stream("domain_incremental")
    learner = make_learner(stream, net="noisy").train(mode)
    learner.backbone[1].train(not mode)
    modes = [m.training for m in learner.modules()]
    seen: list[bool] = []
    learner.backbone[1].register_forward_hook(lambda m, i, o: seen.append(m.training))
    evaluator = Evaluator(stream, Training(), CPU)
    state = {k: v.clone() for k, v in learner.state_dict().items()}
    evaluator(learner, cross_entropy)
    assert [m.training for m in learner.modules()] == modes
    assert seen == [False]
    assert all(torch.equal(state[k], v) for k, v in learner.state_dict().items())

    def broken(*args: object) -> Tensor:
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        evaluator(learner, broken)  # type: ignore[arg-type]
    assert [m.training for m in learner.modules()] == modes


def test_draws_nothing() -> None:
    stream = make_stream("domain_incremental")
    learner = make_learner(stream, net="noisy").train()
    torch.manual_seed(derive(0, "x"))
    before = torch.get_rng_state()
    Evaluator(stream, Training(), CPU)(learner, cross_entropy)
    assert torch.equal(torch.get_rng_state(), before)


def test_validation_must_be_there() -> None:
    stream = make_stream()
    with pytest.raises(ValueError, match=r"training\.evaluate_on .* 't0' has none; .*validation="):
        Evaluator(stream, Training(evaluate_on="validation"), CPU)
