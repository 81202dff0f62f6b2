"""The data and network of the timings."""

import torch
from torch import Tensor, nn

from holdfast.data.split import Split
from holdfast.streams.stream import Stream, Task

ROWS, FEATURES, CLASSES, BATCH, LR = 12_000, 784, 10, 128, 0.1


def samples(rows: int, classes: int = CLASSES, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Gaussian inputs with random labels: what is timed does not depend on what is learned."""
    draws = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, FEATURES, generator=draws)
    return x, torch.randint(0, classes, (rows,), generator=draws)


def backbone() -> nn.Module:
    """784-100-100."""
    return nn.Sequential(nn.Linear(FEATURES, 100), nn.ReLU(), nn.Linear(100, 100), nn.ReLU())


def network(classes: int = CLASSES) -> nn.Module:
    """784-100-100-classes."""
    return nn.Sequential(backbone(), nn.Linear(100, classes))


def one_task(x: Tensor, y: Tensor) -> Stream:
    """A stream of one task with a test set of ten rows."""
    test = Split(x[:10], y[:10])
    task = Task("all", Split(x, y), test, classes=tuple(range(CLASSES)))
    return Stream([task], "domain_incremental")
