import math
from typing import Any

import pytest
import torch
from tiny_loop import TinyLoop, make_learner, make_stream
from torch import Tensor, nn

import holdfast
from holdfast import nets, streams
from holdfast.methods import ContinualBackprop, LowUtilityReplacer
from holdfast.nets.scaled import Scaling, scale

DRAWS = torch.Generator().manual_seed(0)
IMAGES = torch.randn(12, 1, 6, 6, dtype=torch.float64, generator=DRAWS)


def scaled() -> nn.Module:
    """Read by a layer whose weight counts a tenth."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 5), nn.Tanh(), nn.Linear(5, 2)).double()
    scale(model[3], 0.1, Scaling("ntp", {"weight": "readout", "bias": "offset"}))
    return model


def small() -> nn.Module:
    return nets.cnn((1, 6, 6), channels=(4,), hidden=(6, 3)).double()


def step(model: nn.Module, replacer: LowUtilityReplacer, optimizer: Any, x: Tensor) -> Any:
    with replacer.observed():
        loss = model(x).square().mean()
    optimizer.zero_grad()
    loss.backward()
    return replacer.step(optimizer)


@pytest.mark.parametrize(("rho", "maturity"), [(0.02, 20), (0.03, 0)])
def test_replaces_at_the_rate_rho(rho: float, maturity: int) -> None:
    """rho of the mature units a step, which are those whose age is above the maturity."""
    model = nets.mlp((3,), hidden=(40, 10, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    replacer = LowUtilityReplacer(model, torch.zeros(2, 3), rho=rho, maturity=maturity)
    x = torch.randn(4, 3, generator=DRAWS)
    replaced, due = {"linear1": 0, "linear2": 0}, {"linear1": 0.0, "linear2": 0.0}
    for _ in range(200):
        eligible = {n: int((age + 1 > maturity).sum()) for n, age in replacer.ages.items()}
        done = step(model, replacer, optimizer, x)
        for name, count in eligible.items():
            replaced[name] += done.get(name, 0)
            due[name] += rho * count
            assert abs(due[name] - replaced[name]) < 1 + 1e-6
    # In a steady state a unit waits `maturity` steps, then 1 / rho on average.
    for name, units in (("linear1", 40), ("linear2", 10)):
        assert replaced[name] / 200 == pytest.approx(units / (maturity + 1 / rho), rel=0.2)


class Slow:
    """The definition, unit by unit."""

    def __init__(self, units: int, decay: float) -> None:
        self.decay = decay
        self.utility, self.age = [0.0] * units, [0] * units

    def count(self, h: Tensor, outgoing: list[Tensor]) -> None:
        for i in range(len(self.utility)):
            self.age[i] += 1
            now = float(h[:, i].abs().mean()) * float(outgoing[i].abs().mean())
            self.utility[i] = self.decay * self.utility[i] + (1 - self.decay) * now


class Spied(LowUtilityReplacer):
    """Lets the slow ones count after the optimizer's step, before any replacement."""

    given: dict[str, Tensor]
    slow: dict[str, Slow]

    def after(self, optimizer: Any) -> dict[str, int]:
        for name, own in self.slow.items():
            own.count(self.given[name], outgoing(self.units.model, name))
        return super().after(optimizer)


def outgoing(model: nn.Module, layer: str) -> list[Tensor]:
    if layer == "conv1":  # each channel is nine columns
        return [model.linear1.weight.detach()[:, 9 * i : 9 * i + 9] for i in range(4)]
    return [model.linear2.weight.detach()[:, i] for i in range(6)]


def test_utilities_are_those_of_the_definition() -> None:
    model = small()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    replacer = Spied(model, IMAGES, rho=0.02, maturity=5, decay=0.9)
    slow = replacer.slow = {"conv1": Slow(4, 0.9), "linear1": Slow(6, 0.9)}
    total, due = 0, {"conv1": 0.0, "linear1": 0.0}
    for i in range(60):
        x = IMAGES[i % 3 :: 3]
        with torch.no_grad():
            conv = model.conv1_pool(model.conv1_act(model.conv1(x)))
            hidden = model.linear1_act(model.linear1(conv.flatten(1)))
        weights = {name: p.detach().clone() for name, p in model.named_parameters()}
        for name, own in slow.items():
            due[name] += 0.02 * sum(age + 1 > 5 for age in own.age)
        replacer.given = {"conv1": conv, "linear1": hidden}
        done = step(model, replacer, optimizer, x)
        for name, own in slow.items():
            count = done.get(name, 0)
            assert abs(due[name] - count) < 1 + 1e-9
            due[name] -= count
            total += count
            mature = [u for u in range(len(own.age)) if own.age[u] > 5]
            lowest = sorted(mature, key=lambda u: own.utility[u])[:count]
            gone = (replacer.ages[name] == 0).nonzero().flatten().tolist()
            assert gone == sorted(lowest)
            for u in lowest:
                own.age[u], own.utility[u] = 0, 0.0
                assert not outgoing(model, name)[u].any()
                row = model.get_submodule(name)
                assert row.bias[u] == 0
                assert not torch.equal(row.weight[u], weights[f"{name}.weight"][u])
                for p, rows in ((row.weight, u), (row.bias, u)):
                    assert not optimizer.state[p]["exp_avg"][rows].any()
                    assert not optimizer.state[p]["exp_avg_sq"][rows].any()
            wanted_utility = torch.tensor(own.utility, dtype=torch.float64)
            torch.testing.assert_close(replacer.utilities[name], wanted_utility, rtol=1e-10, atol=0)
    assert total > 5


def test_the_mean_contribution_goes_to_the_next_bias() -> None:
    """On a constant input what a unit gives is its mean: the output stays as it was."""
    for make, x in (
        (lambda: nets.mlp((5,), hidden=(7, 6, 2)).double(), IMAGES.flatten(1)[:4, :5]),
        (small, IMAGES),
        (scaled, IMAGES),
    ):
        model, x = make(), x[:1].expand(4, *x.shape[1:])
        replacer = LowUtilityReplacer(model, x, rho=0.5, maturity=3, decay=0.9)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
        done: dict[str, int] = {}
        while not done:
            before = model(x)
            done = step(model, replacer, optimizer, x)
        torch.testing.assert_close(model(x), before, rtol=1e-10, atol=1e-12)


def test_padding_aside_a_convolution_gets_it_for_each_place_of_its_kernel() -> None:
    model = nn.Sequential(nn.Conv2d(1, 3, 1), nn.Tanh(), nn.Conv2d(3, 2, 3)).double()
    x = torch.full((2, 1, 5, 5), 0.7, dtype=torch.float64)
    replacer = LowUtilityReplacer(model, x, rho=0.5, maturity=0)
    before = model(x)
    assert step(model, replacer, torch.optim.SGD(model.parameters(), lr=0.0), x) == {"0": 1}
    torch.testing.assert_close(model(x), before, rtol=1e-10, atol=1e-12)


def test_of_heads_a_task_all_lose_a_unit() -> None:
    stream = make_stream("task_incremental")
    method = ContinualBackprop(rho=0.05, maturity=2)
    loop = TinyLoop(method, make_learner(stream), stream)
    gone: set[int] = set()
    for _ in loop.steps():
        if loop.open and loop.index == 2 and loop.epoch == 0 and loop.step == 1:
            gone = set()
        if loop.open:
            ages = method.state_dict()["replacer"]["kept"]["backbone.0"]["age"]
            new = (ages == 0).nonzero().flatten().tolist()
            for head in loop.learner.heads.heads.values():
                assert not head.linear.weight[:, new].any()
            gone |= set(new)
    assert gone
    assert sum(method.replaced.values()) > len(gone) / 2


@pytest.mark.parametrize("name", ["lenet", "resnet18", "mlp"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_runs_on_the_nets(name: str, optimizer: str) -> None:
    stream = streams.permuted(holdfast.digits().subset(per_class=6), tasks=2)
    options: dict[str, Any] = {
        "lenet": {"channels": (4,), "hidden": (8, 8)},
        "resnet18": {"width": 2, "pool": None},
        "mlp": {"hidden": (8, 8), "norm": "layer"},
    }[name]
    training = holdfast.Training(epochs=2, optimizer=optimizer, lr=0.01, batch_size=16)
    accuracies = []
    for _ in range(2):
        method = ContinualBackprop(rho=0.05, maturity=2)
        net = getattr(nets, name)(stream.input_shape, **options)
        record = holdfast.run(stream, net, method, training)
        assert record.status == "complete"
        assert sum(method.replaced.values()) > 0
        accuracies.append(record.accuracy)
    assert (accuracies[0] == accuracies[1]).all()


def test_frozen_layers_are_left_alone() -> None:
    model = small()
    model.linear1.requires_grad_(False)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    replacer = LowUtilityReplacer(model, IMAGES, rho=1.0, maturity=0)
    parameters = [p for p in model.parameters() if p.requires_grad]
    assert step(model, replacer, torch.optim.SGD(parameters, lr=0.0), IMAGES) == {}
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_refuses_what_it_cannot_do() -> None:
    with pytest.raises(ValueError, match="rho must be a number of at least 0 and at most 1"):
        ContinualBackprop(rho=1.5)
    with pytest.raises(ValueError, match="maturity must be at least 0, got -1"):
        ContinualBackprop(maturity=-1)
    for decay in (1.0, -0.1, math.nan):
        with pytest.raises(ValueError, match=r"decay must lie in \[0, 1\)"):
            ContinualBackprop(decay=decay)
    stream = streams.permuted(holdfast.digits().subset(per_class=3), tasks=2)
    residual = nets.residual(stream.input_shape, width=2, depth=3)
    with pytest.raises(ValueError, match="conv1: its output is added to another tensor"):
        holdfast.run(stream, residual, ContinualBackprop())
    model = small()
    replacer = LowUtilityReplacer(model, IMAGES)
    with pytest.raises(ValueError, match="no forward pass was observed since the last step"):
        replacer.step(torch.optim.SGD(model.parameters(), lr=0.1))
