"""The coordinate check on real data: ``python -m benchmarks.coordinate_check [OUT]``.

Nets in muP over width and depth, which must pass, and controls, which must not. Writes
``summary.md``, and for each check its numbers and figure. Fashion-MNIST where `HOLDFAST_DATA` has
it, else the digits.
"""

import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, Optimizer

from holdfast import nets
from holdfast.data import digits, load, shrunk
from holdfast.nets import Learner, SharedHead
from holdfast.records.files import write_atomic
from holdfast.reports import save_coordinates
from holdfast.richness import Coordinates, coordinate_check, param_groups, parametrize, rates
from holdfast.richness.activations import OUTPUT
from holdfast.richness.slopes import Slopes

Build = Callable[[int, int], nn.Module]

MakeOptimizer = Callable[[nn.Module, float], Optimizer]

WIDE = (64, 128, 256, 512, 1024, 2048)
CHANNELS = (32, 64, 128, 256, 512)
STREAMS = (32, 64, 128, 256)
DEPTHS = (3, 6, 12, 24, 48)
CONTROL = (64, 128, 256, 512)


@dataclass(frozen=True)
class Check:
    """A coordinate check of `samples` images; over depths where `deep`."""

    name: str
    build: Build
    sizes: tuple[int, ...]
    optimizer: str | MakeOptimizer = "sgd"
    lr: float = 1.0
    deep: bool = False
    samples: int = 64
    seeds: int = 3

    @property
    def over(self) -> str:
        """What the sizes are of."""
        return "depth" if self.deep else "width"

    def run(self, x: Tensor, y: Tensor) -> Coordinates:
        """On the first of these samples, for ten steps."""
        return coordinate_check(
            self.build,
            None if self.deep else self.sizes,
            depths=self.sizes if self.deep else None,
            x=x[: self.samples],
            y=y[: self.samples],
            optimizer=self.optimizer,
            lr=self.lr,
            seeds=range(self.seeds),
            raises=False,
        )


@dataclass(frozen=True)
class Nets:
    """Nets for images of a shape, as functions (width or depth, seed) -> model."""

    shape: tuple[int, ...]

    def learner(self, backbone: nn.Module) -> Learner:
        """With one head of ten classes."""
        features = backbone(torch.zeros(2, *self.shape)).shape[1]
        return Learner(backbone, SharedHead(features, range(10)))

    def plain(self, width: int, seed: int) -> Learner:
        """Two hidden layers, as torch draws them."""
        return self.learner(nets.mlp(self.shape, hidden=(1, 1), width=width, seed=seed))

    def mlp(self, **options: Any) -> Build:
        """The same, parametrized."""
        return lambda width, seed: parametrize(self.plain(width, seed), seed=seed, **options)

    def cnn(self, width: int, seed: int) -> Learner:
        """Three convolutions."""
        backbone = nets.cnn(
            self.shape, channels=(1, 1, 1), hidden=(), width=width, strides=(2, 2, 1), seed=seed
        )
        return parametrize(self.learner(backbone), seed=seed)

    def residual(self, width: int, seed: int) -> Learner:
        """Six branches."""
        return parametrize(self.learner(nets.residual(self.shape, width, seed=seed)), seed=seed)

    def deep(self, **options: Any) -> Build:
        """32 channels, branches by depth."""
        return lambda depth, seed: parametrize(
            self.learner(nets.residual(self.shape, 32, depth, seed=seed)), seed=seed, **options
        )

    def drawn_readout(self, width: int, seed: int) -> Learner:
        """The readout, asked to start as 0, drawn anew."""
        model = parametrize(self.plain(width, seed), seed=seed)
        for weight in model.heads.parameters():
            nn.init.normal_(weight)
        return model

    def base_follows(self, width: int, seed: int) -> Learner:
        """A base width that is the width."""
        return parametrize(self.plain(width, seed), base_width=width, seed=seed)

    def rates_of_64(self, model: nn.Module, lr: float) -> Optimizer:
        """SGD with the rates of a model 64 wide."""
        factors = rates(parametrize(self.plain(64, 0)), "sgd")
        named = dict(model.named_parameters())
        return SGD([{"params": [named[n]], "lr": lr * f} for n, f in factors.items()])


def sgd_rates(model: nn.Module, lr: float) -> Optimizer:
    """Adam with the rates of SGD."""
    return Adam(param_groups(model, "sgd", lr))


def real_data(samples: int = 64) -> tuple[str, Tensor, Tensor]:
    """Evenly spaced training images of 14 x 14 or 8 x 8 pixels."""
    try:
        dataset = shrunk(load("fashion_mnist", source="folder"), 2)
    except (FileNotFoundError, ValueError):
        dataset = digits()
    rows = torch.linspace(0, len(dataset.train.x) - 1, samples).round().long()
    assert dataset.normalize is not None
    return dataset.name, dataset.normalize(dataset.train.x[rows]), dataset.train.y[rows]


def passing(made: Nets) -> list[Check]:
    """Checks of muP."""
    random, lazy, deep = made.mlp(readout_std=1), made.mlp(gamma0=0.1), made.deep()
    return [
        Check("mlp, SGD", made.mlp(), WIDE),
        Check("mlp, Adam", made.mlp(), WIDE, "adam", 0.01),
        Check("mlp, gamma_0 = 0.1, SGD", lazy, WIDE),
        Check("mlp, gamma_0 = 0.1, Adam", lazy, WIDE, "adam", 0.01),
        Check("mlp, readout_std = 1, SGD", random, WIDE),
        Check("mlp, readout_std = 1, Adam", random, WIDE, "adam", 0.01),
        Check("mlp, 40 seeds, SGD", made.mlp(), CONTROL, seeds=40),
        Check("cnn, SGD", made.cnn, CHANNELS, samples=32),
        Check("cnn, Adam", made.cnn, CHANNELS, "adam", 0.01, samples=32),
        Check("cnn, 40 seeds, SGD", made.cnn, CHANNELS[:4], samples=32, seeds=40),
        Check("residual, SGD", made.residual, STREAMS, samples=32),
        Check("residual, Adam", made.residual, STREAMS, "adam", 0.01, samples=32),
        Check("residual, SGD", deep, DEPTHS, deep=True, samples=32),
        Check("residual, Adam", deep, DEPTHS, "adam", 0.01, deep=True, samples=32),
    ]


def failing(made: Nets) -> list[Check]:
    """Controls: what is no muP, or used in a wrong way."""
    sp, random_sp = made.mlp(parametrization="sp"), made.mlp(parametrization="sp", readout_std=1)
    unscaled = made.deep(depth_scaling=False)
    return [
        Check("SP, one rate, SGD", sp, CONTROL, lr=0.1),
        Check("SP, one rate, Adam", sp, CONTROL, "adam", 0.001),
        Check("SP, readout_std = 1, one rate, SGD", random_sp, CONTROL, lr=0.1),
        Check("SP, readout_std = 1, one rate, Adam", random_sp, CONTROL, "adam", 0.001),
        Check("not parametrized, SGD", made.plain, CONTROL, lr=0.1),
        Check("NTP, SGD", made.mlp(parametrization="ntp"), CONTROL),
        Check("NTP, Adam", made.mlp(parametrization="ntp"), CONTROL, "adam", 0.01),
        Check("Adam with the rates of SGD", made.mlp(), CONTROL, sgd_rates, 0.01),
        Check("SGD with the rates of width 64", made.mlp(), CONTROL, made.rates_of_64),
        Check("base_width = width", made.base_follows, CONTROL),
        Check("width = 64 given at all widths", made.mlp(width=64), CONTROL),
        Check("readout drawn after parametrize", made.drawn_readout, CONTROL),
        Check("residual, unscaled, SGD", unscaled, DEPTHS, deep=True, samples=32),
        Check("residual, unscaled, Adam", unscaled, DEPTHS, "adam", 0.01, deep=True, samples=32),
    ]


HEAD = ["check", "over", "movement of hidden layers", "of the output", "size at the start", ""]


def row(check: Check, found: Coordinates) -> list[str]:
    """A check, the steepest slopes of the hidden layers and that of the output, and its end."""
    hidden = [i for i, layer in enumerate(found.layers) if layer != OUTPUT]
    return [
        check.name,
        f"{check.over} {check.sizes[0]} to {check.sizes[-1]}",
        steepest(found.moved_slopes, hidden),
        steepest(found.moved_slopes, [found.layers.index(OUTPUT)]),
        steepest(found.start_slopes, hidden),
        "fails" if found.faults else "passes",
    ]


def steepest(slopes: Slopes, layers: list[int]) -> str:
    """The slope furthest from 0 with its standard error; none where a value was not finite."""
    means, errors = slopes.mean[layers], slopes.error[layers]
    if np.isnan(means).any():
        return "diverges"
    at = int(np.abs(means).argmax())
    return f"{means[at]:+.2f} +- {errors[at]:.2f}"


def main(out: str = "out/coordinate-check") -> int:
    """Run all checks, write what they found; 1 where one does not end as it should."""
    torch.set_num_threads(1)
    folder, began = Path(out), time.perf_counter()
    name, x, y = real_data()
    made = Nets(tuple(x.shape[1:]))
    tables, said, wrong = [], [], 0
    for title, all_checks, should in (
        ("muP", passing(made), "passes"),
        ("Controls", failing(made), "fails"),
    ):
        rows = [HEAD, ["---"] * len(HEAD)]
        for check in all_checks:
            found = check.run(x, y)
            rows.append(row(check, found))
            wrong += rows[-1][-1] != should
            print(" | ".join(rows[-1]), flush=True)
            said += [f"## {check.name}, {check.over}", "", "```text", found.text(), "```", ""]
            slug = re.sub(r"\W+", "-", f"{check.name} {check.over}".lower())
            save_coordinates(found, folder / slug)
        tables += [f"## {title}", "", *("| " + " | ".join(r) + " |" for r in rows), ""]
    about = f"{name}, {time.perf_counter() - began:.0f} s, {wrong} not as they should be"
    write_atomic(folder / "summary.md", "\n".join([*tables, about, "", *said]))
    print(about)
    return int(wrong > 0)


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
