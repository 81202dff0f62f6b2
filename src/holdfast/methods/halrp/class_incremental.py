"""How well classes are told apart across tasks, when nobody says the task."""

from dataclasses import dataclass

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from holdfast.methods.halrp.class_means import ClassMeans
from holdfast.methods.halrp.identify import Calibration, Rule, identify
from holdfast.nets.learner import Learner
from holdfast.streams.batches import transformed
from holdfast.streams.stream import Stream


@dataclass(frozen=True)
class ClassIncremental:
    """Shares of the test samples of T tasks; means over tasks, each counting alike.

    Args:
        tasks: (T,) class right, the task identified.
        oracles: (T,) class right, the task given.
        confusion: (T, T) test samples of task i that went to task j.
    """

    tasks: Float64[Tensor, " tasks"]
    oracles: Float64[Tensor, " tasks"]
    confusion: Int64[Tensor, "tasks tasks"]

    @property
    def accuracy(self) -> float:
        """With the task identified."""
        return float(self.tasks.mean())

    @property
    def oracle(self) -> float:
        """With the task given: what no rule of identification can add to."""
        return float(self.oracles.mean())

    @property
    def identified(self) -> float:
        """Share of samples whose task was found."""
        counts = self.confusion.double()
        return float((counts.diagonal() / counts.sum(1)).mean())


def class_incremental_accuracy(
    learner: Learner,
    stream: Stream,
    rule: Rule = "entropy",
    *,
    means: ClassMeans | None = None,
    temperature: float = 1.0,
    calibration: Calibration | None = None,
    batch_size: int = 1024,
) -> ClassIncremental:
    """The class-incremental accuracy of a learner with a head for each task of a stream.

    Args:
        learner: that has learned the tasks of the stream.
        stream: whose test samples are seen; a task's transform, where it has one, is part of its
            samples. Where tasks share labels, a label counts as right whichever task it came from.
        rule: see `identify`.
        means: for ``class_mean``; by default those of the calibration, or of the stream's training
            samples.
        temperature: of ``energy``.
        calibration: see `identify`.
        batch_size: samples at a time.

    Raises:
        ValueError: targets are no classes, or as `identify`.
    """
    if stream.is_regression:
        raise ValueError("stream must have class labels, this one has regression targets")
    if rule == "class_mean" and means is None and calibration is None:
        means = ClassMeans.of(learner, stream)
    if calibration is not None and means is None:
        means = calibration.means
    device = next(learner.parameters()).device
    count = len(stream)
    confusion = torch.zeros(count, count, dtype=torch.int64)
    right, known = torch.zeros(2, count, dtype=torch.float64)
    for index, task in enumerate(stream):
        truth = task.test.y.to(device)
        for x, y in zip(
            transformed(task, task.test.x, device).split(batch_size),
            truth.split(batch_size),
            strict=True,
        ):
            found = identify(
                learner, x, rule, means=means, temperature=temperature, calibration=calibration,
                tasks=range(count),
            )  # fmt: skip
            told = identify(learner, x, "energy", tasks=(index,))
            confusion[index] += found.task.cpu().bincount(minlength=count)
            right[index] += float((found.label == y).sum())
            known[index] += float((told.label == y).sum())
    sizes = torch.tensor([len(task.test) for task in stream], dtype=torch.float64)
    return ClassIncremental(right / sizes, known / sizes, confusion)
