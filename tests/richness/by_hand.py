"""Networks written out with plain tensors and the formulas of the table, and steps of their own.

Nothing here comes from the library but the raw weights, which are read from its models once.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from holdfast import nets

OUTPUTS = 3
BASE = 16
Raw = dict[str, Tensor]


@dataclass(frozen=True)
class Setting:
    """A parametrization and its numbers."""

    name: str = "mup"
    gamma0: float = 0.5
    width: int = 24
    readout_std: int = 0
    depth_scaling: bool = True
    optimizer: str = "sgd"

    def __str__(self) -> str:
        start = "" if not self.readout_std else "-drawn"
        depth = "" if self.depth_scaling else "-unscaled"
        return f"{self.name}-{self.gamma0}-{self.width}-{self.optimizer}{start}{depth}"

    @property
    def ratio(self) -> float:
        return self.width / BASE

    @property
    def gamma(self) -> float:
        return self.gamma0 * (math.sqrt(self.width / BASE) if self.name == "mup" else 1.0)

    @property
    def options(self) -> dict[str, Any]:
        return {
            "parametrization": self.name,
            "gamma0": self.gamma0,
            "base_width": BASE,
            "readout_std": self.readout_std,
            "depth_scaling": self.depth_scaling,
        }


def mlp(raw: Raw, x: Tensor, setting: Setting) -> Tensor:
    """D -> N -> N -> 3 with ReLU and biases."""
    n = setting.width
    h = x @ raw["0.linear1.weight"].T / math.sqrt(x.shape[1]) + raw["0.linear1.bias"]
    h = h.clamp(min=0) @ raw["0.linear2.weight"].T * math.sqrt(2 / n) + raw["0.linear2.bias"]
    f = h.clamp(min=0) @ raw["1.weight"].T / (setting.gamma * math.sqrt(n))
    return f + raw["1.bias"]


def cnn(raw: Raw, x: Tensor, setting: Setting) -> Tensor:
    """Two strided convolutions with tanh, flattened, without biases: 8 x 8 -> N x 2 x 2."""
    n = setting.width
    h = _convolved(x, raw["0.conv1.weight"], 2) / math.sqrt(x.shape[1] * 9)
    h = _convolved(h.tanh(), raw["0.conv2.weight"], 2) / math.sqrt(n * 9)
    return h.tanh().flatten(1) @ raw["1.weight"].T / (setting.gamma * math.sqrt(4 * n))


def residual(raw: Raw, x: Tensor, setting: Setting) -> Tensor:
    """Three convolutions with two branches and pooling behind each: 8 x 8 -> N."""
    n, scale = setting.width, 1 / math.sqrt(6) if setting.depth_scaling else 1.0
    h = x
    for stage in (1, 2, 3):
        h = _convolved(h, raw[f"0.conv{stage}.weight"], 1) / math.sqrt(h.shape[1] * 9)
        for block in (0, 1):
            branch = _convolved(h.clamp(min=0), raw[f"0.stage{stage}.{block}.conv.weight"], 1)
            h = h + scale * branch * math.sqrt(2 / (9 * n))
        h = h.unfold(2, 2, 2).unfold(3, 2, 2).amax(dim=(4, 5))
    return h.flatten(1) @ raw["1.weight"].T / (setting.gamma * math.sqrt(n))


def _convolved(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    """3 x 3 with a border of zeros, as a product with the windows."""
    windows = functional.pad(x, (1, 1, 1, 1)).unfold(2, 3, stride).unfold(3, 3, stride)
    return torch.einsum("nchwij,ocij->nohw", windows, weight)


@dataclass(frozen=True)
class Case:
    """A net of the library and its form by hand."""

    name: str
    forward: Callable[[Raw, Tensor, Setting], Tensor]
    backbone: Callable[[int], nn.Module]
    shape: tuple[int, ...]
    flat: int
    bias: bool
    inputs: tuple[str, ...]
    branches: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.name

    def model(self, width: int) -> nn.Module:
        """The net with a linear readout, plain."""
        return nn.Sequential(
            self.backbone(width), nn.Linear(width * self.flat, OUTPUTS, bias=self.bias)
        )

    def rates(self, setting: Setting, names: list[str]) -> dict[str, float]:
        """The factor on eta_0 of each parameter, by the table."""
        gamma, ratio, found = setting.gamma, setting.ratio, {}
        depth = 1 / math.sqrt(6) if setting.depth_scaling else 1.0
        for name in names:
            if name == "1.bias":
                found[name] = 1.0
            elif setting.optimizer == "sgd":
                found[name] = gamma**2
            elif name in self.inputs or name == "1.weight" or name.endswith("bias"):
                found[name] = gamma / math.sqrt(ratio)
            else:
                branch = depth if any(part in name for part in self.branches) else 1.0
                found[name] = gamma / ratio * branch
        return found

    def data(self, rows: int = 12) -> tuple[Tensor, Tensor]:
        draws = torch.Generator().manual_seed(5)
        x = torch.randn(rows, *self.shape, dtype=torch.float64, generator=draws)
        return x, torch.randint(0, OUTPUTS, (rows,), generator=draws)


CASES = [
    Case(
        "mlp", mlp, lambda n: nets.mlp((7,), hidden=(1, 1), width=n), (7,), 1, True,
        ("0.linear1.weight",),
    ),
    Case(
        "cnn", cnn,
        lambda n: nets.cnn(
            (2, 8, 8), (1, 1), (), "tanh", bias=False, width=n, strides=(2, 2)
        ),
        (2, 8, 8), 4, False, ("0.conv1.weight",),
    ),
    Case(
        "residual", residual, lambda n: nets.residual((2, 8, 8), width=n, depth=6), (2, 8, 8), 1,
        False, ("0.conv1.weight",), ("stage",),
    ),
]  # fmt: skip


class Steps:
    """SGD, and Adam with betas .9 and .999, written out; the learning rate may differ by name."""

    def __init__(self, raw: Raw, rates: dict[str, float], optimizer: str, lr: float) -> None:
        self.raw, self.rates, self.optimizer, self.lr = raw, rates, optimizer, lr
        self.moments = {n: (torch.zeros_like(w), torch.zeros_like(w)) for n, w in raw.items()}
        self.taken = 0

    def take(self, loss: Tensor) -> dict[str, Tensor]:
        """Step against the gradients of the loss, which are returned."""
        gradients = dict(
            zip(self.raw, torch.autograd.grad(loss, list(self.raw.values())), strict=True)
        )
        self.taken += 1
        for name, g in gradients.items():
            direction = g
            if self.optimizer != "sgd":
                first, second = self.moments[name]
                first, second = 0.9 * first + 0.1 * g, 0.999 * second + 0.001 * g**2
                self.moments[name] = first, second
                first, second = first / (1 - 0.9**self.taken), second / (1 - 0.999**self.taken)
                direction = first / (second.sqrt() + 1e-8)
            self.raw[name].data -= self.lr * self.rates[name] * direction
        return gradients


def raw_weights(model: nn.Module) -> Raw:
    """Copies to differentiate by."""
    return {name: p.detach().clone().requires_grad_() for name, p in model.named_parameters()}


def close(found: Tensor, expected: Tensor, relative: float = 1e-10) -> None:
    """Equal to `relative` of the largest entry."""
    found, expected = found.detach(), expected.detach()
    scale = float(expected.abs().max())
    torch.testing.assert_close(found, expected, rtol=relative, atol=relative * scale)
