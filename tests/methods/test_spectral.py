import pytest
import torch
from nets_small import NETS, trained
from tiny_loop import TinyLoop, make_learner, make_stream, same, tensors
from torch import nn

from holdfast.methods import Finetune, SpectralPenalty, SpectralRegularisation
from holdfast.methods.spectral import power_step
from holdfast.nets import mlp
from holdfast.richness import parametrize
from holdfast.streams.stream import Scenario


def largest(weight: torch.Tensor) -> torch.Tensor:
    return torch.linalg.svdvals(weight.flatten(1))[0]


def exact(model: nn.Module, power: int, biases: bool) -> torch.Tensor:
    total = torch.zeros((), dtype=torch.float64)
    for layer in model.modules():
        if isinstance(layer, (nn.Linear, nn.Conv2d)):
            total = total + (largest(layer.weight) ** power - 1) ** 2
            if biases and layer.bias is not None:
                total = total + layer.bias.square().sum()
    return total


def net() -> nn.Module:
    made = nn.Sequential(nn.Conv2d(2, 4, 3), nn.GroupNorm(1, 4), nn.Flatten(), nn.Linear(16, 3))
    draws = torch.Generator().manual_seed(4)
    made = made.double()
    with torch.no_grad():
        for p in made.parameters():
            p.copy_(torch.randn(p.shape, generator=draws, dtype=torch.float64))
    return made


@pytest.mark.parametrize("power", [1, 2, 3])
@pytest.mark.parametrize("biases", [False, True])
def test_value_and_gradient_become_those_of_the_svd(power: int, biases: bool) -> None:
    model, penalty = net(), SpectralPenalty(power, biases)
    for _ in range(400):
        found = penalty(model)
    wanted = exact(model, power, biases)
    assert found.item() == pytest.approx(wanted.item(), rel=1e-10)
    parameters = [p for n, p in model.named_parameters() if n[0] != "1" and (biases or p.ndim > 1)]
    for got, right in zip(
        torch.autograd.grad(found, parameters), torch.autograd.grad(wanted, parameters), strict=True
    ):
        torch.testing.assert_close(got, right, rtol=1e-5, atol=1e-6)


def test_the_estimate_rises_to_the_largest_singular_value_and_never_beyond() -> None:
    draws = torch.Generator().manual_seed(0)
    matrix = torch.randn(7, 5, generator=draws, dtype=torch.float64)
    right = torch.randn(5, generator=draws, dtype=torch.float64)
    right, top, last = right / right.norm(), largest(matrix), torch.zeros(())
    for _ in range(200):
        left, right, sigma = power_step(matrix, right)
        assert sigma.item() == pytest.approx((left @ matrix @ right).item(), rel=1e-12)
        assert last - 1e-12 <= sigma <= top + 1e-12
        last = sigma
    assert last.item() == pytest.approx(top.item(), rel=1e-10)


def test_one_step_a_call_follows_weights_that_move() -> None:
    model, penalty = net(), SpectralPenalty(1, False)
    weight = model[3].weight
    draws = torch.Generator().manual_seed(5)
    model[0].requires_grad_(False)
    for _ in range(300):
        with torch.no_grad():
            weight += 1e-3 * torch.randn(weight.shape, generator=draws, dtype=torch.float64)
        found = penalty(model)
    assert found.sqrt().item() + 1 == pytest.approx(largest(weight).item(), rel=1e-3)


def test_a_weight_of_zero_keeps_its_vector_and_is_seen_once_it_grows() -> None:
    layer, penalty = nn.Linear(3, 2, bias=False).double(), SpectralPenalty()
    nn.init.zeros_(layer.weight)
    found = penalty(layer)
    found.backward()
    assert found.item() == 1.0
    assert torch.equal(layer.weight.grad, torch.zeros(2, 3, dtype=torch.float64))
    nn.init.eye_(layer.weight)
    for _ in range(50):
        found = penalty(layer)
    assert found.item() == pytest.approx(0, abs=1e-12)


def test_multipliers_count() -> None:
    model = parametrize(nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 3))).double()
    hidden, readout = model.get_submodule("0"), model.get_submodule("2")
    readout.requires_grad_(False)
    penalty = SpectralPenalty(1, False)
    for _ in range(300):
        found = penalty(model)
    wanted = (largest(hidden.weight) * hidden.multiplier - 1) ** 2
    assert found.item() == pytest.approx(wanted.item(), rel=1e-8)


@pytest.mark.parametrize("scenario", ["class_incremental", "task_incremental"])
def test_gradient_is_that_of_the_penalty_of_what_the_batch_reaches(scenario: Scenario) -> None:
    stream = make_stream(scenario, dtype=torch.float64)
    strength = 0.3
    loop = TinyLoop(SpectralRegularisation(strength=strength), make_learner(stream), stream)
    loop.until(2)
    context = loop.begin()
    learner, method = loop.learner, loop.method
    batch = next(context.source.epoch(7, 0))
    for _ in range(150):  # the vectors settle
        learner.zero_grad()
        loss, logits = method.loss(learner, batch, context)
        assert torch.equal(loss, context.criterion(logits, batch.y))
        loss.backward()
        method.after_backward(learner, batch, context)
    got = {n: p.grad for n, p in learner.named_parameters()}
    learner.zero_grad()
    wanted = context.criterion(learner(batch.x, 2), batch.y)
    for name, p in learner.named_parameters():
        if got[name] is not None:
            term = p.square().sum() if p.ndim == 1 else (largest(p) ** 2 - 1) ** 2
            wanted = wanted + strength * term
    wanted.backward()
    for name, p in learner.named_parameters():
        if p.grad is None:
            assert got[name] is None
            assert name.startswith(("heads.heads.0", "heads.heads.1"))
        else:
            torch.testing.assert_close(got[name], p.grad, rtol=1e-5, atol=1e-7)


def test_singular_values_go_to_one_from_above_and_below() -> None:
    stream = make_stream(tasks=1, rows=56)
    for factor in (0.3, 3.0):
        learner = make_learner(stream)
        with torch.no_grad():
            learner.backbone[0].weight.mul_(factor)
        method = SpectralRegularisation(strength=0.5)
        before = abs(largest(learner.backbone[0].weight) - 1)
        TinyLoop(method, learner, stream, epochs=20).run()
        assert abs(largest(learner.backbone[0].weight) - 1) < 0.2 * before
        assert abs(largest(learner.heads.weight) - 1) < 0.2


def test_strength_zero_is_plain_training() -> None:
    stream = make_stream()
    plain = TinyLoop(Finetune(), make_learner(stream), stream).run()
    none = TinyLoop(SpectralRegularisation(strength=0.0), make_learner(stream), stream).run()
    assert same(tensors(plain), tensors(none))


@pytest.mark.parametrize("name", NETS)
def test_runs_on_every_net(name: str) -> None:
    method = SpectralRegularisation()
    trained(name, method)
    assert method.state_dict()["right"]


def test_refused() -> None:
    with pytest.raises(ValueError, match=r"strength must be a number of at least 0, got -1"):
        SpectralRegularisation(strength=-1.0)
    with pytest.raises(ValueError, match=r"power must be a positive integer, got 0"):
        SpectralRegularisation(power=0)
    with pytest.raises(ValueError, match=r"Sequential has no trainable weight matrix"):
        SpectralPenalty()(mlp((3,)).requires_grad_(False))
    with pytest.raises(ValueError, match=r"the model is a torch.*Bilinear"):
        SpectralPenalty()(nn.Bilinear(2, 2, 1))
