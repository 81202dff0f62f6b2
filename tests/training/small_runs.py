"""Streams, learners and runs that take milliseconds, and ways to cut a run short."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from holdfast.data.split import Split
from holdfast.methods.method import Method
from holdfast.nets.learner import HeadKind, Learner, build_learner
from holdfast.nets.low_rank import lora
from holdfast.probes.probe import Probe
from holdfast.records.record import Record
from holdfast.seeds import seeded
from holdfast.starts.start import Start
from holdfast.streams.stream import Scenario, Stream, Task
from holdfast.training import loop as loop_module
from holdfast.training.options import Training
from holdfast.training.run import run

CLASSES = (2, 3, 2)


def make_stream(
    scenario: Scenario = "class_incremental",
    rows: int = 8,
    regression: bool = False,
    fed: str = "tensors",
    validation: bool = False,
) -> Stream:
    """Three tasks of clusters in five dimensions that differ in size and number of classes.

    `fed`: ``tensors``, ``loader`` (drawing from torch's global generator) or ``own`` (a loader
    with a generator of its own).
    """
    draws = torch.Generator().manual_seed(7)
    made, first = [], 0
    for i, count in enumerate(CLASSES):
        if scenario == "domain_incremental":
            count, first = 2, 0
        classes = tuple(range(first, first + count))
        first += count
        splits = []
        for n in (rows + i, 6 + 2 * i, 5):
            y = torch.tensor(classes)[torch.arange(n) % count]
            x = torch.randn(n, 5, generator=draws) + y[:, None] % 3 + i
            splits.append(Split(x, torch.randn(n, 2, generator=draws) if regression else y))
        train, test, held = splits
        source: Split | DataLoader = train
        if fed != "tensors":
            own = torch.Generator().manual_seed(99) if fed == "own" else None
            data = TensorDataset(train.x, train.y)
            source = DataLoader(data, batch_size=5, shuffle=True, generator=own)
        made.append(
            Task(f"t{i}", source, test, held if validation else None, () if regression else classes)
        )
    return Stream(made, scenario)


class Scaled(nn.Module):
    """Features times a learned number: a parameter without dimensions."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.0))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale

    def reset_parameters(self) -> None:
        self.scale.data.fill_(1.0)


def make_learner(
    stream: Stream, heads: HeadKind = "auto", net: str = "plain", seed: int = 0
) -> Learner:
    """`net`: ``plain``, ``noisy`` (BatchNorm, dropout), ``scaled``, ``image`` or ``low_rank``."""
    with seeded(seed, "test"):
        layers: list[nn.Module] = [nn.Linear(5, 8), nn.ReLU()]
        if net == "noisy":
            layers = [nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3)]
        elif net == "scaled":
            layers.append(Scaled())
        elif net == "image":
            grid = nn.Unflatten(1, (5, 1, 1))
            layers = [grid, nn.Conv2d(5, 8, 3, padding=1), nn.ReLU(), nn.Flatten()]
    backbone: nn.Module = nn.Sequential(*layers)
    if net == "low_rank":
        backbone = lora(backbone, rank=2, dropout=0.2, seed=seed)
    if net == "image":
        backbone = backbone.to(memory_format=torch.channels_last)
    return build_learner(backbone, stream, heads, seed)


@dataclass
class Setup:
    """All that a run is made of, made anew for every run."""

    method: Callable[[], Method] = Method
    scenario: Scenario = "class_incremental"
    heads: HeadKind = "auto"
    net: str = "plain"
    training: dict[str, Any] = field(default_factory=dict)
    start: Callable[[], Start] = Start
    probes: Callable[[], tuple[Probe, ...]] = tuple
    stream: dict[str, Any] = field(default_factory=dict)

    def run(
        self, out: Path | None = None, seed: int = 0, init: int = 0, **options: Any
    ) -> tuple[Record, Learner]:
        stream = make_stream(self.scenario, **self.stream)
        learner = make_learner(stream, self.heads, self.net, init)
        changed = {k: options.pop(k) for k in ("checkpoint_minutes", "device") if k in options}
        defaults: dict[str, Any] = {"epochs": 2, "batch_size": 5, "lr": 0.05}
        record = run(
            stream, learner, self.method(), Training(**{**defaults, **self.training, **changed}),
            start=self.start(), probes=self.probes(), seed=seed, out=out, **options,
        )  # fmt: skip
        return record, learner


def tensors(learner: Learner) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in learner.state_dict().items()}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


class Interrupted(Exception):  # noqa: N818
    """Stands for a kill."""


@contextmanager
def copies_of_checkpoints(patch: pytest.MonkeyPatch, folder: Path) -> Iterator[list[Path]]:
    """Keep a copy of each checkpoint as it is written."""
    kept: list[Path] = []
    save = loop_module.save_checkpoint

    def keep(path: Path, tree: dict[str, Any]) -> None:
        save(path, tree)
        kept.append(folder / f"{len(kept)}.safetensors")
        shutil.copy(path, kept[-1])

    folder.mkdir()
    with patch.context() as patched:
        patched.setattr(loop_module, "save_checkpoint", keep)
        yield kept


@contextmanager
def cut_at_checkpoint(patch: pytest.MonkeyPatch, number: int) -> Iterator[None]:
    """Raise `Interrupted` in place of the checkpoint of this number (0-based)."""
    left, save = [number], loop_module.save_checkpoint

    def cut(path: Path, tree: dict[str, Any]) -> None:
        if left[0] == 0:
            raise Interrupted
        left[0] -= 1
        save(path, tree)

    with patch.context() as patched:
        patched.setattr(loop_module, "save_checkpoint", cut)
        yield
