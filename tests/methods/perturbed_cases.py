"""Layers of all kinds, and changes of them, for the tests of perturbations."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from holdfast.methods.halrp.kinds import ConvMode
from holdfast.methods.halrp.layers import Perturbed


@dataclass(frozen=True)
class Case:
    """A layer and the shape of what it takes."""

    name: str
    layer: nn.Module
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return self.name

    def perturbed(self, conv: ConvMode = "flat", rank: int = 2, seed: int = 0) -> Perturbed:
        """In double precision, with a task "a" far from the base."""
        made = Perturbed(self.layer.double().requires_grad_(False), conv)
        own = made.perturb("a", min(rank, made.shape.largest_rank))
        shake(own, seed)
        made.active = "a"
        return made

    def x(self) -> Tensor:
        return torch.randn(self.shape, generator=torch.Generator().manual_seed(5)).double()


def shake(module: nn.Module, seed: int = 0, by: float = 1.0) -> None:
    draws = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in module.parameters():
            p.add_(by * torch.randn(p.shape, generator=draws, dtype=torch.float64).to(p.dtype))


def build(kind: Callable[..., nn.Module], *args: int, **named: object) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(3)
        return kind(*args, **named)


LINEAR = [
    Case("linear", build(nn.Linear, 5, 4), (3, 5)),
    Case("linear over tokens, no bias", build(nn.Linear, 5, 4, bias=False), (2, 7, 5)),
]
CONV = [
    Case("conv", build(nn.Conv2d, 3, 6, 5, padding=2), (2, 3, 8, 8)),
    Case("conv, stride", build(nn.Conv2d, 3, 6, 3, stride=2, padding=1), (2, 3, 9, 9)),
    Case("conv, not square", build(nn.Conv2d, 3, 6, (2, 3), bias=False), (2, 3, 7, 8)),
    Case("conv, dilated", build(nn.Conv2d, 3, 6, 3, dilation=2), (2, 3, 9, 9)),
    Case("conv, grouped", build(nn.Conv2d, 4, 6, 3, groups=2, padding=1), (2, 4, 7, 7)),
    Case("conv, depthwise", build(nn.Conv2d, 4, 8, 3, groups=4), (2, 4, 7, 7)),
    Case("conv, same", build(nn.Conv2d, 3, 6, 3, padding="same"), (2, 3, 7, 7)),
    Case(
        "conv, circular",
        build(nn.Conv2d, 3, 6, 3, padding=1, padding_mode="circular"),
        (2, 3, 7, 7),
    ),
    Case("conv1d", build(nn.Conv1d, 3, 6, 4, stride=2, padding=1), (2, 3, 11)),
]  # fmt: skip
