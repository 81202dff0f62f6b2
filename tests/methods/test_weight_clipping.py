import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from nets_small import NETS, make, trained
from tiny_loop import TinyLoop, make_learner, make_stream, same, tensors
from torch import nn

from holdfast.methods import Finetune, WeightClipping, clip_weights
from holdfast.nets import mlp
from holdfast.richness import parametrize
from holdfast.streams.stream import Scenario


def assert_within(model: nn.Module, kappa: float) -> None:
    for layer in model.modules():
        if isinstance(layer, (nn.Linear, nn.Conv2d)) and layer.weight.requires_grad:
            bound = kappa / math.sqrt(layer.weight[0].numel())
            for p in layer.parameters(recurse=False):
                assert p.abs().max() <= bound * (1 + 1e-6)


@pytest.mark.parametrize("scenario", ["class_incremental", "task_incremental"])
def test_the_bound_is_never_exceeded_after_a_step(scenario: Scenario) -> None:
    stream = make_stream(scenario)
    loop = TinyLoop(WeightClipping(kappa=0.9), make_learner(stream, norm=True), stream)
    bound = 0.9 / math.sqrt(8)
    touched = False
    for _ in loop.steps():
        assert_within(loop.learner.backbone, 0.9)
        heads = torch.cat([p.detach().flatten() for p in loop.learner.heads.parameters()])
        assert heads.abs().max() <= bound * (1 + 1e-6)
        touched |= bool((heads.abs() >= bound * (1 - 1e-6)).any())
    assert touched
    # Gains of norm layers start at 1, far beyond.
    assert loop.learner.backbone[1].weight.min() > 0.5


@given(st.floats(0.01, 3.0))
def test_clipping_is_the_nearest_point_of_the_box(kappa: float) -> None:
    net = mlp((3,), (4,), norm="layer").double()
    with torch.no_grad():
        for p in net.parameters():
            p.mul_(3.0)
    before = {n: p.detach().clone() for n, p in net.named_parameters()}
    clip_weights(net, kappa)
    bound = kappa / math.sqrt(3)
    for name, p in net.named_parameters():
        wanted = before[name] if "norm" in name else before[name].clamp(-bound, bound)
        assert torch.equal(p, wanted)
    again = tensors(net)
    clip_weights(net, kappa)
    assert same(tensors(net), again)


def test_heads_can_be_left_alone() -> None:
    stream = make_stream()
    free = TinyLoop(WeightClipping(kappa=0.1, clip_head=False), make_learner(stream), stream).run()
    assert_within(free.backbone, 0.1)
    assert free.heads.weight.abs().max() > 0.1 / math.sqrt(8)
    net = mlp((3,), (4, 4))
    before = tensors(net.get_submodule("linear2"))
    clip_weights(net, 0.1, skip=["linear2"])
    assert same(tensors(net.get_submodule("linear2")), before)
    assert_within(net.get_submodule("linear1"), 0.1)


def test_a_wide_bound_is_plain_training() -> None:
    stream = make_stream()
    plain = TinyLoop(Finetune(), make_learner(stream), stream).run()
    wide = TinyLoop(WeightClipping(kappa=1e6), make_learner(stream), stream).run()
    assert same(tensors(plain), tensors(wide))


def test_of_a_parametrized_net_the_multiplied_weight_is_bounded() -> None:
    net = parametrize(nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 3)), gamma0=0.5)
    hidden = net.get_submodule("0")
    clip_weights(net, 0.3)
    largest = hidden.weight.abs().max().item()
    assert hidden.multiplier * largest == pytest.approx(0.3 / 4, rel=1e-6)


@pytest.mark.parametrize("name", NETS)
def test_runs_on_every_net(name: str) -> None:
    assert_within(trained(name, WeightClipping(kappa=0.5)), 0.5)


def test_refused_before_any_work() -> None:
    with pytest.raises(ValueError, match=r"kappa must be a number above 0, got 0.0"):
        WeightClipping(kappa=0.0)
    with pytest.raises(ValueError, match=r"kappa must be a number above 0, got -1"):
        clip_weights(mlp((3,)), -1.0)
    learner, stream = make("mlp")
    learner.backbone = nn.Sequential(learner.backbone, nn.PReLU(), nn.Bilinear(2, 2, 1))
    with pytest.raises(ValueError, match=r"backbone\.2 is a torch.*Bilinear"):
        WeightClipping().check(learner, stream)
