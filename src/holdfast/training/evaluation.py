"""Accuracy and loss on every task the learner can predict, in as few passes as possible."""

import math
from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import Tensor

from holdfast.data.split import Split
from holdfast.nets.heads import GrowingHead, SharedHead
from holdfast.nets.learner import Learner
from holdfast.nets.modes import evaluation_mode, uses_batch_statistics
from holdfast.streams.batches import transformed
from holdfast.streams.context import Criterion
from holdfast.streams.stream import Stream, Task
from holdfast.training.options import Training

CACHED_ELEMENTS = 2**28
"""Network inputs kept on the device for all evaluations, at most (1 GiB of float32)."""


@dataclass(frozen=True)
class Scores:
    """One number a task of the stream; NaN where the learner cannot predict the task (yet).

    Accuracy is NaN throughout for regression.
    """

    accuracy: list[float]
    loss: list[float]

    def known(self) -> dict[str, list[float | None]]:
        """Both lists, None in place of NaN."""
        both = {"accuracy": self.accuracy, "loss": self.loss}
        return {k: [None if math.isnan(v) else v for v in values] for k, values in both.items()}


class Evaluator:
    """Evaluates one learner on the tasks of a stream, again and again as it learns.

    The samples of all tasks lie on the device as network inputs and go through the network
    together; tasks that share their samples (the stages of a growing stream) and their head are
    passed once. Task by task go those that do not fit, a backbone that differs by task, and one
    whose BatchNorm uses the statistics of the batch.

    Raises:
        ValueError: validation scores are asked of a task without a validation split.
    """

    def __init__(self, stream: Stream, training: Training, device: torch.device) -> None:
        self.stream, self.device = stream, device
        self.batch_size = training.evaluation_batch
        self.splits = [_split(task, training.evaluate_on) for task in stream]
        keys = [
            (id(split), id(task.transform)) for split, task in zip(self.splits, stream, strict=True)
        ]
        self.twin = [keys.index(key) for key in keys]
        sizes = [len(s) if self.twin[i] == i else 0 for i, s in enumerate(self.splits)]
        self.ends = torch.tensor(sizes).cumsum(0).tolist()
        self.fits = self.ends[-1] * math.prod(stream.input_shape) <= CACHED_ELEMENTS
        self._inputs: Tensor | None = None
        self._columns: dict[int, Tensor] = {}

    @torch.no_grad()
    def __call__(
        self, learner: Learner, criterion: Criterion, tasks: Collection[int] | None = None
    ) -> Scores:
        """Scores on the tasks that the learner's heads know, among `tasks` where they are given.

        The learner's mode is put back as it was.
        """
        known = [
            i
            for i, task in enumerate(self.stream)
            if (tasks is None or i in tasks) and learner.heads.knows(i, task.classes)
        ]
        scores = Scores([math.nan] * len(self.stream), [math.nan] * len(self.stream))
        # Of other heads than these it is not known that the task makes no difference to them.
        alike = not learner.per_task and isinstance(learner.heads, (SharedHead, GrowingHead))
        first = {self.twin[i]: i for i in reversed(known)}
        passed = [i for i in known if first[self.twin[i]] == i or not alike]
        with evaluation_mode(learner):
            if self.fits and not learner.per_task and not uses_batch_statistics(learner):
                self._together(learner, criterion, passed, scores)
            else:
                for i in passed:
                    self._alone(learner, criterion, i, scores)
        for i in set(known) - set(passed):
            scores.accuracy[i] = scores.accuracy[first[self.twin[i]]]
            scores.loss[i] = scores.loss[first[self.twin[i]]]
        return scores

    def _together(
        self, learner: Learner, criterion: Criterion, tasks: list[int], scores: Scores
    ) -> None:
        if not tasks:
            return
        x = self._joined(tasks)
        y = torch.cat([self._y(learner, i) for i in tasks])
        sizes = [len(self.splits[i]) for i in tasks]
        ids = torch.tensor(tasks).repeat_interleave(torch.tensor(sizes)).to(self.device)
        losses, hits = [], []
        for part in _chunks(len(x), self.batch_size):
            logits = learner(x[part], ids[part])
            losses.append(criterion(logits, y[part], "none"))
            hits.append(_hits(logits, y[part]))
        _fill(scores, tasks, torch.cat(losses), torch.cat(hits), sizes)

    def _alone(self, learner: Learner, criterion: Criterion, index: int, scores: Scores) -> None:
        task, split, y = self.stream[index], self.splits[index], self._y(learner, index)
        losses, hits = [], []
        for part in _chunks(len(split), self.batch_size):
            logits = learner(task.inputs(split.x[part].to(self.device)), index)
            losses.append(criterion(logits, y[part], "none"))
            hits.append(_hits(logits, y[part]))
        _fill(scores, [index], torch.cat(losses), torch.cat(hits), [len(split)])

    def _joined(self, tasks: list[int]) -> Tensor:
        if self._inputs is None:
            own = [i for i in range(len(self.stream)) if self.twin[i] == i]
            self._inputs = torch.cat(
                [transformed(self.stream[i], self.splits[i].x, self.device) for i in own]
            )
        ends = [self.ends[self.twin[i]] for i in tasks]
        starts = [end - len(self.splits[i]) for i, end in zip(tasks, ends, strict=True)]
        if starts[1:] == ends[:-1]:
            return self._inputs[starts[0] : ends[-1]]
        return torch.cat([self._inputs[a:b] for a, b in zip(starts, ends, strict=True)])

    def _y(self, learner: Learner, index: int) -> Tensor:
        if index not in self._columns:
            self._columns[index] = learner.columns(self.splits[index].y.to(self.device), index)
        return self._columns[index]


def _split(task: Task, which: str) -> Split:
    if which == "test":
        return task.test
    if task.validation is None:
        raise ValueError(
            f"training.evaluate_on is 'validation' but task {task.name!r} has none; "
            "build the stream with validation=0.1, say"
        )
    return task.validation


def _chunks(n: int, size: int) -> list[slice]:
    """Parts of at most `size`, of one size but for one: no last part is left with one sample,
    which has no statistics.
    """
    count = -(-n // size)
    return [slice(n * i // count, n * (i + 1) // count) for i in range(count)]


def _hits(logits: Tensor, y: Tensor) -> Tensor:
    if y.is_floating_point():
        return torch.full((len(y),), math.nan, device=y.device)
    return (logits.argmax(dim=1) == y).to(torch.float32)


def _fill(scores: Scores, tasks: list[int], losses: Tensor, hits: Tensor, sizes: list[int]) -> None:
    """Means over each task's samples, which lie one task after the other."""
    lengths = torch.tensor(sizes, device=losses.device)
    loss = torch.segment_reduce(losses.double(), "mean", lengths=lengths).tolist()
    accuracy = torch.segment_reduce(hits.double(), "mean", lengths=lengths).tolist()
    for i, a, b in zip(tasks, accuracy, loss, strict=True):
        scores.accuracy[i], scores.loss[i] = a, b
