"""Parametrized nets against nets written out by hand: outputs, gradients and learning curves."""

import pytest
import torch
from by_hand import BASE, CASES, Case, Setting, Steps, close, raw_weights
from torch import nn
from torch.nn import functional

from holdfast import richness

STEPS = 6
TRIED = [
    pytest.param(case, setting, id=f"{case}-{setting}")
    for case in CASES
    for name, gamma0, width in (("mup", 0.5, 24), ("mup", 1.3, 8), ("ntp", 1.0, 24))
    for readout_std in (0, 1)
    for depth_scaling in ((True, False) if case.branches else (True,))
    for optimizer in ("sgd", "adam")
    for setting in [Setting(name, gamma0, width, readout_std, depth_scaling, optimizer)]
]
LR = {"sgd": 1.0, "adam": 0.05}


def parametrized(case: Case, setting: Setting) -> nn.Module:
    return richness.parametrize(case.model(setting.width), **setting.options).double()


@pytest.mark.parametrize(("case", "setting"), TRIED)
def test_learning_curves_are_those_by_hand(case: Case, setting: Setting) -> None:
    model, (x, y) = parametrized(case, setting), case.data()
    raw = raw_weights(model)
    by_hand = Steps(raw, case.rates(setting, list(raw)), setting.optimizer, LR[setting.optimizer])
    groups = richness.param_groups(model, setting.optimizer, lr=LR[setting.optimizer])
    kind = torch.optim.SGD if setting.optimizer == "sgd" else torch.optim.Adam
    optimizer = kind(groups)
    losses = []
    for step in range(STEPS):
        outputs, expected = model(x), case.forward(raw, x, setting)
        if step == 0 and setting.readout_std == 0:
            assert not bool(outputs.any())
        close(outputs, expected)
        loss = functional.cross_entropy(outputs, y)
        optimizer.zero_grad()
        loss.backward()
        gradients = by_hand.take(functional.cross_entropy(expected, y))
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None
            close(parameter.grad, gradients[name])
        optimizer.step()
        losses.append(loss.item())
    assert min(losses[1:]) < losses[0] - 0.01  # else there was nothing to compare
    for name, parameter in model.named_parameters():
        close(parameter, raw[name])


@pytest.mark.parametrize("case", CASES, ids=str)
def test_adamw_has_the_rates_of_adam(case: Case) -> None:
    setting = Setting(optimizer="adamw")
    model = parametrized(case, setting)
    expected = case.rates(setting, [name for name, _ in model.named_parameters()])
    assert richness.rates(model, "adamw") == pytest.approx(expected, rel=1e-12)
    assert richness.rates(model, "adam") == richness.rates(model, "adamw")


@pytest.mark.parametrize("case", CASES, ids=str)
def test_raw_weights_are_standard_normal(case: Case) -> None:
    model = richness.parametrize(case.model(64), readout_std=1)
    for name, parameter in model.named_parameters():
        values = parameter.detach().flatten()
        if name.endswith("bias"):
            assert not bool(values.any())
            continue
        # Four standard errors of the mean and of the variance.
        assert abs(float(values.mean())) < 4 * len(values) ** -0.5
        assert abs(float(values.var()) - 1) < 4 * (2 / len(values)) ** 0.5


@pytest.mark.parametrize("gamma0", [0.25, 1.0])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_sp_is_the_plain_net_with_its_output_divided(case: Case, gamma0: float) -> None:
    """f = plain / gamma_0 at a rate gamma_0^2: Chizat's form of the same dial."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        plain = case.model(24).double()
    model = richness.parametrize(case.model(24), "sp", gamma0=gamma0, readout_std=1).double()
    model.load_state_dict(plain.state_dict())
    x, y = case.data()
    ours = torch.optim.SGD(richness.param_groups(model, "sgd", lr=0.1))
    theirs = torch.optim.SGD(plain.parameters(), lr=0.1 * gamma0**2)
    for _ in range(STEPS):
        bias = plain[1].bias if case.bias else 0.0
        features = plain[0](x)
        expected = features @ plain[1].weight.T / gamma0 + bias
        outputs = model(x)
        close(outputs, expected)
        for optimizer, f in ((ours, outputs), (theirs, expected)):
            optimizer.zero_grad()
            functional.cross_entropy(f, y).backward()
            optimizer.step()
    for mine, other in zip(model.parameters(), plain.parameters(), strict=True):
        close(mine, other)


def test_the_width_and_the_base_may_be_told() -> None:
    case = CASES[0]
    told = richness.parametrize(case.model(24), base_width=2 * BASE, width=48, readout_std=1)
    found = richness.parametrize(case.model(24), base_width=BASE, readout_std=1)
    assert richness.rates(told, "adam") == richness.rates(found, "adam")
    x = case.data()[0].float()
    assert torch.equal(told(x), found(x))
