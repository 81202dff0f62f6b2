"""A training loop of a few lines, and small streams, for the tests of methods."""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from holdfast.data.split import Split
from holdfast.methods.method import Method
from holdfast.nets.learner import HeadKind, Learner, build_learner
from holdfast.seeds import derive, generator, seeded
from holdfast.streams.context import Context
from holdfast.streams.sources import source
from holdfast.streams.stream import Scenario, Stream, Task
from holdfast.training.checkpoint import load_checkpoint, save_checkpoint
from holdfast.training.losses import criterion

CPU = torch.device("cpu")


def make_stream(
    scenario: Scenario = "class_incremental",
    tasks: int = 3,
    rows: int = 24,
    regression: bool = False,
    classes: tuple[int, ...] = (2, 3, 2, 2),
    dtype: torch.dtype = torch.float32,
    loaders: bool = False,
) -> Stream:
    """Gaussian clusters in five dimensions; tasks differ in size and number of classes."""
    draws = torch.Generator().manual_seed(7)
    made, first = [], 0
    for i in range(tasks):
        count = classes[0] if scenario == "domain_incremental" else classes[i]
        start = 0 if scenario == "domain_incremental" else first
        labels = tuple(range(start, start + count))
        first += count
        # No epoch of any phase ends in a batch of one, which BatchNorm cannot take.
        n = rows + 3 * i
        y = torch.tensor(labels)[torch.arange(n) % count]
        x = torch.randn(n, 5, generator=draws).to(dtype) + y[:, None] % 3 + i
        target = torch.randn(n, 2, generator=draws).to(dtype) if regression else y
        train: Split | DataLoader = Split(x, target)
        if loaders:
            train = DataLoader(TensorDataset(x, target), batch_size=7, shuffle=True)
        made.append(
            Task(f"t{i}", train, Split(x[:8], target[:8]), classes=() if regression else labels)
        )
    return Stream(made, scenario)


def make_learner(stream: Stream, heads: HeadKind = "auto", norm: bool = False) -> Learner:
    dtype = stream[0].test.x.dtype
    with seeded(0, "test"):
        layers = [nn.Linear(5, 8), *([nn.BatchNorm1d(8)] if norm else []), nn.ReLU()]
        learner = build_learner(nn.Sequential(*layers).to(dtype), stream, heads)
    return learner.to(dtype)


class TinyLoop:
    """Calls the hooks in their order; can stop after any step and be saved and restored."""

    def __init__(
        self, method: Method, learner: Learner, stream: Stream, epochs: int = 2, seed: int = 0
    ) -> None:
        self.method, self.learner, self.stream = method, learner, stream
        self.epochs, self.seed, self.batch_size = epochs, seed, 7
        self.draws = generator(seed, "method")
        self.index = self.epoch = self.step = 0
        self.open = False
        method.check(learner, stream)

    def context(self) -> Context:
        tasks = [(i, self.stream[i]) for i in self.method.rehearses(self.index)]
        return Context(
            index=self.index, stream=self.stream, source=source(tasks, self.learner.columns),
            criterion=criterion("auto", self.stream.is_regression), batch_size=self.batch_size,
            generator=self.draws, device=CPU, seed=self.seed, epochs=self.epochs,
            optimizer=lambda: getattr(self, "optimizer", None),
        )  # fmt: skip

    def begin(self) -> Context:
        i = self.index
        self.learner.accommodate(i, self.stream[i], generator(self.seed, "head", i))
        context = self.context()
        self.method.begin_task(self.learner, context)
        self.make_optimizer()
        self.open = True
        return context

    def make_optimizer(self) -> None:
        parameters = [p for p in self.learner.parameters() if p.requires_grad]
        self.optimizer = torch.optim.SGD(parameters, lr=0.05, weight_decay=1e-3)

    def steps(self) -> Iterator[None]:
        """Train; yields after each step and after each task."""
        while self.index < len(self.stream):
            context = self.context() if self.open else self.begin()
            self.learner.train()
            while self.epoch < self.epochs:
                order = derive(self.seed, "order", self.index, self.epoch)
                for batch in context.source.epoch(self.batch_size, order, self.step):
                    self.optimizer.zero_grad()
                    loss, logits = self.method.loss(self.learner, batch, context)
                    assert len(logits) == len(batch)
                    loss.backward()
                    self.method.after_backward(self.learner, batch, context)
                    self.optimizer.step()
                    self.method.after_step(self.learner, batch, context)
                    self.step += 1
                    yield
                self.epoch, self.step = self.epoch + 1, 0
            self.method.end_task(self.learner, context)
            self.index, self.epoch, self.open = self.index + 1, 0, False
            yield

    def run(self) -> Learner:
        for _ in self.steps():
            pass
        return self.learner

    def until(self, index: int) -> "TinyLoop":
        """Train on the tasks before `index`."""
        for _ in self.steps():
            if self.index == index:
                break
        return self

    def save(self, path: Path) -> None:
        position = {k: getattr(self, k) for k in ("index", "epoch", "step", "open")}
        save_checkpoint(path, {
            "position": position, "learner": self.learner.state_dict(),
            "method": self.method.state_dict(), "draws": self.draws.get_state(),
        })  # fmt: skip

    def restore(self, path: Path) -> None:
        state: dict[str, Any] = load_checkpoint(path)
        for name, value in state["position"].items():
            setattr(self, name, value)
        met = self.index + 1 if self.open else self.index
        for i in range(met):
            self.learner.accommodate(i, self.stream[i], generator(self.seed, "head", i))
        self.method.load_state_dict(state["method"])
        if met:
            self.method.restore(self.learner, met - 1)
        self.learner.load_state_dict(state["learner"])
        if self.open:
            self.make_optimizer()
        self.draws.set_state(state["draws"])


def tensors(module: nn.Module) -> dict[str, Tensor]:
    return copy.deepcopy(module.state_dict())


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)
