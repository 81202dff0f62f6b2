from itertools import pairwise
from typing import Any

import pytest
import torch
from tiny_loop import TinyLoop, make_learner, make_stream
from torch import Tensor, nn

import holdfast
from holdfast import nets, streams
from holdfast.methods import DormantRecycler, ReDo
from holdfast.nets.modes import evaluation_mode

X = torch.randn(20, 1, 6, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
DEAD = {"conv1": [1], "conv2": [0, 3], "linear1": [2, 3, 5]}


def net(norm: str | None = None) -> nn.Module:
    """With units that no input makes active."""
    model = nets.cnn((1, 6, 6), channels=(3, 4), hidden=(6, 3), norm=norm).double().eval()
    with torch.no_grad():
        for name, units in DEAD.items():
            last = f"{name}_norm" if norm else name
            model.get_submodule(last).bias[units] = -1000.0
    return model


@pytest.mark.parametrize("norm", [None, "batch"])
def test_dead_units_begin_anew_and_the_function_stays(norm: str | None) -> None:
    model = net(norm)
    before = model(X)
    recycler = DormantRecycler(model, X, tau=0.0)
    assert {k: v.tolist() for k, v in recycler.dormant(X).items()} == DEAD
    assert recycler.recycle(None, X) == {"conv1": 1, "conv2": 2, "linear1": 3}
    assert torch.equal(model(X), before)
    # Alive again: some gradient reaches their outgoing weights.
    model(X).square().sum().backward()
    assert model.conv2.weight.grad is not None
    assert model.conv2.weight.grad[:, 1].any()


def naive_scores(model: nn.Module, layer: str, x: Tensor) -> list[float]:
    """E|h_i| over that of the layer, unit by unit, of what comes out of the nonlinearity."""
    upto = list(model.named_children())
    end = next(i for i, (name, _) in enumerate(upto) if name == layer) + 1
    while end < len(upto) and not isinstance(upto[end][1], nn.Linear | nn.Conv2d | nn.Flatten):
        end += 1
    with evaluation_mode(model), torch.no_grad():
        h = nn.Sequential(*(module for _, module in upto[:end]))(x)
    sizes = [float(h[:, i].abs().mean()) for i in range(h.shape[1])]
    return [size / (sum(sizes) / len(sizes) + 1e-9) for size in sizes]


@pytest.mark.parametrize("tau", [0.025, 0.5, 1.0])
@pytest.mark.parametrize("norm", [None, "batch"])
def test_dormant_are_those_of_the_definition(tau: float, norm: str | None) -> None:
    model = net(norm).train()
    found = DormantRecycler(model, X, tau=tau, samples=7).dormant(X)
    assert model.training
    for layer, units in found.items():
        scores = naive_scores(model, layer, X[:7])
        assert units.tolist() == [i for i, score in enumerate(scores) if score <= tau]


def test_recycles_every_so_many_steps() -> None:
    model = net()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    recycler = DormantRecycler(model, X, every=3)
    done = []
    for _ in range(7):
        optimizer.zero_grad()
        model(X).square().sum().backward()
        done.append(recycler.step(optimizer, X))
    assert [bool(found) for found in done] == [False, False, True, False, False, True, False]
    assert done[2]["conv2"] >= 2


class Watched(ReDo):
    """Notes the first layer's weight after each step."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._seen: list[Tensor] = []

    def after_step(self, learner: Any, batch: Any, context: Any) -> None:
        before = learner.backbone[0].weight.detach().clone()
        super().after_step(learner, batch, context)
        self._seen.append((learner.backbone[0].weight.detach() != before).any(1))


def test_as_a_method_it_counts_over_tasks() -> None:
    stream = make_stream("task_incremental")
    loop = TinyLoop(Watched(every=5, tau=0.9), make_learner(stream), stream)
    loop.run()
    method = loop.method
    assert isinstance(method, Watched)
    moved = [i + 1 for i, units in enumerate(method._seen) if units.any()]
    assert moved
    assert all(step % 5 == 0 for step in moved)
    assert all(b - a == 5 for a, b in pairwise(moved))
    total = sum(int(units.sum()) for units in method._seen)
    assert method.recycled == {"backbone.0": total}


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "rmsprop"])
def test_runs_and_is_deterministic(optimizer: str) -> None:
    stream = streams.permuted(holdfast.digits().subset(per_class=8), tasks=2)
    training = holdfast.Training(epochs=2, optimizer=optimizer, lr=0.01)
    accuracies = []
    for _ in range(2):
        method = ReDo(every=2, tau=0.3)
        learner = nets.lenet(stream.input_shape, channels=(4,), hidden=(8, 8))
        record = holdfast.run(stream, learner, method, training)
        assert sum(method.recycled.values()) > 0
        accuracies.append(record.accuracy)
    assert (accuracies[0] == accuracies[1]).all()


def test_refuses_before_training() -> None:
    stream = streams.permuted(holdfast.digits().subset(per_class=3), tasks=2)
    learner = nets.residual(stream.input_shape, width=2, depth=3)
    with pytest.raises(ValueError, match="conv1: its output is added to another tensor"):
        holdfast.run(stream, learner, ReDo())
    with pytest.raises(ValueError, match="every must be a positive integer, got 0"):
        ReDo(every=0)
    with pytest.raises(ValueError, match="tau must be a number of at least 0"):
        ReDo(tau=-0.1)
    with pytest.raises(ValueError, match="samples must be a positive integer"):
        ReDo(samples=0)
