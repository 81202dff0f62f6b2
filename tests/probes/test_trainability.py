"""The trainability gap, against training written out, and of nets that have lost it."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from holdfast import Training, run
from holdfast.data.split import Dataset, Split
from holdfast.nets import mlp
from holdfast.nets.learner import build_learner
from holdfast.nets.redraw import redraw
from holdfast.probes import ProbeTasks, Trainability, trainability_gap
from holdfast.seeds import seeded
from holdfast.streams import Batch, growing

X = torch.randn(30, 4, generator=torch.Generator().manual_seed(0))
SMALL = ProbeTasks(tasks=2, steps=5, batch_size=8, lr=0.01)


def net(seed: int = 0) -> nn.Sequential:
    with seeded(seed, "net"):
        return nn.Sequential(nn.Linear(4, 12), nn.ReLU(), nn.Linear(12, 3))


def naive(start: nn.Module, y: torch.Tensor, tasks: ProbeTasks) -> float:
    """Called where the draws of the labels are done."""
    model = copy.deepcopy(start)
    optimizer = torch.optim.Adam(model.parameters(), lr=tasks.lr)
    loss = nn.functional.mse_loss if y.is_floating_point() else nn.functional.cross_entropy
    for _ in range(tasks.steps):
        index = torch.randperm(len(X))[: tasks.batch_size]
        optimizer.zero_grad()
        loss(model(X[index]), y[index]).backward()
        optimizer.step()
    return loss(model(X), y).item()


def redrawn(model: nn.Module, purpose: str, task: int) -> nn.Module:
    made = copy.deepcopy(model)
    redraw(made, 7, "fresh", purpose, task)
    return made


@pytest.mark.parametrize("targets", ["labels", "sines"])
def test_is_the_loss_after_the_budget(targets: str) -> None:
    tasks = ProbeTasks(targets=targets, tasks=2, steps=5, batch_size=8, lr=0.01)
    model = net()
    found = trainability_gap(model, X, tasks, seed=7)
    for i in range(2):
        losses = []
        for start in (model, redrawn(model, "start", i)):
            with seeded(7, "trainability", i):
                if targets == "labels":
                    y = torch.randint(3, (len(X),))
                else:
                    other = redrawn(model, "target", i)
                    y = (start(X).mean(dim=0) + torch.sin(1e5 * other(X))).detach()
                losses.append(naive(start, y, tasks))
        assert (found.loss[i], found.fresh_loss[i]) == pytest.approx(losses, rel=1e-6)
    assert found.gap == pytest.approx(np.mean(found.loss) - np.mean(found.fresh_loss), rel=1e-6)


def test_leaves_model_and_draws_as_they_were() -> None:
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Dropout(0.5), nn.Linear(6, 3))
    model.eval()
    kept, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    found = trainability_gap(model, X, SMALL)
    assert all(torch.equal(v, kept[k]) for k, v in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    assert not model.training
    assert torch.equal(state, torch.get_rng_state())
    assert found == trainability_gap(model, X, SMALL)


def test_a_dead_net_cannot_be_trained_and_a_fresh_one_has_no_gap() -> None:
    dead = net()
    with torch.no_grad():
        dead[0].bias.fill_(-100.0)
    tasks = ProbeTasks(tasks=3, steps=150, batch_size=30, lr=0.02)
    lost = trainability_gap(dead, X, tasks)
    assert lost.gap > 0.3
    own = trainability_gap(net(), X, tasks, fresh=lambda seed: net())
    assert own.gap == 0


def test_the_probe_looks_where_the_last_task_begins() -> None:
    split = Split(X, torch.arange(30) % 3)
    stream = growing(Dataset(split, split), 2)
    probe = Trainability(tasks=1, steps=3, samples=10)
    record = run(
        stream, mlp((4,), (6,)), training=Training(epochs=1, batch_size=10), probes=[probe]
    )
    told = [(e["task"], e["on"]) for e in record.probes if e["values"]]
    assert told == [(0, 0), (1, 1)]
    values = record.probes[-1]["values"]
    assert values["gap"] == pytest.approx(values["loss"] - values["fresh_loss"], abs=1e-6)
    assert set(record.probe_means()) >= {f"Trainability.{name}" for name in probe.columns}
    # What a task begins with is not what it ends with.
    learner = build_learner(mlp((4,), (6,)), stream)
    learner.accommodate(0, stream[0], torch.Generator())
    alone = Trainability(tasks=1, steps=3, samples=10).measure(learner, Batch(X, split.y, 0))
    assert set(alone) == {"gap", "loss", "fresh_loss"}
    other = Trainability()
    other.load_state_dict(probe.state_dict())
    assert other.state_dict() == probe.state_dict()


def test_refuses() -> None:
    with pytest.raises(ValueError, match="targets must be one of labels, sines; got 'ones'"):
        _made(targets="ones")
    for options, message in (
        ({"tasks": 0}, "tasks must be a positive integer, got 0"),
        ({"steps": 0}, "steps must be a positive integer, got 0"),
        ({"lr": 0.0}, "lr must be a positive number, got 0.0"),
    ):
        with pytest.raises(ValueError, match=message):
            ProbeTasks(**options)
    with pytest.raises(ValueError, match="samples must be 2 or more, got 1"):
        Trainability(samples=1)
    with pytest.raises(ValueError, match="x must hold 2 samples or more, got 1"):
        trainability_gap(net(), X[:1])
    with pytest.raises(ValueError, match="must have parameters that require a gradient"):
        trainability_gap(net().requires_grad_(False), X)
    with pytest.raises(ValueError, match=r"shape \(30, outputs\) for 30 .* got \(30, 2, 2\)"):
        trainability_gap(nn.Sequential(nn.Linear(4, 4), nn.Unflatten(1, (2, 2))), X)
    with pytest.raises(ValueError, match=r"cannot draw new weights .*or pass fresh, which makes"):
        trainability_gap(Bare(), X)
    found = trainability_gap(Bare(), X, SMALL, fresh=lambda seed: Bare())
    assert found.gap == 0.0


class Bare(nn.Module):
    """Holds a parameter that nothing draws."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self.weight


def _made(**options: object) -> ProbeTasks:
    """As by a caller without the run-time type checks that the tests have."""
    made = object.__new__(ProbeTasks)
    for name in ProbeTasks.__dataclass_fields__:
        object.__setattr__(made, name, options.get(name, getattr(SMALL, name)))
    made.__post_init__()
    return made
