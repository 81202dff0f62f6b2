from typing import Any

import pytest
import torch
from torch import Tensor, nn

from holdfast.methods import ReplaceableUnits
from holdfast.seeds import seeded


def mlp() -> nn.Module:
    layers = [nn.Linear(4, 6, bias=False), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 5)]
    return nn.Sequential(*layers, nn.Tanh(), nn.Linear(5, 2)).double()


def cnn() -> nn.Module:
    layers = [nn.Conv2d(1, 4, 2), nn.Tanh(), nn.Conv2d(4, 3, 2), nn.Tanh(), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(12, 2)).double()


SHAPES = {"mlp": (mlp, (4,)), "cnn": (cnn, (1, 4, 4))}
REPLACED: dict[int, dict[str, list[int]]] = {
    3: {"first": [0, 2]},
    4: {"second": [1]},
    7: {"first": [2, 3], "second": [0]},
    12: {"first": [1]},
}


class StepEachWeight:
    """Adam as it is written, with a step count for every entry of every parameter."""

    def __init__(self, net: nn.Module, decay: float, decoupled: bool) -> None:
        self.net, self.decay, self.decoupled = net, decay, decoupled
        self.state = {
            p: [torch.zeros_like(p) for _ in range(3)] for p in net.parameters() if p.requires_grad
        }

    @torch.no_grad()
    def step(self) -> None:
        for p, (m, v, t) in self.state.items():
            assert p.grad is not None
            g = p.grad if self.decoupled else p.grad + self.decay * p
            if self.decoupled:
                p *= 1 - LR * self.decay
            m.mul_(0.9).add_(g, alpha=0.1)
            v.mul_(0.99).add_(g**2, alpha=0.01)
            t += 1
            p -= LR * (m / (1 - 0.9**t)) / ((v / (1 - 0.99**t)).sqrt() + 1e-30)

    def forget(self, p: Tensor, at: Any) -> None:
        for kept in self.state[p]:  # type: ignore[index]
            kept[at] = 0


LR = 0.01


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("kind", "decay"), [(torch.optim.Adam, 0.0), (torch.optim.Adam, 0.1), (torch.optim.AdamW, 0.1)]
)
def test_is_adam_with_a_step_count_for_each_weight(
    shape: str, kind: type[torch.optim.Adam], decay: float
) -> None:
    make, inputs = SHAPES[shape]
    with seeded(0, "test"):
        ours, theirs = make(), make()
    theirs.load_state_dict(ours.state_dict())
    draws = torch.Generator().manual_seed(0)
    units = ReplaceableUnits(ours, torch.randn(2, *inputs, dtype=torch.float64), seed=0)
    first, second = units.paths
    adam = kind(ours.parameters(), lr=LR, betas=(0.9, 0.99), eps=1e-30, weight_decay=decay)
    naive = StepEachWeight(theirs, decay, kind is torch.optim.AdamW)
    other = dict(zip(ours.parameters(), theirs.parameters(), strict=True))
    for step in range(40):
        x = torch.randn(9, *inputs, dtype=torch.float64, generator=draws)
        y = torch.randn(9, 2, dtype=torch.float64, generator=draws)
        for net in (ours, theirs):
            net.zero_grad()
            (net(x) - y).square().mean().backward()
        units.steps.before(adam)
        adam.step()
        units.steps.after(adam)
        naive.step()
        chosen = {
            {"first": first, "second": second}[layer].name: torch.tensor(who)
            for layer, who in REPLACED.get(step, {}).items()
        }
        if chosen:
            units.replace(chosen, adam)
            theirs.load_state_dict(ours.state_dict())
        for path in (first, second):
            if path.name not in chosen:
                continue
            who = chosen[path.name]
            mask = torch.zeros(path.units, dtype=torch.bool).index_fill_(0, who, True)
            rows = [path.weight, path.bias, *(p for n in path.norms for p in n.module.parameters())]
            for p in rows:
                if p is not None:
                    naive.forget(other[p], who)
            (reader,) = path.readers
            naive.forget(other[reader.reads[0].weight], (slice(None), reader.columns(mask)))
        for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


def test_without_a_reset_the_step_is_torchs_to_the_bit() -> None:
    nets = []
    for watched in (True, False):
        with seeded(0, "test"):
            net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
        adam = torch.optim.Adam(net.parameters(), lr=0.1, fused=True)
        units = ReplaceableUnits(net, torch.zeros(2, 3), seed=0)
        for step in range(5):
            adam.zero_grad()
            net(torch.full((2, 3), float(step))).sum().backward()
            if watched:
                units.steps.before(adam)
            adam.step()
            if watched:
                units.steps.after(adam)
        nets.append(net)
    for a, b in zip(*(net.parameters() for net in nets), strict=True):
        assert torch.equal(a, b)


def test_the_first_step_after_a_reset_is_as_long_as_adams_first() -> None:
    net = nn.Sequential(nn.Linear(1, 2, bias=False), nn.Linear(2, 1, bias=False))
    units = ReplaceableUnits(net, torch.zeros(2, 1), seed=0)
    adam = torch.optim.Adam(net.parameters(), lr=0.01)
    for step in range(300):
        adam.zero_grad()
        ((net(torch.ones(4, 1)) - 7.0) ** 2).mean().backward()
        old = net[1].weight.detach().clone()
        units.steps.before(adam)
        adam.step()
        units.steps.after(adam)
        if step == 299:
            moved = net[1].weight.detach() - old
            assert float(moved[0, 0].abs()) == pytest.approx(0.01, rel=1e-3)
        if step == 298:
            units.replace({"0": torch.tensor([0])}, adam)
            assert net[1].weight[0, 0] == 0
