"""Learners in float64 with all that a tangent kernel must get right, and their dense kernels."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev

from holdfast.nets.heads import GrowingHead, Head, SharedHead, TaskHeads
from holdfast.nets.learner import Learner
from holdfast.seeds import generator, seeded


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


class Attends(nn.Module):
    """A transformer layer over the rows of its inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.1, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x).flatten(1)


class Tied(nn.Module):
    """One matrix used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 6), nn.Linear(6, 6)
        self.second.weight = self.first.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x).tanh())


NETS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], int]] = {
    "mlp": (lambda: nn.Sequential(nn.Linear(6, 7), nn.ReLU(), nn.Linear(7, 5)), (6,), 5),
    "noisy": (
        lambda: nn.Sequential(
            nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
            nn.Dropout(0.5),
        ),
        (2, 6, 6),
        12,
    ),
    "attention": (Attends, (3, 4), 12),
    "tied": (Tied, (6,), 6),
}  # fmt: skip


def heads(kind: str, width: int) -> Head:
    made: Head = {
        "shared": lambda: SharedHead(width, [0, 1, 2]),
        "growing": lambda: GrowingHead(width),
        "per_task": lambda: TaskHeads(width),
    }[kind]()
    if kind != "shared":
        made.accommodate(0, [0, 1], generator(0, "a"))
        made.accommodate(1, [2, 3, 4], generator(0, "b"))
    return made


def learner(net: str, kind: str) -> tuple[Learner, Tensor]:
    """In evaluation mode, its batch statistics those of other samples, with five samples."""
    build, shape, width = NETS[net]
    with seeded(0, net):
        made = Learner(build(), heads(kind, width)).double()
        made.train()
        with torch.no_grad():
            made.features(2 * drawn(7, 9, *shape) + 1)
    return made.eval(), drawn(8, 5, *shape)


def jacobian(model: Learner, x: Tensor, task: int) -> dict[str, Tensor]:
    """d outputs / d parameter, (n * outputs, size), by `torch.func`."""
    found = jacrev(lambda p: functional_call(model, p, (x, task)).flatten())(
        {name: p.detach() for name, p in model.named_parameters()}
    )
    return {name: value.flatten(1) for name, value in found.items()}


def dense_kernel(
    model: Learner, x: Tensor, task: int, rates: Mapping[str, float] | None = None
) -> Tensor:
    parts = jacobian(model, x, task)
    return sum(
        (j @ j.T * (1.0 if rates is None else rates[name]) for name, j in parts.items()),
        torch.zeros(()),
    )
