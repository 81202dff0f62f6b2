import copy
import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_gpm import Optimized, image_stream
from tiny_loop import TinyLoop, make_learner, make_stream, tensors

import holdfast
from holdfast import nets, streams
from holdfast.methods import APD, Finetune
from holdfast.methods.consolidate import consolidate
from holdfast.nets.learner import build_learner
from holdfast.probes.size import measured_size

WEIGHT = "backbone.model.0.base.weight"


@pytest.mark.parametrize("mask", ["sigmoid", "identity"])
@pytest.mark.parametrize("retroactive", [True, False])
def test_gradient_is_that_of_the_whole_loss(mask: str, retroactive: bool) -> None:
    stream = make_stream("task_incremental", dtype=torch.float64)
    options = {"l1": 0.02, "drift": 3.0, "decay": 0.1, "retroactive": retroactive}
    loop = TinyLoop(APD(mask=mask, **options), make_learner(stream), stream).until(2)
    context = loop.begin()
    learner, layer = loop.learner, loop.learner.backbone.model[0]
    wished = [layer.theta(j).detach().clone() for j in range(2)]
    with torch.no_grad():
        for p in learner.backbone.parameters():
            p += 0.1 * torch.randn(p.shape, dtype=p.dtype, generator=loop.draws) * p.requires_grad
    batch = next(context.source.epoch(7, 0))
    learner.zero_grad()
    loss, _ = loop.method.loss(learner, batch, context)
    loss.backward()
    loop.method.after_backward(learner, batch, context)
    got = {n: p.grad.clone() for n, p in learner.named_parameters() if p.grad is not None}

    def factor(v: torch.Tensor) -> torch.Tensor:
        return (1 / (1 + (-v).exp()) if mask == "sigmoid" else v)[:, None]

    own, sigma = layer.own, layer.base.weight
    theta = [sigma * factor(own[j].mask) + own[j].adaptive for j in range(3)]
    features = (batch.x @ theta[2].T + own[2].bias).relu()
    wanted = context.criterion(learner.heads(features, 2), batch.y)
    for j in range(3) if retroactive else [2]:
        tau, v = own[j].adaptive, own[j].mask
        wanted = wanted + 0.02 * tau.abs().sum() + 0.05 * (tau.square().sum() + v.square().sum())
    for j in range(2 if retroactive else 0):
        wanted = wanted + 1.5 * (theta[j] - wished[j]).square().sum()
    named = {n: p for n, p in learner.named_parameters() if p.requires_grad}
    slopes = torch.autograd.grad(wanted, list(named.values()), allow_unused=True)
    for name, slope in zip(named, slopes, strict=True):
        assert (slope is None) == (name not in got), name
        if slope is not None:
            torch.testing.assert_close(got[name], slope, rtol=1e-9, atol=1e-12)
    assert (WEIGHT in got) == retroactive


def test_the_shared_weight_decays_in_the_first_task_alone() -> None:
    stream = make_stream("task_incremental", dtype=torch.float64)
    loop = TinyLoop(APD(l1=0.0, drift=0.0, decay=0.5), make_learner(stream), stream)
    for index in range(2):
        context = loop.until(index).begin()
        batch = next(context.source.epoch(7, 0))
        sigma = loop.learner.backbone.model[0].shared
        loop.learner.zero_grad()
        loop.method.loss(loop.learner, batch, context)[0].backward()
        before = sigma.grad.clone()
        loop.method.after_backward(loop.learner, batch, context)
        torch.testing.assert_close(sigma.grad - before, 0.5 * sigma.detach() * (index == 0))


@pytest.mark.parametrize("net", ["lenet", "resnet18"])
def test_fixed_forgets_nothing_at_all(net: str) -> None:
    stream = image_stream(dtype=torch.float32)
    shape = stream.input_shape
    made = nets.lenet(shape, (3, 4), (12,)) if net == "lenet" else nets.resnet18(shape, 2)
    loop = Optimized(APD(retroactive=False), build_learner(made, stream), stream)
    loop.kind = "adam"
    learner, answers = loop.learner, {}
    for i in range(3):
        loop.until(i + 1)
        learner.eval()
        for j in range(i + 1):
            out = learner(stream[j].train.x, j)
            assert torch.equal(out, answers.setdefault(j, out))


def test_drift_holds_earlier_weights_while_the_shared_move() -> None:
    stream = make_stream("task_incremental", dtype=torch.float64)

    def moved(drift: float) -> tuple[float, float]:
        method = APD(drift=drift, l1=1e-5)
        loop = TinyLoop(method, make_learner(stream), stream, epochs=10).until(1)
        layer = loop.learner.backbone.model[0]
        sigma, theta = layer.shared.detach().clone(), layer.theta(0).detach().clone()
        loop.run()
        away = (layer.shared - sigma).norm(), (layer.theta(0) - theta).norm()
        return away[0].item(), away[1].item()

    free, held = moved(0.0), moved(10.0)
    assert held[1] < 0.2 * free[1]
    assert held[0] > 5 * held[1]


def test_small_entries_are_cut_in_evaluation_and_at_the_end() -> None:
    stream = make_stream("task_incremental")
    method = APD(l1=0.05, threshold=0.1, drift=5.0)
    loop = TinyLoop(method, make_learner(stream), stream)
    for i, _ in enumerate(loop.steps()):
        if i == 5:
            break
    learner, layer = loop.learner, loop.learner.backbone.model[0]
    learner.eval()
    here = learner(stream[0].test.x, 0)
    tau = layer.own[0].adaptive
    assert 0 < (tau.abs() <= 0.1).sum() < tau.numel()
    with torch.no_grad():
        tau[tau.abs() <= 0.1] = 0
    assert torch.equal(learner(stream[0].test.x, 0), here)
    learner.train()
    assert torch.equal(learner(stream[0].test.x, 0), here)  # now there is nothing to cut
    loop.run()
    for part in layer.own:
        kept = part.adaptive[part.adaptive != 0].abs()
        assert len(kept) < part.adaptive.numel()
        assert (kept > 0.1).all()


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10**6), tasks=st.integers(2, 5), groups=st.integers(1, 4))
def test_consolidation_keeps_what_differs_and_means_what_does_not(
    seed: int, tasks: int, groups: int
) -> None:
    draws = np.random.default_rng(seed)
    tau = torch.tensor(draws.normal(size=(tasks, 4, 3)) * draws.choice([1.0, 0.01], size=(4, 3)))
    found = consolidate(tau, groups, 0.03, seed)
    for i, j in itertools.product(range(tasks), range(4)):
        for k in range(3):
            group = found.groups[i]
            own, shared = float(found.residual[i, j, k]), 0.0
            if group is not None:
                shared = float(found.local[group, j, k])
                members = [float(tau[m, j, k]) for m in range(tasks) if found.groups[m] == group]
                assert len(members) > 1
                if max(members) - min(members) <= 0.03:
                    assert (own, shared) == (0, pytest.approx(np.mean(members), abs=1e-15))
                    continue
            assert (own, shared) == (float(tau[i, j, k]), 0)


def test_groups_are_those_of_least_variance() -> None:
    draws = torch.Generator().manual_seed(0)
    tau = torch.randn(5, 40, generator=draws, dtype=torch.float64)
    tau += 2 * torch.tensor([0.0, 1.0, 0.0, 1.0, 1.0])[:, None]

    def variance(groups: list[int | None]) -> float:
        sets: dict[int | str, list[int]] = {}
        for i, g in enumerate(groups):
            sets.setdefault(f"alone{i}" if g is None else g, []).append(i)
        return sum(float((tau[s] - tau[s].mean(0)).square().sum()) for s in sets.values())

    found = consolidate(tau, 2, 0.01, 0).groups
    best = min(variance(list(g)) for g in itertools.product([0, 1], repeat=5))
    assert variance(found) == pytest.approx(best)
    assert consolidate(torch.zeros(3, 4), 2, 0.01, 0).groups == [0, 0, 0]


def test_consolidates_in_a_run() -> None:
    stream = make_stream("task_incremental", tasks=4)
    method = APD(drift=5.0, consolidate=2, groups=1, tolerance=0.2)
    loop = TinyLoop(method, make_learner(stream), stream)
    loop.until(1)
    layer = loop.learner.backbone.model[0]
    assert len(layer.local) == 0
    loop.until(4)
    assert len(layer.local) > 0
    assert layer.groups() == method.state_dict()["groups"]["0"]
    group = layer.groups().index(0)
    part = layer.own[group]
    wanted = layer.shared * part.mask.sigmoid()[:, None] + part.adaptive + layer.local[0]
    torch.testing.assert_close(layer.theta(group), wanted)
    assert not (part.adaptive * layer.local[0]).any()


@pytest.mark.parametrize("open_task", [True, False])
def test_resumes_with_groups(open_task: bool, tmp_path) -> None:
    stream = make_stream("task_incremental", tasks=4)

    def loop() -> TinyLoop:
        return TinyLoop(
            APD(drift=5.0, consolidate=2, groups=1, tolerance=0.2), make_learner(stream), stream
        )

    whole = loop()
    for _ in whole.steps():
        if whole.index == 2 and whole.open == open_task:
            whole.save(tmp_path / "state")
            if open_task:
                break
    wanted = tensors(whole.run())
    again = loop()
    again.restore(tmp_path / "state")
    got = tensors(again.run())
    assert all(torch.equal(got[k], wanted[k]) for k in wanted)


def test_size_counts_entries_that_are_not_zero() -> None:
    stream = make_stream("task_incremental")  # 5 inputs, 8 features, heads of 2, 3 and 2
    learner = TinyLoop(APD(l1=0.05, drift=5.0), make_learner(stream), stream).run()
    found = measured_size(learner.backbone, learner)
    parts = learner.backbone.model[0].own
    kept = [int(p.adaptive.count_nonzero()) for p in parts]
    whole = 40 + 3 * (8 + 8) + 7 * 9
    assert 0 < sum(kept) < 120
    assert found.counted == whole + sum(kept)
    assert found.bytes == 4 * whole + 8 * 7 + sum(min(8 * n, 160) for n in kept)


def test_learns_without_forgetting_where_finetuning_forgets() -> None:
    stream = streams.split(
        holdfast.digits(), tasks=5, scenario="task_incremental", classes_per_task=2
    )
    training = holdfast.Training(epochs=2, batch_size=16, optimizer="adam", lr=0.003)

    def run(method: APD | Finetune) -> tuple[holdfast.Record, holdfast.Learner]:
        net = nets.mlp(stream.input_shape, (50,), norm="batch")
        learner = build_learner(net, stream)
        return holdfast.run(stream, learner, method, training), learner

    record, learner = run(APD(consolidate=5))
    assert record.metrics()["forgetting"] < 0.01
    assert record.accuracy[-1].mean() > run(Finetune())[0].accuracy[-1].mean()
    x = stream[0].inputs(stream[0].test.x[:3])
    assert torch.equal(copy.deepcopy(learner)(x, 1), learner(x, 1))


def test_refusals() -> None:
    for name in ("l1", "drift", "decay", "threshold", "tolerance"):
        with pytest.raises(ValueError, match=f"{name} must be a number of at least 0"):
            APD(**{name: -1.0})
    with pytest.raises(ValueError, match="consolidate must be a positive integer"):
        APD(consolidate=0)
    with pytest.raises(ValueError, match="groups must be a positive integer"):
        APD(groups=0)
    growing = make_stream()
    with pytest.raises(ValueError, match="APD needs heads 'per_task', got GrowingHead"):
        APD().check(make_learner(growing), growing)
