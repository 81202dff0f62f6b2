"""Training steps of parametrized nets against those of the same nets as torch makes them."""

import ctypes
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.bare import BATCH, CLASSES, FEATURES, LR
from benchmarks.timing import Comparison, compare
from holdfast import nets, richness

_SHAPE = (3, 16, 16)
_NETS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], int]] = {
    "MLP 256-256": (lambda: nets.mlp((FEATURES,), hidden=(256, 256)), (BATCH, FEATURES), 20),
    "CNN": (lambda: nets.cnn(_SHAPE), (32, *_SHAPE), 8),
    "residual net of width 64": (lambda: nets.residual(_SHAPE, width=64), (32, *_SHAPE), 4),
}
"""Backbone, shape of a batch, and steps of one repetition."""


def parametrized_steps(repetitions: int) -> dict[str, Comparison]:
    """Steps of SGD with the rates of muP, over steps with one rate for all."""
    keep_pages()
    return {name: _steps(*_NETS[name], repetitions) for name in _NETS}


def _steps(
    backbone: Callable[[], nn.Module], shape: tuple[int, ...], steps: int, repetitions: int
) -> Comparison:
    draws = torch.Generator().manual_seed(0)
    x = torch.randn(*shape, generator=draws)
    y = torch.randint(0, CLASSES, (len(x),), generator=draws)
    plain = _with_readout(backbone(), x)
    scaled = richness.parametrize(_with_readout(backbone(), x), readout_std=1, readout="1")
    theirs = _training(plain, torch.optim.SGD(plain.parameters(), lr=LR), x, y, steps)
    groups = richness.param_groups(scaled, "sgd", lr=LR)
    ours = _training(scaled, torch.optim.SGD(groups), x, y, steps)
    return compare(ours, theirs, repetitions)


def _with_readout(backbone: nn.Module, x: Tensor) -> nn.Module:
    with torch.no_grad():
        width = backbone(x[:1]).shape[1]
    return nn.Sequential(backbone, nn.Linear(width, CLASSES))


def _training(
    model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor, steps: int
) -> Callable[[], None]:
    def train() -> None:
        for _ in range(steps):
            optimizer.zero_grad()
            functional.cross_entropy(model(x), y).backward()
            optimizer.step()

    return train


def keep_pages() -> None:
    """Let glibc hold on to memory: pages given back and taken again, by chance in one net and not
    in the other, are up to a quarter of the time of a convolutional net's step.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for option in (-1, -3):  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD
            mallopt(option, 1 << 30)
