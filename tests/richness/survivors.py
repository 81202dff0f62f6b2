"""Parametrized models of every kind of layer, and inputs they take."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from holdfast import richness
from holdfast.nets import GrowingHead, Learner, TaskHeads, cnn, residual
from holdfast.seeds import seeded

OUTPUTS = 3


class Turned(nn.Module):
    """x W, without a scaled form of its own and without `reset_parameters`."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.turned = nn.Parameter(torch.zeros(inputs, outputs))
        self.offset = nn.Parameter(torch.ones(outputs))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.turned + self.offset


@richness.layer_rule(Turned)
def turned(layer: Turned) -> richness.Matrix:
    return richness.Matrix(*layer.turned.shape, weight="turned")


class Text(nn.Module):
    """Tokens, attention in scaled branches, a mean over positions."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(7, 16, padding_idx=0)
        layer = nn.TransformerEncoderLayer(16, 2, 24, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2)
        self.out = nn.Linear(16, OUTPUTS)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.encoder(self.tokens(x)).mean(dim=1))


def mlp() -> nn.Module:
    return nn.Sequential(
        nn.Linear(6, 16), nn.LayerNorm(16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(),
        nn.Linear(16, OUTPUTS),
    )  # fmt: skip


def sequences() -> nn.Module:
    return nn.Sequential(
        nn.Conv1d(2, 8, 3, padding=1), nn.ReLU(), nn.Conv1d(8, 8, 3, groups=8), nn.Tanh(),
        nn.Flatten(), nn.Linear(32, OUTPUTS),
    )  # fmt: skip


def volumes() -> nn.Module:
    return nn.Sequential(
        nn.Conv3d(1, 8, 3, bias=False), nn.GroupNorm(2, 8), nn.PReLU(), nn.Flatten(),
        nn.Linear(8, OUTPUTS),
    )  # fmt: skip


def learner(heads: Callable[[int], nn.Module]) -> nn.Module:
    made = Learner(nn.Sequential(nn.Linear(6, 16), nn.ReLU()), heads(16))  # type: ignore[arg-type]
    made.heads.accommodate(0, (4, 2))
    made.heads.accommodate(1, (3, 1, 0))
    return made


@dataclass(frozen=True)
class Survivor:
    """A plain model, the shape of its inputs, and whether these are tokens."""

    name: str
    build: Callable[[], nn.Module]
    shape: tuple[int, ...]
    tokens: bool = False
    readout: str | None = None
    branches: tuple[str, ...] | None = None

    def __str__(self) -> str:
        return self.name

    def plain(self) -> nn.Module:
        with seeded(0, "test"):
            return self.build()

    def model(self, seed: int = 0) -> nn.Module:
        return richness.parametrize(
            self.plain(), gamma0=0.7, base_width=4, readout_std=1, readout=self.readout,
            branches=self.branches, seed=seed,
        )  # fmt: skip

    def inputs(self, rows: int = 5, dtype: torch.dtype = torch.float32) -> tuple[Tensor, ...]:
        """What the model is called with; a learner with the task too."""
        draws = torch.Generator().manual_seed(3)
        if self.tokens:
            return (torch.randint(1, 7, (rows, *self.shape), generator=draws),)
        x = torch.randn(rows, *self.shape, generator=draws).to(dtype)
        return (x, 1) if self.name.endswith("head") else (x,)


SURVIVORS = [
    Survivor("mlp", mlp, (6,), readout="5"),
    Survivor("rows", mlp, (4, 6), readout="5"),
    Survivor(
        "images", lambda: nn.Sequential(cnn((2, 8, 8), (4, 4), (8,)), nn.Linear(8, OUTPUTS)),
        (2, 8, 8),
    ),
    Survivor("sequences", sequences, (2, 6)),
    Survivor("volumes", volumes, (1, 3, 3, 3)),
    Survivor(
        "residual", lambda: nn.Sequential(residual((2, 8, 8), width=8), nn.Linear(8, OUTPUTS)),
        (2, 8, 8),
    ),
    Survivor(
        "hooks", lambda: nn.Sequential(Turned(6, 16), nn.ReLU(), Turned(16, 16), nn.Linear(16, 3)),
        (6,), branches=("2",),
    ),
    Survivor("text", Text, (4,), tokens=True, readout="out"),
    Survivor("growing head", lambda: learner(GrowingHead), (6,)),
    Survivor("task head", lambda: learner(TaskHeads), (6,)),
]  # fmt: skip
