import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.covariance import oas
from torch import Tensor, nn

import holdfast
from holdfast.data.split import Split
from holdfast.methods import EWC, SingleTask
from holdfast.methods.halrp import (
    HALRP,
    Calibration,
    ClassMeans,
    class_incremental_accuracy,
    identify,
)
from holdfast.methods.halrp.identify import check_rule
from holdfast.nets.heads import GrowingHead, TaskHeads
from holdfast.nets.learner import Learner, build_learner
from holdfast.streams.stream import Stream, Task

SIZES = (2, 3, 4)


def make_stream(rows: int = 30, held: bool = False) -> Stream:
    draws = torch.Generator().manual_seed(3)
    tasks, first = [], 0
    for i, count in enumerate(SIZES):
        y = first + torch.arange(rows) % count
        x = torch.randn(rows, 5, generator=draws) + y[:, None] % 4
        validation = Split(x[:12] + 0.1, y[:12]) if held else None
        classes = tuple(range(first, first + count))
        tasks.append(Task(f"t{i}", Split(x, y), Split(x[:20], y[:20]), validation, classes))
        first += count
    return Stream(tasks, "task_incremental")


def learned(method: holdfast.methods.Method, stream: Stream) -> Learner:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 6))
    learner = build_learner(net, stream, heads="per_task")
    training = holdfast.Training(epochs=3, batch_size=10, lr=0.05, device="cpu")
    holdfast.run(stream, learner, method, training)
    return learner


@pytest.fixture(scope="module")
def stream() -> Stream:
    return make_stream()


@pytest.fixture(scope="module")
def learner(stream: Stream) -> Learner:
    return learned(HALRP(), stream)


def slow_scores(learner: Learner, x: Tensor, rule: str, t: float = 1.0) -> np.ndarray:
    """Entropy and energy, sample by sample and class by class."""
    table = np.zeros((len(x), len(SIZES)))
    learner.eval()
    for i in range(len(x)):
        for task in range(len(SIZES)):
            z = [float(v) for v in learner(x[i : i + 1], task)[0]]
            if rule == "energy":
                table[i, task] = -t * math.log(sum(math.exp(v / t) for v in z) / len(z))
            else:
                total = sum(math.exp(v) for v in z)
                p = [math.exp(v) / total for v in z]
                table[i, task] = -sum(q * math.log(q) for q in p) / math.log(len(z))
    return table


@pytest.mark.parametrize(("rule", "t"), [("entropy", 1.0), ("energy", 1.0), ("energy", 2.5)])
def test_scores_labels_and_tasks_are_those_of_single_samples(learner, stream, rule, t):
    x = torch.cat([task.test.x[:6] for task in stream])
    with torch.no_grad():
        expected = slow_scores(learner, x, rule, t)
        found = identify(learner, x, rule, temperature=t)
    np.testing.assert_allclose(found.scores.numpy(), expected, rtol=1e-4, atol=1e-5)
    assert found.task.tolist() == expected.argmin(1).tolist()
    for i, task in enumerate(found.task.tolist()):
        assert found.label[i] == learner.predict(x[i : i + 1], task)[0]


def test_distance_is_that_of_the_shrunk_covariance_within_classes(learner, stream):
    means = ClassMeans.of(learner, stream)
    x = stream[1].test.x[:7]
    found = identify(learner, x, "class_mean", means=means)
    learner.eval()
    for t, task in enumerate(stream):
        with torch.no_grad():
            own = learner.features(task.train.x, t).double().numpy()
            asked = learner.features(x, t).double().numpy()
        y = task.train.y.numpy()
        centres = np.stack([own[y == c].mean(0) for c in task.classes])
        residual = own - centres[y - y.min()]
        scatter, shrinkage = oas(residual, assume_centered=True)
        away = asked[:, None] - centres[None]
        squares = np.einsum("ncd,de,nce->nc", away, np.linalg.inv(scatter), away)
        np.testing.assert_allclose(found.scores[:, t], squares.min(1) / own.shape[1], rtol=1e-6)
        assert means[t].shrinkage == pytest.approx(shrinkage, rel=1e-8)


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 9), st.integers(2, 9), st.floats(-5, 5), st.floats(0.3, 4))
def test_equal_logits_score_the_same_whatever_the_number_of_classes(few, many, z, t):
    heads = TaskHeads(3)
    for i, count in enumerate((few, many)):
        heads.accommodate(i, range(10 * i, 10 * i + count), torch.Generator())
        head = heads.heads[str(i)].linear
        nn.init.zeros_(head.weight)
        nn.init.constant_(head.bias, z)
    learner = Learner(nn.Identity(), heads)
    x = torch.ones(4, 3)
    energy = identify(learner, x, "energy", temperature=t).scores
    torch.testing.assert_close(energy, torch.full((4, 2), -z), rtol=1e-5, atol=1e-5)
    entropy = identify(learner, x, "entropy").scores
    torch.testing.assert_close(entropy, torch.ones(4, 2))


@pytest.mark.parametrize("held", [False, True])
@pytest.mark.parametrize("rule", ["entropy", "energy", "class_mean"])
def test_a_calibration_standardises_scores_of_a_tasks_own_samples(learner, rule, held):
    stream = make_stream(held=held)
    means = ClassMeans.of(learner, stream) if rule == "class_mean" else None
    calibration = Calibration.of(learner, stream, rule, means)
    for t, task in enumerate(stream):
        x = (task.validation if held else task.train).x
        raw = identify(learner, x, rule, means=means).scores[:, t]
        own = identify(learner, x, rule, means=means, calibration=calibration).scores[:, t]
        torch.testing.assert_close(own, (raw - raw.mean()) / raw.std(), rtol=1e-3, atol=1e-4)


def test_nothing_depends_on_the_batch_and_nothing_is_changed(learner, stream):
    learner.train()
    before = {k: v.clone() for k, v in learner.state_dict().items()}
    x = torch.cat([task.test.x for task in stream])
    means = ClassMeans.of(learner, stream)
    whole = identify(learner, x, "class_mean", means=means)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    mixed = identify(learner, x[order], "class_mean", means=means)
    assert torch.equal(mixed.task, whole.task[order])
    assert learner.training
    assert all(torch.equal(v, before[k]) for k, v in learner.state_dict().items())


def test_means_of_tasks_added_one_by_one_are_those_of_the_stream(learner, stream):
    whole, grown = ClassMeans.of(learner, stream), ClassMeans()
    for i in (2, 0, 1):
        grown.add(learner, i, stream[i], batch_size=7)
    for t in range(3):
        torch.testing.assert_close(grown[t].means, whole[t].means)


@pytest.mark.parametrize("method", [SingleTask, lambda: EWC(strength=1.0)])
def test_any_learner_with_a_head_a_task(method, stream):
    learner = learned(method(), stream)
    x = torch.cat([task.test.x[:5] for task in stream])
    with torch.no_grad():
        expected = slow_scores(learner, x, "entropy")
    np.testing.assert_allclose(identify(learner, x).scores.numpy(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("rule", ["entropy", "class_mean"])
def test_class_incremental_accuracy_counts_what_identify_finds(learner, stream, rule):
    means = ClassMeans.of(learner, stream) if rule == "class_mean" else None
    found = class_incremental_accuracy(learner, stream, rule, batch_size=6)
    for t, task in enumerate(stream):
        told = identify(learner, task.test.x, rule, means=means)
        assert found.tasks[t] == (told.label == task.test.y).double().mean()
        assert found.confusion[t].tolist() == told.task.bincount(minlength=3).tolist()
        learner.eval()
        known = learner.predict(task.test.x, t) == task.test.y
        assert found.oracles[t] == known.double().mean()
    assert found.accuracy == pytest.approx(found.tasks.mean().item())
    assert found.oracle >= found.accuracy
    assert 0 <= found.identified <= 1


def test_separate_classes_are_told_apart():
    draws = torch.Generator().manual_seed(0)
    tasks = []
    for i in range(3):
        y = 2 * i + torch.arange(200) % 2
        centres = 6 * torch.eye(6)[y]
        x = centres + torch.randn(200, 6, generator=draws)
        tasks.append(Task(f"t{i}", Split(x[:150], y[:150]), Split(x[150:], y[150:])))
    stream = Stream(tasks, "task_incremental")
    heads = TaskHeads(6)
    for i, task in enumerate(stream):
        heads.accommodate(i, task.classes, draws)
        head = heads.heads[str(i)].linear
        with torch.no_grad():
            head.weight.copy_(6 * torch.eye(6)[list(task.classes)])
            head.bias.fill_(-18.0)
    learner = Learner(nn.Identity(), heads)
    for rule in ("energy", "class_mean"):
        assert class_incremental_accuracy(learner, stream, rule).accuracy > 0.97


def test_bad_input(learner, stream):
    x = stream[0].test.x
    means = ClassMeans.of(learner, stream)
    with pytest.raises(ValueError, match="rule must be one of"):
        check_rule("margin", None, 1.0)
    with pytest.raises(ValueError, match="means are for rule 'class_mean', which needs them"):
        identify(learner, x, "class_mean")
    with pytest.raises(ValueError, match="means are for rule 'class_mean'"):
        identify(learner, x, "energy", means=means)
    with pytest.raises(ValueError, match="temperature must be positive"):
        identify(learner, x, "energy", temperature=0.0)
    with pytest.raises(ValueError, match=r"those with a head, \[0, 1, 2\]; got \[0, 7\]"):
        identify(learner, x, tasks=[0, 7])
    with pytest.raises(ValueError, match="repeats a position"):
        identify(learner, x, tasks=[0, 0])
    with pytest.raises(ValueError, match="tasks must be among"):
        identify(learner, x, tasks=[])
    calibration = Calibration("energy")
    with pytest.raises(ValueError, match="was made for rule 'energy'"):
        identify(learner, x, calibration=calibration)
    with pytest.raises(ValueError, match=r"tasks \[0, 1, 2\] were not added"):
        identify(learner, x, "energy", calibration=calibration)
    with pytest.raises(ValueError, match=r"tasks \[0, 1, 2\] were not added"):
        identify(learner, x, "class_mean", means=ClassMeans())
    with pytest.raises(ValueError, match="no classes of task 4"):
        means[4]
    with pytest.raises(ValueError, match="got GrowingHead"):
        identify(Learner(nn.Identity(), GrowingHead(5)), x)
    flat = Task("flat", Split(torch.ones(4, 5), torch.tensor([0, 1, 0, 1])), stream[0].test)
    with pytest.raises(ValueError, match="do not vary within classes"):
        ClassMeans().add(learner, 0, flat)
    with pytest.raises(ValueError, match="does not vary"):
        Calibration().add(learner, 0, flat)
    heads = TaskHeads(5)
    heads.accommodate(0, [3], torch.Generator())
    with pytest.raises(ValueError, match=r"tasks \[0\] have one class"):
        identify(Learner(nn.Identity(), heads), x)
    targets = Split(torch.ones(4, 5), torch.rand(4, 2))
    regression = Stream([Task("r", targets, targets)], "task_incremental")
    with pytest.raises(ValueError, match="must have class labels"):
        class_incremental_accuracy(learner, regression)
