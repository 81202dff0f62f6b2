"""A small adapted network whose tasks are far from the base and from each other."""

import torch
from perturbed_cases import shake
from torch import nn
from torch.nn import functional

from holdfast.methods import halrp


def network(seed: int = 0) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(16, 6), nn.LayerNorm(6), nn.Tanh(), nn.Linear(6, 3),
        ).double()  # fmt: skip


def adapted(tasks: int = 2, **how) -> halrp.Adapted:
    """With tasks "0", "1" ... that are far from the base and from each other."""
    model = halrp.adapt(network(), heads=["8"], **how).eval()
    for t in range(tasks):
        model.add(t, ranks=t + 1)
        shake(nn.ParameterList(p for _, p in model.own(t)), seed=t)
    return model


def batch(n: int = 5) -> torch.Tensor:
    return torch.randn(n, 2, 4, 4, generator=torch.Generator().manual_seed(9)).double()


def train(model: halrp.Adapted, task: int, steps: int = 3) -> None:
    model.train_only(task)
    model.train()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=0.05, weight_decay=0.1)
    x, y = batch(8), torch.arange(8) % 3
    for _ in range(steps):
        optimizer.zero_grad()
        functional.cross_entropy(model(x, task), y).backward()
        optimizer.step()
    model.eval()


def bits(module: nn.Module) -> dict[str, torch.Tensor]:
    return {n: t.clone() for n, t in module.state_dict().items()}


def same(a, b) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[n], b[n]) for n in a)
