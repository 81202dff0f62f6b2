"""Training one arm at one seed, with what it cost and what was measured on the way."""

import math
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from holdfast.methods.method import Method
from holdfast.nets.learner import Learner
from holdfast.nets.modes import evaluation_mode
from holdfast.probes.probe import Phase, Probe
from holdfast.records.record import Record
from holdfast.seeds import seeded
from holdfast.starts.start import Start
from holdfast.streams.batches import Batch
from holdfast.streams.stream import Stream
from holdfast.studies.plasticity.diagnose_arms import Arm
from holdfast.studies.plasticity.diagnose_data import NEW, OLD, training_split
from holdfast.studies.plasticity.diagnose_probes import measured_at_start
from holdfast.training.divergence import Diverged
from holdfast.training.loop import Loop
from holdfast.training.options import Training

Parts = tuple[Start, Method]


@dataclass(frozen=True, eq=False)
class ArmRun:
    """One arm at one seed.

    Args:
        seed: of the model and the order of the batches.
        accuracy: test accuracy after each epoch of the new phase; empty where it diverged.
        train_accuracy: at the end, on old and new samples, in evaluation mode.
        updates: of the new phase.
        seconds: of training in the new phase, evaluations and probes left out.
        cpu_seconds: likewise.
        probes: measured where the new phase begins.
        diverged: why it did; None where it did not.
    """

    seed: int
    accuracy: tuple[float, ...]
    train_accuracy: float
    updates: int
    seconds: float
    cpu_seconds: float
    probes: dict[str, float] = field(default_factory=dict)
    diverged: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON values, that make it again as keyword arguments."""
        return {**vars(self), "accuracy": list(self.accuracy), "probes": dict(self.probes)}

    @classmethod
    def from_dict(cls, held: dict[str, Any]) -> "ArmRun":
        """The inverse of `to_dict`."""
        unknown = {key: math.nan for key, value in held.items() if value is None}
        unknown["diverged"] = held["diverged"]
        whole: dict[str, Any] = {**held, **unknown, "accuracy": tuple(held["accuracy"])}
        return cls(**whole)


def pretrain(parts: Parts, learner: Learner, stream: Stream, training: Training, seed: int) -> None:
    """Train a learner on the old samples, all in place.

    Raises:
        Diverged: training left the finite numbers.
    """
    _train(stream, learner, parts, training, seed, OLD)


def tune(arm: Arm, parts: Parts, learner: Learner, stream: Stream, seed: int) -> ArmRun:
    """Train a learner on all samples, in place, and measure.

    The order of the batches is a function of the seed alone: all arms of a seed meet the same.

    Args:
        arm: how.
        parts: start and method of the arm, as `pretrain` left them, or new ones.
        learner: with the weights that the start is to prepare: of yesterday, or fresh ones.
        stream: the two phases.
        seed: of the run.
    """
    steps = -(-len(training_split(stream, NEW)) // arm.training.batch_size)
    training = replace(
        arm.training, evaluate_every="epoch", evaluate_tasks="current", evaluate_start=False
    )
    at_start = _AtStart(stream)
    updates = training.epochs * steps
    try:
        record = _train(stream, learner, parts, training, seed, NEW, at_start)
    except Diverged as error:
        nan, why = math.nan, f"at update {error.step}, {error.reason}"
        return ArmRun(seed, (), nan, updates, nan, nan, at_start.found, why)
    return ArmRun(
        seed,
        tuple(entry["accuracy"][NEW] for entry in record.evaluations),
        _train_accuracy(learner, stream, training.evaluation_batch),
        updates,
        record.seconds[-1],
        record.cpu_seconds[-1],
        at_start.found,
    )


def _train(
    stream: Stream,
    learner: Learner,
    parts: Parts,
    training: Training,
    seed: int,
    index: int,
    *probes: Probe,
) -> Record:
    start, method = parts
    record = Record.empty([task.name for task in stream], stream.scenario, seed)
    with seeded(seed, "torch", index):
        loop = Loop(stream, learner, method, start, training, probes, seed, record, None, "", None)
        loop.index = index
        loop.train_task()
    return record


@torch.no_grad()
def _train_accuracy(learner: Learner, stream: Stream, size: int) -> float:
    split = training_split(stream, NEW)
    hits = 0
    with evaluation_mode(learner):
        for x, y in zip(split.x.split(size), split.y.split(size), strict=True):
            hits += int((learner(x, NEW).argmax(dim=1) == learner.columns(y, NEW)).sum())
    return hits / len(split)


class _AtStart:
    """Measures where the new phase begins, after the start prepared the weights.

    Args:
        stream: the two phases.
    """

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.found: dict[str, float] = {}

    def before(self, learner: Learner, batch: Batch, phase: Phase) -> None:
        """Measure on the test batch of the new phase."""
        if batch.task == NEW:
            self.found = measured_at_start(learner, batch, self.stream, phase.loss)

    def measure(self, learner: Learner, batch: Batch) -> dict[str, float]:
        """Nothing at the end."""
        return {}
