"""The learner and how one is built for a stream."""

import copy

import pytest
import torch
from torch import Tensor, nn

from holdfast.data.split import Split
from holdfast.nets import (
    GrowingHead,
    Learner,
    SharedHead,
    TaskHeads,
    alexnet,
    build_learner,
    lenet,
    mlp,
)
from holdfast.nets.heads import TaskIds
from holdfast.nets.learner import feature_width
from holdfast.streams.stream import Scenario, Stream, Task


def stream(scenario: Scenario, shape: tuple[int, ...] = (5,)) -> Stream:
    labels = [(0, 1), (0, 1)] if scenario == "domain_incremental" else [(3, 0), (2, 1)]
    tasks = []
    for i, classes in enumerate(labels):
        split = Split(torch.randn(4, *shape), torch.tensor(classes * 2))
        tasks.append(Task(f"task {i}", split, split, classes=classes))
    return Stream(tasks, scenario)


def regression(scenario: Scenario = "domain_incremental") -> Stream:
    split = Split(torch.randn(4, 5), torch.randn(4, 3))
    return Stream([Task("a", split, split), Task("b", split, split)], scenario)


class PerTask(nn.Module):
    """A backbone that scales its input by task."""

    per_task = True

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor([1.0, 10.0]))

    def forward(self, x: Tensor, task: TaskIds) -> Tensor:
        assert task is not None
        return x * self.scale[task].reshape(-1, 1)


@pytest.mark.parametrize(
    ("made", "kind"),
    [
        (stream("task_incremental"), TaskHeads),
        (stream("class_incremental"), GrowingHead),
        (stream("domain_incremental"), SharedHead),
        (regression(), SharedHead),
        (regression("task_incremental"), SharedHead),
    ],
    ids=["task", "class", "domain", "regression", "regression by task"],
)
def test_auto_heads_fit_the_scenario(made: Stream, kind: type) -> None:
    learner = build_learner(mlp((5,), hidden=(7,)), made)
    assert type(learner.heads) is kind
    assert learner.heads.width == 7
    for index, task in enumerate(made):
        learner.accommodate(index, task)
        logits = learner(task.test.x, index)
        assert logits.shape[0] == len(task.test)
        y = learner.columns(task.test.y, index)
        loss = nn.functional.mse_loss if made.is_regression else nn.functional.cross_entropy
        loss(logits, y).backward()


def test_shared_head_takes_all_classes_of_the_stream() -> None:
    learner = build_learner(mlp((5,)), stream("class_incremental"), heads="shared")
    assert learner.heads.known.tolist() == [0, 1, 2, 3]
    assert build_learner(mlp((5,)), regression()).heads.linear.out_features == 3


def test_predictions_are_the_labels_of_the_largest_logits() -> None:
    made = stream("task_incremental")
    learner = build_learner(mlp((5,)), made)
    for index, task in enumerate(made):
        learner.accommodate(index, task)
        x = torch.randn(20, 5)
        expected = torch.tensor(task.classes)[learner(x, index).argmax(dim=1)]
        assert torch.equal(learner.predict(x, index), expected)
        assert set(learner.predict(x, index).tolist()) <= set(task.classes)


def test_forward_is_heads_after_features() -> None:
    learner = Learner(mlp((5,), hidden=(6,)), SharedHead(6, (0, 1)))
    x = torch.randn(3, 5)
    assert not learner.per_task
    assert learner.features(x).shape == (3, 6)
    assert torch.equal(learner(x), learner.heads(learner.features(x)))


def test_backbone_per_task_is_told_the_task() -> None:
    learner = build_learner(PerTask(), stream("task_incremental"))
    assert learner.per_task
    assert learner.heads.width == 5
    x = torch.ones(2, 5)
    assert torch.equal(learner.features(x, 1), 10 * x)
    mixed = learner.features(x, torch.tensor([0, 1]))
    assert mixed[:, 0].tolist() == [1.0, 10.0]


@pytest.mark.parametrize("scenario", ["task_incremental", "class_incremental"])
def test_state_goes_into_a_fresh_learner(scenario: Scenario) -> None:
    made, x = stream(scenario), torch.randn(3, 5)
    learner = build_learner(mlp((5,)), made)
    for index, task in enumerate(made):
        learner.accommodate(index, task, torch.Generator().manual_seed(index))
    fresh = build_learner(mlp((5,), seed=1), made)
    fresh.load_state_dict(learner.state_dict())
    twin = copy.deepcopy(learner)
    for other in (fresh, twin):
        assert torch.equal(other(x, 1), learner(x, 1))
        assert torch.equal(other.predict(x, 1), learner.predict(x, 1))
    fresh.accommodate(2, Task("c", made[0].train, made[0].test))
    assert twin.state_dict().keys() == learner.state_dict().keys()


def test_seed_decides_the_shared_head_alone() -> None:
    made, before = stream("domain_incremental"), torch.random.get_rng_state()
    first, again, other = (build_learner(mlp((5,)), made, seed=s) for s in (0, 0, 1))
    assert torch.equal(before, torch.random.get_rng_state())
    assert torch.equal(first.heads.linear.weight, again.heads.linear.weight)
    assert not torch.equal(first.heads.linear.weight, other.heads.linear.weight)


def test_width_is_measured_without_a_trace() -> None:
    net = lenet((1, 8, 8))
    state = copy.deepcopy(net.state_dict())
    net.get_submodule("conv1_norm").eval()
    made = stream("task_incremental", (1, 8, 8))
    assert feature_width(net, made[0]) == 500
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())
    assert net.training
    assert not net.get_submodule("conv1_norm").training


def test_width_of_an_untracked_batch_norm_is_measured() -> None:
    made = stream("task_incremental", (1, 19, 19))
    net = alexnet((1, 19, 19), track_running_stats=False)
    assert build_learner(net, made).heads.width == 2048


def test_misfits_are_named() -> None:
    made = stream("class_incremental")
    with pytest.raises(ValueError, match=r"does not take inputs of shape \(5,\)"):
        build_learner(mlp((6,)), made)
    with pytest.raises(ValueError, match=r"does not take inputs of shape \(5,\)"):
        build_learner(lenet((1, 8, 8)), made)
    with pytest.raises(ValueError, match=r"shape \(n, width\), got \(2, 5, 1\)"):
        build_learner(nn.Unflatten(1, (5, 1)), made)
    with pytest.raises(ValueError, match=r"shape \(n, width\), got tuple"):
        build_learner(nn.LSTM(5, 5), made)
    with pytest.raises(ValueError, match="'growing' or 'shared' in a class_incremental stream"):
        build_learner(mlp((5,)), made, heads="per_task")
    with pytest.raises(ValueError, match="heads must be 'shared' for regression targets"):
        build_learner(mlp((5,)), regression(), heads="growing")
