"""A small adapted network with random tasks."""

import torch
from torch import nn

from holdfast.methods.halrp import Adapted, adapt
from holdfast.methods.halrp.storage import Storage, low_rank_matrices, quantise
from holdfast.seeds import seeded


def small_net(seed: int = 0) -> nn.Sequential:
    """Inputs (n, 3, 4, 4) -> (n, 6)."""
    with seeded(seed, "test"):
        return nn.Sequential(
            nn.Conv2d(3, 5, 3, padding=1), nn.BatchNorm2d(5), nn.ReLU(), nn.Flatten(),
            nn.Linear(80, 6), nn.LayerNorm(6),
        )  # fmt: skip


@torch.no_grad()
def randomise(model: Adapted, task: str, seed: int = 0) -> None:
    """Draw all numbers of a task."""
    draws = torch.Generator().manual_seed(seed)
    for _, p in model.own(task):
        p.normal_(generator=draws)


def small_model(tasks: int = 2, rank: int = 2, storage: Storage = "float32") -> Adapted:
    """The base is task 0; the others are random."""
    model = adapt(small_net(), base_task=0).eval()
    for task in range(1, tasks + 1):
        model.add(task, ranks=rank)
        randomise(model, str(task), task)
        quantise(model, task, storage)
    return model


def low_rank(model: Adapted, task: str) -> list[torch.Tensor]:
    """U and V of all layers."""
    return [m for _, m, _ in low_rank_matrices(model, task)]
