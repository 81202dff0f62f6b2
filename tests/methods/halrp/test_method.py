"""HALRP in runs."""

import os
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_runs import Interrupted, Setup, cut_at_checkpoint, same, tensors
from torch import nn

import holdfast
from holdfast import nets, streams
from holdfast.config import make_part
from holdfast.methods.halrp import HALRP, Adapted, Costs, Plan, official, perturbed_layers, sizes
from holdfast.methods.halrp.layers import Perturbation
from holdfast.methods.halrp.storage import low_rank_matrices, rounded
from holdfast.nets.learner import Learner, build_learner
from holdfast.probes import LearnerSize
from holdfast.records.record import Record
from holdfast.seeds import seeded
from holdfast.streams.stream import Stream
from holdfast.training.options import Training


def stream(scenario: str = "task_incremental") -> Stream:
    """Four tasks of two digits each."""
    return streams.split(
        holdfast.digits(), tasks=4, scenario=scenario, classes_per_task=2, validation=0.2
    )  # type: ignore[arg-type]


def net(seed: int = 0) -> nn.Sequential:
    with seeded(seed, "test"):
        return nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(),
            nn.Linear(256, 12), nn.BatchNorm1d(12), nn.ReLU(),
        )  # fmt: skip


def go(
    method: HALRP, out: Path | None = None, seed: int = 0, init: int = 0, **options: Any
) -> tuple[Record, Learner]:
    data = stream()
    learner = build_learner(net(init), data, seed=init)
    training = {"epochs": 3, "batch_size": 64, "optimizer": "adam", "lr": 5e-3}
    training |= options.pop("training", {})
    record = holdfast.run(
        data, learner, method, Training(**training), seed=seed, out=out, **options
    )
    return record, learner


def adapted(learner: Learner) -> Adapted:
    assert isinstance(learner.backbone, Adapted)
    return learner.backbone


def forgetting(record: Record) -> np.ndarray:
    accuracy = np.asarray(record.accuracy)
    return np.abs(np.diag(accuracy)[None, :] - accuracy)[np.tril_indices(len(accuracy))]


METHODS: dict[str, Callable[[], HALRP]] = {
    "default": HALRP,
    "growth": lambda: HALRP(alpha=None, growth=4.0, storage="int8"),
    "flat": lambda: HALRP(choice="flat", task_budget=2.0, storage="bfloat16"),
    "random": lambda: HALRP(choice="random", budget=0.5, prune_share=0.3),
    "pretrained": lambda: HALRP(base="pretrained", growth=9.0, warm_up=2),
    "official": official,
}


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what takes time: git is asked in a process of its own, disks are waited for."""
    module = import_module("holdfast.training.run")
    monkeypatch.setattr(module, "environment", lambda device: {"python": "test"})
    monkeypatch.setattr(os, "fsync", lambda handle: None)


@pytest.mark.parametrize("name", ["growth", "random", "pretrained", "official"])
def test_killed_and_resumed_is_never_killed(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: None
) -> None:
    """Each life resumes one checkpoint further on: in the warm-up, after it, and between tasks."""
    setup = Setup(
        METHODS[name],
        "task_incremental",
        net="noisy",
        training={"optimizer": "adam", "lr": 0.01, "epochs": 3, "reset_optimizer": False},
        stream={"validation": name != "default"},
        probes=lambda: (LearnerSize(),),
    )
    record, learner = setup.run(tmp_path / "whole")
    wanted, events = tensors(learner), (tmp_path / "whole" / "events.jsonl").read_bytes()
    out, lives = tmp_path / "cut", 1
    assert record.status == "complete"
    while lives < 60:
        try:
            with cut_at_checkpoint(monkeypatch, 2 if lives == 2 else 1):
                again, learner = setup.run(out, init=lives - 1, resume=True, checkpoint_minutes=0.0)
            break
        except Interrupted:
            lives += 1
    assert lives == record.curve[-1]["step"] + 4
    assert again.digest() == record.digest()
    assert same(tensors(learner), wanted)
    assert (out / "events.jsonl").read_bytes() == events


@pytest.mark.parametrize("name", ["default", "growth", "flat", "random", "pretrained"])
def test_forgetting_is_exactly_0(name: str) -> None:
    method = METHODS[name]()
    record, learner = go(method)
    assert (forgetting(record) == 0).all()
    model = adapted(learner)
    assert model.tasks == ("0", "1", "2", "3")
    model.check_base()
    later = [t for t in model.tasks if t != model.base_task]
    assert sorted(method.plans) == later
    for task in later:
        plan = Plan.from_values(method.plans[task])
        for at, layer in perturbed_layers(model.model):
            own = layer.tasks[task]
            assert isinstance(own, Perturbation)
            assert own.rank == plan.ranks[at]
            assert plan.layers[at].parameters == own.U.numel() + own.V.numel()
        for _, m, axis in low_rank_matrices(model, task):
            assert torch.equal(rounded(m, method.storage, axis), m)
    assert not any(p.requires_grad for p in learner.parameters())


@pytest.mark.parametrize("storage", ["float32", "bfloat16", "int8"])
@pytest.mark.parametrize("choice", ["curvature", "flat"])
def test_growth_is_kept_in_bytes(storage: Any, choice: Any) -> None:
    record, learner = go(
        HALRP(alpha=None, growth=1.0, storage=storage, choice=choice), probes=[LearnerSize()]
    )
    found = sizes(learner)
    assert found.growth <= 1.0 + 250 / found.base_bytes  # what a file begins with
    assert found.growth > 0.6
    last = record.probes[-1]["values"]
    assert last["bytes"] == found.bytes
    assert last["growth"] == found.growth
    assert last["growth_counted"] == pytest.approx(found.growth_paper)
    assert record.probes[0]["values"]["growth"] == pytest.approx(0, abs=0.2)


def test_growth_is_shared_equally_whatever_the_place() -> None:
    plans = []
    for order in ([0, 1, 2, 3], [0, 3, 2, 1]):
        data = stream().reordered(order)
        method = HALRP(alpha=None, growth=0.7, storage="int8", choice="flat")
        learner = build_learner(net(), data)
        holdfast.run(data, learner, method, Training(epochs=2, batch_size=64, lr=0.01))
        plans.append([Plan.from_values(p).ranks for p in method.plans.values()])
    assert plans[0] == plans[1]
    assert plans[0][0] == plans[0][1] == plans[0][2]


def test_task_budget_bounds_each_task() -> None:
    _, learner = go(HALRP(alpha=None, task_budget=0.25, storage="int8"))
    found = sizes(learner)
    for task in found.tasks.values():
        assert 0.15 * found.base_bytes < task.bytes <= 0.25 * found.base_bytes


def test_pruning_reaches_the_growth_by_the_papers_count_and_changes_earlier_tasks() -> None:
    method = official(alpha=1.0, growth=0.3)
    record, learner = go(method)
    model, found = adapted(learner), sizes(learner)
    share = 1 - 0.3 / found.growth_paper_dense
    assert share > 0
    for task in model.names:
        kept = np.concatenate([
            m.detach().numpy().ravel() for _, m, _ in low_rank_matrices(model, task)
        ])  # fmt: skip
        assert (kept == 0).mean() == pytest.approx(share, abs=0.02)
        assert np.abs(kept[kept != 0]).min() > 1e-5
    fixed = sum(t.paper - t.nonzero for t in found.tasks.values()) / found.base
    assert found.growth_paper == pytest.approx(
        0.3 * (1 - fixed / found.growth_paper_dense) + fixed, abs=0.01
    )
    free, _ = go(official(alpha=1.0, growth=None))
    assert np.array_equal(np.asarray(free.accuracy)[:2, :1], np.asarray(record.accuracy)[:2, :1])
    assert (forgetting(free) == 0).all()


def test_pruned_tasks_stay_on_the_grid_of_their_storage() -> None:
    _, learner = go(HALRP(alpha=1.0, growth=0.3, growth_by="pruning", storage="int8"))
    for task in adapted(learner).names:
        for _, m, axis in low_rank_matrices(adapted(learner), task):
            assert (m == 0).any()
            assert torch.equal(rounded(m, "int8", axis), m)


def test_pruning_below_the_growth_does_nothing() -> None:
    record, learner = go(official(growth=50.0))
    free, other = go(official(growth=None))
    assert np.array_equal(np.asarray(record.accuracy), np.asarray(free.accuracy), equal_nan=True)
    assert same(tensors(learner), tensors(other))


def test_own_pruning_is_of_the_new_task_alone() -> None:
    record, learner = go(HALRP(prune_share=0.5, prune_below=1e-4))
    assert (forgetting(record) == 0).all()
    for task in sizes(learner).tasks.values():
        assert task.nonzero <= task.low_rank // 2 + 1


def test_official_from_a_configuration() -> None:
    method = make_part("method", {"name": "halrp_official", "l1": 1e-6, "growth": 0.6})
    assert isinstance(method, HALRP)
    assert (method.conv, method.scaling, method.importance) == ("constant", "official", "mean")
    assert (method.growth, method.growth_by, method.l1, method.prune_below) == (
        0.6, "pruning", 1e-6, 1e-5,
    )  # fmt: skip
    assert official(growth=None).prune_below == 0
    assert isinstance(make_part("probe", "learner_size"), LearnerSize)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"alpha": None, "growth": None},
            "alpha is None and no budget, growth or task_budget bounds ranks",
        ),
        ({"growth": 0.2, "task_budget": 0.1}, "growth and task_budget both bound"),
        ({"growth": 0.2, "budget": 0.1}, "budget and growth or task_budget both bound"),
        ({"growth": 0.0}, "growth must be a number above 0"),
        ({"task_budget": -1.0}, "task_budget must be a number above 0"),
        ({"growth_by": "pruning"}, "growth_by 'pruning' needs growth"),
        ({"growth_by": "pruning", "growth": 0.2, "prune_share": 0.1}, "prune_share must be 0"),
        ({"prune_over": "all_tasks"}, "prune_over 'all_tasks' changes earlier tasks"),
        ({"prune_share": 2.0}, "share must be"),
        ({"least": -1}, "least must be a whole number from 0 to most, 100, got -1"),
        ({"least": 5, "most": 2}, "least must be a whole number from 0 to most, 2, got 5"),
    ],
)
def test_refuses_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        HALRP(**options)


def test_growth_below_the_fixed_costs_is_refused_before_work() -> None:
    for name in ("growth", "task_budget"):
        events: list[Any] = []
        with pytest.raises(ValueError, match=rf"{name} 0.01 allows .* the smallest {name} is") as e:
            go(HALRP(**{name: 0.01}), listener=events.append)
        assert events == []
        smallest = float(str(e.value).split()[-1])
        data = stream()
        learner = build_learner(net(), data)
        HALRP(**{name: smallest}).check(learner, data)
        assert not isinstance(learner.backbone, Adapted)


def test_the_default_bounds_growth_unless_another_bound_is_given() -> None:
    _, learner = go(HALRP())
    data = stream()
    classes = [len(task.classes) for task in data]
    costs = Costs.of(adapted(learner), learner.heads, classes, "int8")
    low = costs.low_rank_auto()
    assert costs.base * (1 + 0.2) < sizes(learner).bytes  # a small base takes more
    assert sizes(learner).bytes <= costs.base + sum(costs.fixed) + low * len(costs.fixed)
    assert HALRP(task_budget=0.1).growth is None
    assert HALRP(budget=0.1).growth is None
    assert official().storage == "float32"


def test_other_refusals_come_before_work() -> None:
    with pytest.raises(ValueError, match="warm_up must be below the 3 epochs of training, got 3"):
        go(HALRP(warm_up=3))
    data = stream()
    with pytest.raises(ValueError, match="HALRP needs heads 'per_task', got GrowingHead"):
        HALRP().check(build_learner(net(), data, "growing"), data)

    with pytest.raises(ValueError, match=r"budget 0.0001 allows .* the smallest budget is") as e:
        HALRP(budget=1e-4).check(build_learner(net(), data), data)
    HALRP(budget=float(str(e.value).split()[-1])).check(build_learner(net(), data), data)
    names = [n for n, _ in net().named_children()]
    with pytest.raises(ValueError, match="HALRP has no layer to perturb"):
        HALRP(skip=names).check(build_learner(net(), data), data)
    with pytest.raises(TypeError, match="skip must be a list of names of modules, got 'net'"):
        HALRP(skip="net")

    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Bilinear(64, 64, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(x.flatten(1), x.flatten(1))

    with pytest.raises(ValueError, match="Bilinear"):
        HALRP().check(build_learner(Twice(), data), data)


def test_costs_of_a_run_are_those_of_its_stream() -> None:
    data = stream()
    learner = build_learner(nets.mlp(data.input_shape, hidden=(16,)), data)
    method = HALRP(growth=2.0)
    method.check(learner, data)
    holdfast.run(data, learner, method, Training(epochs=2, batch_size=64))
    costs = Costs.of(adapted(learner), learner.heads, [2, 2, 2, 2])
    assert costs.base == sizes(learner).base_bytes
