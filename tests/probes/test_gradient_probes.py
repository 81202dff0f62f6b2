import math

import pytest
import torch
from hessian_cases import untouched
from tangent_cases import learner

import holdfast
from holdfast import nets, streams
from holdfast.nets.learner import Learner
from holdfast.probes import (
    CurvatureChange,
    GradientInterference,
    GradientNoise,
    GradientNorms,
    HessianRank,
    HessianTrace,
    Phase,
    Probe,
    Sharpness,
    TangentRank,
    Updates,
    curvature_shift,
    gradient_interference,
    gradient_size,
    hessian_rank,
    hessian_trace,
    sharpness,
    tangent_rank,
    top_curvature,
)
from holdfast.probes.differentiable import requiring
from holdfast.streams.batches import Batch

Y = torch.tensor([0, 2, 1, 2, 0])


def phase(model: Learner, index: int, optimizer: str = "sgd", **rates: float) -> Phase:
    every = {name: rates.get("lr", 0.1) for name, _ in model.named_parameters()}
    return Phase(index, every, optimizer)


def moved(model: Learner, by: float = 0.05) -> None:
    with torch.no_grad():
        for i, p in enumerate(model.parameters()):
            p += by * torch.randn(
                p.shape, dtype=p.dtype, generator=torch.Generator().manual_seed(i)
            )


PROBES: list[tuple[Probe, str, object]] = [
    (Sharpness(tolerance=1e-3), "top", lambda m, b: sharpness(m, b)),
    (HessianTrace(draws=4), "trace", lambda m, b: hessian_trace(m, b, draws=4).value),
    (
        HessianRank(draws=2, steps=10),
        "share",
        lambda m, b: hessian_rank(m, b, draws=2, steps=10).share,
    ),
    (GradientNorms(), "norm", lambda m, b: gradient_size(m, b).norm),
    (GradientInterference(), "negative", lambda m, b: gradient_interference(m, b).negative),
    (TangentRank(), "rank", lambda m, b: tangent_rank(m, b.x, 1).rank),
]


@pytest.mark.parametrize(("probe", "key", "wanted"), PROBES, ids=lambda v: type(v).__name__)
def test_probes_tell_of_before_and_after(probe: Probe, key: str, wanted: object) -> None:
    model, x = learner("noisy", "per_task")
    batch = Batch(x, Y, 1)
    with untouched(model):
        for i in (0, 1):
            probe.before(model, Batch(x, Y % 2, i) if i == 0 else batch, phase(model, 1))
        first = wanted(model, batch)
    moved(model)
    model.requires_grad_(False)  # what was trained counts, frozen or not
    with untouched(model):
        earlier = probe.measure(model, Batch(x, Y % 2, 0))
        found = probe.measure(model, batch)
    model.requires_grad_(True)
    assert found[key] == pytest.approx(wanted(model, batch))
    assert found[f"{key}_before"] == pytest.approx(first)
    assert set(earlier) == ({"norm", "zeros"} if isinstance(probe, GradientNorms) else set())
    names = {column.removesuffix(".own") for column in probe.columns}
    assert names <= set(found) | set(earlier)
    other = type(probe)()
    other.__dict__.update({**probe.__dict__, "_current": {}})
    other.load_state_dict(probe.state_dict())
    assert other.measure(model, batch)[f"{key}_before"] == found[f"{key}_before"]


def test_gradient_ratio_is_to_the_mean_of_earlier_tasks() -> None:
    model, x = learner("mlp", "shared")
    batches = [Batch(x * (i + 1), (Y + i) % 3, i) for i in range(3)]
    probe = GradientNorms()
    for batch in batches:
        probe.before(model, batch, phase(model, 2))
    found = [probe.measure(model, batch) for batch in batches]
    named = list(model.parameters())
    g = [
        torch.cat(
            [
                part.flatten()
                for part in torch.autograd.grad(
                    torch.nn.functional.cross_entropy(model(b.x, b.task), b.y), named
                )
            ]
        )
        for b in batches
    ]
    assert found[2]["ratio"] == pytest.approx((g[2].norm() / ((g[0] + g[1]) / 2).norm()).item())
    assert found[2]["ratio_before"] == found[2]["ratio"]
    assert found[0]["norm"] == pytest.approx(g[0].norm().item())
    alone = GradientNorms()
    alone.before(model, batches[0], phase(model, 0))
    assert math.isnan(alone.measure(model, batches[0])["ratio"])


def test_noise_needs_two_batches() -> None:
    model, x = learner("mlp", "shared")
    batch = Batch(torch.cat([x, 2 * x]), torch.cat([Y, Y]), 0)
    assert math.isnan(GradientNoise(4, 6).measure(model, batch)["scale"])
    assert GradientNoise(4, 5).measure(model, batch)["trace"] > 0


def test_updates_are_of_what_was_trained() -> None:
    model, x = learner("mlp", "shared")
    probe, batch = Updates(), Batch(x, Y, 0)
    rates = {n: 0.1 if n.endswith("weight") else 0.3 for n, _ in model.named_parameters()}
    del rates["heads.linear.bias"]
    assert probe.measure(model, batch) == {}
    then = {n: p.detach().clone() for n, p in model.named_parameters() if n in rates}
    probe.before(model, batch, Phase(0, rates))
    moved(model)
    now = {n: p.detach() for n, p in model.named_parameters() if n in rates}
    squares = {
        k: sum(float((t**2).sum()) for t in v.values()) for k, v in {"a": then, "b": now}.items()
    }
    moved_by = math.sqrt(sum(float(((now[n] - then[n]) ** 2).sum()) for n in rates))
    lr = sum(r * then[n].numel() for n, r in rates.items()) / sum(t.numel() for t in then.values())
    found = probe.measure(model, batch)
    assert found == {
        "update": pytest.approx(moved_by),
        "relative": pytest.approx(moved_by / math.sqrt(squares["a"])),
        "effective_lr": pytest.approx(lr / squares["b"]),
        "effective_lr_before": pytest.approx(lr / squares["a"]),
    }
    assert probe.measure(model, Batch(x, Y, 1)) == {}
    other = Updates()
    other.load_state_dict(probe.state_dict())
    assert other.measure(model, batch) == found
    probe.before(model, batch, phase(model, 0, "adam", lr=0.5))
    norm = math.sqrt(sum(float((p.detach() ** 2).sum()) for p in model.parameters()))
    assert probe.measure(model, batch)["effective_lr"] == pytest.approx(0.5 / norm)
    strange, _ = learner("noisy", "per_task")
    assert all(math.isnan(v) for v in probe.measure(strange, batch).values())


@pytest.mark.parametrize("of", ["labels", "perturbation"])
def test_curvature_change_is_of_the_backbone(of: str) -> None:
    model, x = learner("mlp", "per_task")
    probe = CurvatureChange(of, count=2, tolerance=1e-8)
    tops = []

    def top(task: int) -> None:
        with requiring(model, [f"backbone.{n}" for n, _ in model.backbone.named_parameters()]):
            batch = Batch(x, Y % 2, task)
            tops.append(top_curvature(model, batch, 2, of=of, tolerance=1e-8))

    found: list[dict[str, float]] = []
    for task in (0, 1):
        top(task)
        with untouched(model):
            probe.before(model, Batch(x, Y % 2, task), phase(model, task))
        moved(model)
        top(task)
        resumed = CurvatureChange(of, count=2, tolerance=1e-8)
        resumed.load_state_dict(probe.state_dict())
        found.append(resumed.measure(model, Batch(x, Y % 2, task)))
    assert math.isnan(found[0]["overlap_start"])
    within, between = curvature_shift(tops[2], tops[3]), curvature_shift(tops[0], tops[2])
    assert found[1]["relative"] == pytest.approx(within.relative)
    assert found[1]["overlap"] == pytest.approx(within.overlap)
    assert found[1]["relative_start"] == pytest.approx(between.relative)
    assert found[1]["overlap_start"] == pytest.approx(between.overlap)
    assert 0 < within.overlap < 1
    assert probe.measure(model, Batch(x, Y % 2, 0)) == {}
    heads_only = Phase(0, {"heads.0.weight": 0.1})
    probe.before(model, Batch(x, Y % 2, 0), heads_only)
    assert math.isnan(probe.measure(model, Batch(x, Y % 2, 0))["relative"])


def test_what_was_replaced_is_not_known() -> None:
    model, x = learner("mlp", "shared")
    probe, batch = Sharpness(), Batch(x, Y, 0)
    probe.before(model, batch, Phase(0, {"backbone.gone": 0.1}))
    assert all(math.isnan(value) for value in probe.measure(model, batch).values())


def test_in_a_run_nothing_changes_what_is_learned() -> None:
    stream = streams.split(holdfast.digits(), tasks=2, scenario="task_incremental")
    training = holdfast.Training(epochs=1, lr=0.05)
    probes: list[Probe] = [
        Updates(), GradientNorms(32), GradientNoise(2, 16), GradientInterference(8),
        TangentRank(4), Sharpness(32), HessianTrace(16, 2), HessianRank(16, draws=2, steps=4),
        CurvatureChange("labels", 2, 16, 0.1),
    ]  # fmt: skip
    found = [
        holdfast.run(
            stream, nets.mlp(stream.input_shape, hidden=(12,)), training=training, probes=p
        )
        for p in (probes, [])
    ]
    assert found[0].loss.tobytes() == found[1].loss.tobytes()
    names = set(found[0].probe_means())
    for probe in probes:
        assert {f"{type(probe).__name__}.{column}" for column in probe.columns} <= names


def test_errors() -> None:
    with pytest.raises(ValueError, match="samples must be 2 or more, got 1"):
        GradientNorms(1)
    with pytest.raises(ValueError, match="batches must be 2 or more"):
        GradientNoise(1)
    with pytest.raises(ValueError, match="batch_size must be 1 or more, got 0"):
        GradientNoise(4, 0)
    with pytest.raises(ValueError, match="tolerance must be above 0"):
        Sharpness(tolerance=0.0)
    with pytest.raises(ValueError, match="draws must be 2 or more"):
        HessianTrace(draws=1)
    with pytest.raises(ValueError, match="epsilon must lie between 0 and 1"):
        HessianRank(epsilon=0.0)
    with pytest.raises(ValueError, match="count must be 1 or more, got 0"):
        CurvatureChange(count=0)
    with pytest.raises(ValueError, match="samples must be 2 or more, got 1"):
        CurvatureChange(samples=1)
