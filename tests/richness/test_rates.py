"""Rates of roles, groups of optimizers, and what has no rule."""

import inspect
import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from holdfast import richness
from holdfast.nets import GrowingHead, Learner, SharedHead, TaskHeads
from holdfast.nets.scaled import Role, Scaling
from holdfast.richness.rates import OptimizerName, rate


def net(width: int = 32) -> nn.Module:
    return nn.Sequential(
        nn.Linear(5, width), nn.LayerNorm(width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(),
        nn.Linear(width, 3),
    )  # fmt: skip


positive = st.floats(1e-3, 1e3)


@given(positive, positive, positive)
def test_table(gamma0: float, ratio: float, branch: float) -> None:
    """Every cell, written out for muP in gamma_0 and r alone."""
    mup = Scaling("mup", {}, gamma=gamma0 * math.sqrt(ratio), ratio=ratio, branch=branch)
    cells: dict[tuple[Role, OptimizerName], float] = {
        ("input", "sgd"): gamma0**2 * ratio,
        ("hidden", "sgd"): gamma0**2 * ratio,
        ("vector", "sgd"): gamma0**2 * ratio,
        ("readout", "sgd"): gamma0**2 * ratio,
        ("offset", "sgd"): 1.0,
        ("input", "adam"): gamma0 * branch,
        ("hidden", "adam"): gamma0 / math.sqrt(ratio) * branch,
        ("vector", "adam"): gamma0 * branch,
        ("offset", "adam"): 1.0,
    }
    for (role, optimizer), expected in cells.items():
        assert rate(mup, role, optimizer) == pytest.approx(expected, rel=1e-12)
        if optimizer == "adam":
            assert rate(mup, role, "adamw") == rate(mup, role, "adam")
    assert rate(Scaling("mup", {}, gamma=mup.gamma, ratio=ratio), "readout", "adam") == (
        pytest.approx(gamma0, rel=1e-12)
    )
    ntp = Scaling("ntp", {}, gamma=gamma0, ratio=ratio, branch=branch)
    assert rate(ntp, "hidden", "sgd") == pytest.approx(gamma0**2)
    assert rate(ntp, "hidden", "adam") == pytest.approx(gamma0 / ratio * branch)
    sp = Scaling("sp", {}, gamma=gamma0, ratio=ratio, branch=branch)
    for role in ("input", "hidden", "vector", "readout", "offset"):
        assert rate(sp, role, "sgd") == pytest.approx(gamma0**2)
        assert rate(sp, role, "adamw") == pytest.approx(gamma0)


def test_every_parameter_has_the_rate_of_its_role() -> None:
    model = richness.parametrize(net(), gamma0=0.5, base_width=8)
    gamma, ratio = 0.5 * 2, 4
    assert richness.rates(model, "sgd") == {
        **dict.fromkeys([n for n, _ in model.named_parameters()], gamma**2), "5.bias": 1.0,
    }  # fmt: skip
    assert richness.rates(model, "adam") == {
        "0.weight": gamma / 2, "0.bias": gamma / 2, "1.weight": gamma / 2, "1.bias": gamma / 2,
        "3.weight": gamma / ratio, "3.bias": gamma / 2, "5.weight": gamma / 2, "5.bias": 1.0,
    }  # fmt: skip


@pytest.mark.parametrize("build", [TaskHeads, GrowingHead, lambda w: SharedHead(w, (0, 1, 2))])
def test_rows_of_heads_have_the_rate_of_a_readout(build: Any) -> None:
    learner = Learner(nn.Sequential(nn.Linear(5, 16), nn.ReLU()), build(16))
    richness.parametrize(learner, gamma0=0.5, base_width=4)
    for index, classes in enumerate([(0, 1), (2,)]):
        learner.heads.accommodate(index, classes)
    for name, factor in richness.rates(learner, "adam").items():
        offset = name.startswith("heads") and name.endswith("bias")
        assert factor == (1.0 if offset else pytest.approx(0.5))


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_groups_hold_every_trainable_parameter_once(optimizer: OptimizerName) -> None:
    model = richness.parametrize(net(), gamma0=0.5)
    model[0].bias.requires_grad_(False)
    groups = richness.param_groups(model, optimizer, lr=0.3)
    held = [id(p) for group in groups for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in model.parameters() if p.requires_grad)
    named, factors = dict(model.named_parameters()), richness.rates(model, optimizer)
    assert "0.bias" not in factors
    for group in groups:
        assert group["lr"] == 0.3 * group["factor"]
        for name, factor in factors.items():
            inside = any(p is named[name] for p in group["params"])
            assert inside == (factor == group["factor"])


def test_a_plain_model_makes_one_group() -> None:
    model = net()
    (group,) = richness.param_groups(model, "adam", lr=0.3, weight_decay=0.1)
    assert (group["lr"], group["weight_decay"], group["factor"]) == (0.3, 0.1, 1.0)
    assert set(richness.rates(model).values()) == {1.0}


@pytest.mark.parametrize("width", [8, 256])
@pytest.mark.parametrize("gamma0", [0.01, 1.0])
@pytest.mark.parametrize(
    ("optimizer", "kind", "own"),
    [
        ("sgd", torch.optim.SGD, {}),
        ("sgd", torch.optim.SGD, {"momentum": 0.9}),
        ("adamw", torch.optim.AdamW, {}),
    ],
)
def test_a_step_decays_all_weights_alike(
    optimizer: OptimizerName, kind: Any, own: dict[str, Any], gamma0: float, width: int
) -> None:
    model = richness.parametrize(net(width), gamma0=gamma0, readout_std=1).double()
    before = [p.detach().clone() for p in model.parameters()]
    used = kind(richness.param_groups(model, optimizer, lr=0.2, weight_decay=0.1), **own)
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    used.step()
    for p, was in zip(model.parameters(), before, strict=True):
        torch.testing.assert_close(p.detach(), was * (1 - 0.2 * 0.1), rtol=1e-12, atol=0)


def test_schedulers_of_torch_keep_the_ratios() -> None:
    model = richness.parametrize(net(), gamma0=0.5)
    used = torch.optim.Adam(richness.param_groups(model, "adam", lr=0.3))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(used, T_max=10)
    for step in range(1, 6):
        used.step()
        schedule.step()
        for group in used.param_groups:
            expected = 0.3 * group["factor"] * (1 + math.cos(math.pi * step / 10)) / 2
            assert group["lr"] == pytest.approx(expected)


def test_optimizers_without_a_rule() -> None:
    model = richness.parametrize(net())
    message = "optimizer must be one of sgd, adam, adamw, got 'rmsprop'.*would be silent"
    with pytest.raises(ValueError, match=message):
        richness.rates(model, "rmsprop")
    with pytest.raises(ValueError, match=message):
        inspect.unwrap(richness.param_groups)(model, "rmsprop")
    with pytest.raises(ValueError, match=r"weight_decay 0.1 with optimizer 'adam'.*use 'adamw'"):
        richness.param_groups(model, "adam", weight_decay=0.1)
    richness.param_groups(net(), "adam", weight_decay=0.1)  # of a plain model it is torch's


@pytest.mark.parametrize("lr", [0.0, -1.0, math.nan, math.inf])
def test_rates_that_are_none(lr: float) -> None:
    with pytest.raises(ValueError, match=f"lr must be positive and finite, got {lr}"):
        richness.param_groups(net(), lr=lr)
    if lr:
        with pytest.raises(ValueError, match=r"weight_decay must be 0 or more, and finite"):
            richness.param_groups(net(), weight_decay=lr)


def test_parameters_that_came_later_have_no_rate() -> None:
    model = richness.parametrize(net())
    model.append(nn.Linear(3, 3))
    with pytest.raises(ValueError, match=r"parameter 6.weight is in no layer.*on the whole model"):
        richness.param_groups(model)
    model[6].requires_grad_(False)
    richness.param_groups(model)
    model[0].register_parameter("gain", nn.Parameter(torch.ones(2)))
    with pytest.raises(ValueError, match=r"parameter 0.gain is in no layer"):
        richness.rates(model, "adam")
