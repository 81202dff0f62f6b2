"""A head trained on some of the classes of Gaussian features, and its new classes."""

import copy
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from holdfast.starts import FeatureStatistics

WIDTH, OLD, NEW = 8, (0, 1, 2, 3), (4, 5, 6)
CENTRES = torch.randn(7, WIDTH, generator=torch.Generator().manual_seed(3)) * 2


def samples(classes: Any = OLD + NEW, count: int = 30, seed: int = 0, shift: float = 0.0) -> tuple:
    draw = torch.Generator().manual_seed(seed)
    labels = torch.tensor(classes).repeat(count)
    return CENTRES[labels] + torch.randn(len(labels), WIDTH, generator=draw) + shift, labels


def statistics(**options: Any) -> FeatureStatistics:
    return FeatureStatistics(WIDTH, **options).update(*samples())


_TRAINED: list[nn.Linear] = []


def trained() -> nn.Linear:
    """A layer trained on the old classes by cross-entropy."""
    if not _TRAINED:
        h, y = samples(OLD)
        layer = nn.Linear(WIDTH, len(OLD))
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
        optimizer = torch.optim.Adam(layer.parameters(), 0.1)
        for _ in range(150):
            optimizer.zero_grad()
            functional.cross_entropy(layer(h), y).backward()
            optimizer.step()
        _TRAINED.append(layer)
    layer = copy.deepcopy(_TRAINED[0])
    layer.zero_grad()
    return layer
