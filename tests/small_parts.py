"""Parts of runs that take milliseconds, and of runs that go wrong, named by import path."""

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from holdfast.data.split import Dataset, Split
from holdfast.methods.method import Method
from holdfast.nets.learner import Learner
from holdfast.seeds import generator, seeded
from holdfast.streams.batches import Batch
from holdfast.streams.context import Context
from holdfast.streams.stream import Scenario, Stream, Task


def clouds(
    tasks: int = 2, rows: int = 20, scenario: Scenario = "task_incremental", seed: int = 0
) -> Stream:
    """Two overlapping clouds of points for each task."""
    if tasks > 5:
        raise ValueError(f"tasks must be at most 5, got {tasks}")
    draws = generator(seed, "clouds")

    def split(task: int) -> Split:
        y = torch.arange(rows) % 2
        return Split(torch.randn(rows, 3, generator=draws) + y[:, None], y + 2 * task)

    made = [Task(f"task {i}", train=split(i), test=split(i)) for i in range(tasks)]
    return Stream(made, scenario, "clouds")


def points(rows: int = 12, classes: int = 4) -> Dataset:
    """A dataset of points on a line."""
    x = torch.arange(rows, dtype=torch.float32)[:, None]
    split = Split(x, torch.arange(rows) % classes)
    return Dataset(split, split, name="points")


def halves(dataset: Dataset, extra: Dataset | None = None, weight: float = 1.0) -> Stream:
    """A stream of one task, from a dataset and perhaps another."""
    parts = [dataset] if extra is None else [dataset, extra]
    tasks = [Task(f"{i}", train=d.train, test=d.test) for i, d in enumerate(parts)]
    return Stream(tasks, "task_incremental")


def together(datasets: Sequence[Dataset]) -> Stream:
    """One task a dataset."""
    tasks = [Task(f"{i}", train=d.train, test=d.test) for i, d in enumerate(datasets)]
    return Stream(tasks, "task_incremental")


def tiny(input_shape: Sequence[int], width: int = 4, seed: int = 0) -> nn.Module:
    """A linear layer and a ReLU."""
    with seeded(seed, "tiny"):
        return nn.Sequential(nn.Linear(input_shape[0], width), nn.ReLU())


class Shrink(Method):
    """Adds strength / 2 |theta|^2 to the loss."""

    def __init__(
        self,
        strength: float = 0.1,
        powers: tuple[int, ...] = (2,),
        count: int = 1,
        limit: float | None = None,
    ) -> None:
        if strength < 0:
            raise ValueError(f"strength must be 0 or more, got {strength}")
        self.strength, self.powers, self.count, self.limit = strength, powers, count, limit

    def loss(self, learner: Learner, batch: Batch, context: Context) -> tuple[Tensor, Tensor]:
        loss, logits = super().loss(learner, batch, context)
        norm = sum((p.square().sum() for p in learner.parameters()), torch.zeros(()))
        return loss + 0.5 * self.strength * norm, logits


class Needy(Method):
    """An option without a default."""

    def __init__(self, memory: int, note="any") -> None:
        self.memory, self.note = memory, note


class Picky(Method):
    """Serves streams of three tasks alone."""

    def check(self, learner: Learner, stream: Stream) -> None:
        if len(stream) != 3:
            raise ValueError(f"Picky needs 3 tasks, got {len(stream)}")


class Raises(Method):
    """Fails when the second task begins."""

    def begin_task(self, learner: Learner, context: Context) -> None:
        if context.index == 1:
            raise RuntimeError("the second task is too much")


class Dies(Method):
    """Takes its process with it when the second task begins."""

    def begin_task(self, learner: Learner, context: Context) -> None:
        if context.index == 1:
            os.kill(os.getpid(), signal.SIGKILL)


class Explodes(Method):
    """The loss is infinite from the second task on."""

    def loss(self, learner: Learner, batch: Batch, context: Context) -> tuple[Tensor, Tensor]:
        loss, logits = super().loss(learner, batch, context)
        return (loss * float("inf") if context.index == 1 else loss), logits


class Weight:
    """A probe that does not tell what it measures."""

    def measure(self, learner: Learner, batch: Batch) -> dict[str, float]:
        return {"norm": next(learner.parameters()).norm().item()}


class Halts(Method):
    """Stands still after the given step of seed 1 while $HOLDFAST_TEST_HALT names a file.

    The process writes its id there when it does.
    """

    def __init__(self, after: int = 5) -> None:
        self.after, self.steps = after, 0

    def after_step(self, learner: Learner, batch: Batch, context: Context) -> None:
        self.steps += 1
        signal_file = os.environ.get("HOLDFAST_TEST_HALT")
        if signal_file and context.seed == 1 and self.steps > self.after:
            aside = Path(f"{signal_file}.tmp")
            aside.write_text(str(os.getpid()))
            aside.rename(signal_file)
            time.sleep(600)

    def state_dict(self) -> dict[str, int]:
        return {"steps": self.steps}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.steps = state["steps"]
