import copy
import math

import pytest
import torch
from nets_small import NETS, make, trained
from tiny_loop import TinyLoop, make_learner, make_stream, same, tensors
from torch import nn

from holdfast import nets
from holdfast.methods import (
    Finetune,
    WeightNormProjection,
    frobenius_norms,
    project_norms,
    rate_cycle,
)
from holdfast.methods.norm_projection import Layers, layers_before_norm
from holdfast.nets.learner import build_learner


def test_norms_are_kept_while_directions_are_learned() -> None:
    stream = make_stream("class_incremental", dtype=torch.float64)
    loop = TinyLoop(WeightNormProjection(layers="all"), make_learner(stream), stream)
    weight = loop.learner.backbone[0].weight
    start, head = weight.detach().clone(), math.nan
    for _ in loop.steps():
        assert weight.norm().item() == pytest.approx(start.norm().item(), rel=1e-12)
        if loop.open:
            if (loop.epoch, loop.step) == (0, 1):  # of the rows of this task
                head = loop.learner.heads.weight.norm().item()
            assert loop.learner.heads.weight.norm().item() == pytest.approx(head, rel=1e-12)
    assert (weight - start).norm() > 0.01


def test_heads_are_free_by_default() -> None:
    stream = make_stream("domain_incremental")
    loop = TinyLoop(WeightNormProjection(), make_learner(stream), stream, epochs=4)
    before = [
        p.norm().item() for p in (loop.learner.backbone[0].weight, loop.learner.heads.linear.weight)
    ]
    learner = loop.run()
    assert learner.backbone[0].weight.norm().item() == pytest.approx(before[0], rel=1e-5)
    assert abs(learner.heads.linear.weight.norm().item() - before[1]) > 1e-3


NORMED = {
    "mlp": lambda: nets.mlp((5,), (6, 4), norm="layer", activation="crelu"),
    "cnn": lambda: nets.cnn((1, 8, 8), (2, 3), (5,), norm="layer"),
    "lenet": lambda: nets.lenet((1, 8, 8), (2, 3), (5,), norm="layer"),
    "resnet18": lambda: nets.resnet18((1, 16, 16), width=2, norm="layer"),
    "residual": lambda: nets.residual((1, 8, 8), 3, 3, norm="layer", bias=True),
    "lenet batch": lambda: nets.lenet((1, 8, 8), (2, 3), (5,)),
    "resnet18 batch": lambda: nets.resnet18((1, 16, 16), width=2),
}


@pytest.mark.parametrize("name", NORMED)
def test_scale_of_layers_before_a_norm_does_not_matter(name: str) -> None:
    net = NORMED[name]().double()
    for module in net.modules():
        if hasattr(module, "eps"):
            module.eps = 1e-14
    x = torch.randn(4, *((5,) if name == "mlp" else net[0].weight.shape[1:2] + _side(name)))
    before = layers_before_norm(net)
    matrices = {p for p, m in net.named_modules() if isinstance(m, (nn.Linear, nn.Conv2d))}
    # The three convolutions between the stages of `residual` are the only ones without a norm.
    assert matrices - before == ({"conv1", "conv2", "conv3"} if name == "residual" else set())
    wanted = net(x.double())
    norms = frobenius_norms(net)
    scaled = {
        f"{path}.weight": (2.0 + i) * norms[f"{path}.weight"] for i, path in enumerate(before)
    }
    project_norms(net, scaled)
    torch.testing.assert_close(net(x.double()), wanted, rtol=1e-9, atol=1e-9)
    assert frobenius_norms(net) == pytest.approx(norms | scaled, rel=1e-12)


def _side(name: str) -> tuple[int, int]:
    side = 16 if "resnet" in name else 8
    return side, side


def test_before_norm_projects_these_alone() -> None:
    stream = make_stream("domain_incremental")
    net = nets.mlp((5,), (6, 4), norm="layer")
    net.norm2 = nn.Identity()
    norms = frobenius_norms(net)
    learner = build_learner(net, stream)
    TinyLoop(WeightNormProjection(layers="before_norm"), learner, stream, epochs=4).run()
    after = frobenius_norms(net)
    assert after["linear1.weight"] == pytest.approx(norms["linear1.weight"], rel=1e-5)
    assert abs(after["linear2.weight"] - norms["linear2.weight"]) > 1e-3


def test_the_cycle_rises_to_one_and_falls_to_the_floor() -> None:
    factors = [rate_cycle(step, 40, 0.25, 0.2) for step in range(40)]
    assert factors[:10] == pytest.approx([0.2 + 0.8 * (i + 1) / 10 for i in range(10)])
    assert max(factors) == factors[9] == 1.0
    assert factors[-1] == pytest.approx(0.2)
    assert sorted(factors[9:], reverse=True) == factors[9:]
    assert [rate_cycle(step, 3, 1.0, 0.0) for step in range(3)] == pytest.approx([1 / 3, 2 / 3, 1])
    assert rate_cycle(7, 5, 0.1, 0.3) == pytest.approx(0.3)  # beyond the last step
    assert rate_cycle(0, 1) == 1.0


def test_each_step_is_taken_at_the_rate_of_the_cycle_which_begins_anew_at_each_task() -> None:
    stream = make_stream("domain_incremental", dtype=torch.float64)
    loop = TinyLoop(WeightNormProjection(floor=0.1), make_learner(stream), stream)
    rates: list[float] = []

    class Spying(torch.optim.SGD):
        def step(self, closure: None = None) -> None:
            rates.append(self.param_groups[0]["lr"])
            super().step()

    loop.make_optimizer = lambda: setattr(  # type: ignore[method-assign]
        loop, "optimizer", Spying(loop.learner.parameters(), lr=0.5)
    )
    loop.run()
    wanted = []
    for task in stream:
        steps = 2 * math.ceil(len(task.train) / 7)
        wanted += [0.5 * rate_cycle(i, steps, 0.1, 0.1) for i in range(steps)]
    assert rates == pytest.approx(wanted)
    assert loop.optimizer.param_groups[0]["lr"] == 0.5


def test_without_a_cycle_the_rate_is_that_of_training() -> None:
    stream = make_stream("domain_incremental", dtype=torch.float64)
    free = TinyLoop(Finetune(), make_learner(stream), stream)
    held = TinyLoop(WeightNormProjection(cycle=False), make_learner(stream), stream)
    for _ in zip(free.steps(), held.steps(), strict=True):
        break  # after one step they differ by the projection alone
    wanted = copy.deepcopy(free.learner)
    project_norms(
        wanted, {"backbone.0.weight": make_learner(stream).backbone[0].weight.norm().item()}
    )
    torch.testing.assert_close(tensors(held.learner), tensors(wanted))
    assert not same(tensors(free.learner), tensors(wanted))


@pytest.mark.parametrize("layers", ["backbone", "before_norm", "all"])
@pytest.mark.parametrize("name", NETS)
def test_runs_on_every_net_or_says_why_not(name: str, layers: Layers) -> None:
    method = WeightNormProjection(layers=layers)
    if name == "lora":  # whose second matrices start at 0
        match = "no layer of the backbone" if layers == "before_norm" else r"lora_B\S+ is 0, where"
        with pytest.raises(ValueError, match=match):
            trained(name, method)
    elif name == "vit" and layers == "before_norm":
        with pytest.raises(ValueError, match=r"no layer of the backbone.*norm='layer'"):
            trained(name, method)
    else:
        before = frobenius_norms(make(name)[0])
        after = frobenius_norms(trained(name, method))
        assert set(method.state_dict()["norms"]) <= set(after)
        for weight in set(before) & set(method.state_dict()["norms"]):
            assert after[weight] == pytest.approx(before[weight], rel=1e-5)


def test_refused() -> None:
    with pytest.raises(ValueError, match=r"warmup must be .* at most 1\.0, got 1\.5"):
        WeightNormProjection(warmup=1.5)
    with pytest.raises(ValueError, match=r"floor must be"):
        WeightNormProjection(floor=-0.1)
    net = nets.mlp((3,), (4,))
    before = tensors(net)
    with pytest.raises(ValueError, match=r"norms names linear9\.weight, no .* it has linear1\.wei"):
        project_norms(net, {"linear1.weight": 2.0, "linear9.weight": 1.0})
    assert same(tensors(net), before)
    nn.init.zeros_(net.get_submodule("linear1").weight)
    with pytest.raises(ValueError, match=r"linear1\.weight is 0, where a projection"):
        frobenius_norms(net)
