import pytest
import torch
from perturbed_cases import shake
from torch import nn
from torch.nn import functional

from holdfast.methods import halrp
from holdfast.methods.halrp.importance import check_importance, layer_importance
from holdfast.methods.halrp.layers import perturbed_layers
from holdfast.nets.scaled import ScaledLinear


def adapted(**how):
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        net = nn.Sequential(
            nn.Conv2d(2, 4, 3, groups=2), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(),
            nn.Linear(4 * 9, 6), nn.Tanh(), nn.Linear(6, 3),
        ).double()  # fmt: skip
    net[4].__class__, net[4].multiplier = ScaledLinear, 0.7
    model = halrp.adapt(net, heads=["6"], **how).eval()
    model.add_free("t")
    shake(nn.ModuleList(m.tasks["t"] for _, m in perturbed_layers(model.model)), by=0.1)
    return model


def data(n=11):
    draws = torch.Generator().manual_seed(1)
    x = torch.randn(n, 2, 5, 5, generator=draws).double()
    return x, torch.randint(0, 3, (n,), generator=draws)


def gradients(model, x, y):
    weights = [m.tasks["t"].weight for _, m in perturbed_layers(model.model)]
    return torch.autograd.grad(functional.cross_entropy(model(x, "t"), y), weights)


@pytest.mark.parametrize("form", ["mean", "sum"])
def test_batch_forms_against_their_formula(form):
    model, (x, y) = adapted(), data()
    batches = list(zip(x.split(4), y.split(4), strict=True))
    expected = {"0": 0.0, "4": 0.0}
    for a, b in batches:
        for name, g in zip(expected, gradients(model, a, b), strict=True):
            square = (g**2).mean() if form == "mean" else (g**2).sum()
            expected[name] += len(a) * square.item() / len(batches)
    assert layer_importance(model, "t", batches, form) == pytest.approx(expected, rel=1e-12)


def test_the_exact_form_is_a_mean_over_samples_whatever_the_batches():
    model, (x, y) = adapted(), data()
    expected = {"0": 0.0, "4": 0.0}
    for i in range(len(x)):
        for name, g in zip(expected, gradients(model, x[i : i + 1], y[i : i + 1]), strict=True):
            expected[name] += (g**2).sum().item() / len(x)
    for size in (1, 4, 11):
        batches = zip(x.split(size), y.split(size), strict=True)
        assert layer_importance(model, "t", batches, "fisher") == pytest.approx(expected, rel=1e-11)
    model.add_free("other")  # no other task's free weights are counted in
    batches = [(x, y)]
    assert layer_importance(model, "t", batches, "fisher") == pytest.approx(expected, rel=1e-11)


def test_nothing_of_the_model_changes():
    model, (x, y) = adapted(), data()
    model.train_only("t")
    before = {n: t.clone() for n, t in model.state_dict().items()}
    asked = {n: p.requires_grad for n, p in model.named_parameters()}
    for form in ("mean", "fisher"):
        layer_importance(model, "t", [(x, y)], form)
    assert all(torch.equal(t, before[n]) for n, t in model.state_dict().items())
    assert asked == {n: p.requires_grad for n, p in model.named_parameters()}
    assert all(p.grad is None for p in model.parameters())


def test_another_way_in_and_another_loss():
    model, (x, y) = adapted(), data()
    found = layer_importance(
        model, "t", [(x, y)], "sum", lambda x: 2 * model(x, "t"), functional.cross_entropy
    )
    plain = layer_importance(model, "t", [(x, y)], "sum")
    assert found["4"] != pytest.approx(plain["4"], rel=1e-3)
    assert layer_importance(model, "t", [], "none") == {"0": 1.0, "4": 1.0}


def test_compress_goes_from_free_weights_to_a_plan():
    model, (x, y) = adapted(), data()
    free = model(x, "t").detach()
    plan = halrp.compress(model, "t", [(x, y)], alpha=1.0, most=None)
    assert model.plans["t"] == plan
    assert halrp.ranks(model, "t") == {"0": 4, "4": 6}
    assert torch.allclose(model(x, "t"), free, rtol=0, atol=1e-12)
    assert not model.training


def test_bad_input():
    model, (x, y) = adapted(), data()
    with pytest.raises(ValueError, match=r"importance must be one of .*fisher.*, got 'trace'"):
        check_importance("trace")
    for form in ("sum", "fisher"):
        with pytest.raises(ValueError, match="batches"):
            layer_importance(model, "t", [], form)
    model.add("low", 2)
    with pytest.raises(ValueError, match="task 'low' has no free weights in layer '0'"):
        layer_importance(model, "low", [(x, y)])
    with pytest.raises(ValueError, match="task 'low' has no free weights in layer '0'"):
        halrp.compress(model, "low", [(x, y)])
    with pytest.raises(ValueError, match="task 'no' is unknown"):
        halrp.compress(model, "no", [(x, y)])
