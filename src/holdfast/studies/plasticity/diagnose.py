"""Does carrying on from yesterday's weights cost generalisation, and what mends it?"""

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from numbers import Integral
from pathlib import Path
from time import monotonic
from typing import Any

import torch
from torch import nn

from holdfast.nets.learner import Learner
from holdfast.streams.stream import Stream, Transform
from holdfast.studies.plasticity.diagnose_arms import Arm, Tried, arms, check_arms
from holdfast.studies.plasticity.diagnose_data import NEW, OLD, Samples, training_split, two_phases
from holdfast.studies.plasticity.diagnose_kept import (
    Kept,
    drop_weights,
    read_run,
    read_weights,
    write_run,
    write_weights,
)
from holdfast.studies.plasticity.diagnose_model import Builder, built, check_builder, with_weights
from holdfast.studies.plasticity.diagnose_run import ArmRun, Parts, pretrain, tune
from holdfast.studies.plasticity.diagnosis import Diagnosis
from holdfast.studies.plasticity.diagnosis_arms import ArmFound
from holdfast.studies.progress import Event, StudyListener, Tracker
from holdfast.training.checks import check_batches
from holdfast.training.divergence import Diverged
from holdfast.training.optimizers import build_optimizer
from holdfast.training.options import Training


def diagnose(
    build: Builder,
    old: Samples,
    new: Samples,
    test: Samples,
    *,
    training: Training | None = None,
    updates: int | None = None,
    old_epochs: int | None = None,
    model: nn.Module | None = None,
    try_: Sequence[Tried] = (),
    seeds: int | Sequence[int] = 5,
    transform: Transform | None = None,
    tolerance: float = 0.005,
    out: str | Path | None = None,
    listener: StudyListener | None = None,
) -> Diagnosis:
    """Train from yesterday's weights and from fresh ones side by side, and tell them apart.

    For each seed the *warm* arm carries on from weights that were trained on the old samples, the
    *fresh* arm begins with `build(seed)`. Both are then trained on old and new samples together,
    with the same number of updates on the same batches in the same order, and so is a further arm
    for each mitigation. The generalisation gap is the test accuracy of warm less that of fresh,
    each a mean over the last 30 % of the epochs (Berariu et al., 2021, *A study on the plasticity
    of neural networks*; Ash & Adams, 2020, *On warm-starting neural network training*). Nothing
    stops early: all arms run their whole budget.

    The arms of a seed share their data, which lie on the device, and, where they can, the weights
    of yesterday, which are trained once. A method trains in both phases and so has weights of its
    own, unless `model` is given: then it works in the new phase alone.

    Args:
        build: makes the model of a seed: logits (n, classes) of inputs (n, ...), or a `Learner`.
        old: what yesterday's weights were trained on: a pair (x, y) of tensors, a `Split`, a
            map-style dataset, or a `DataLoader`, which is read once.
        new: what came since, likewise.
        test: what accuracy is told on, likewise.
        training: the budget, and how it is spent; by default 30 epochs of Adam at 0.001 with
            batches of 32.
        updates: of the new phase in place of `training.epochs`; rounded up to whole epochs.
        old_epochs: of the old phase; by default `training.pretraining_epochs`, or the epochs of
            the new one.
        model: yesterday's weights, in place of training them: a model as `build` makes it, trained
            on `old`. The interval is then over fresh weights and orders of batches, for these
            weights.
        try_: mitigations, see `arms`: `"l2_init"`, `{"start": {"name": "reset_groups", ...}}`,
            `{"training": {"lr": 0.01}}`, objects.
        seeds: of the pairs, or their number. Of one nothing is told for sure.
        transform: raw samples into inputs of the net; see `Task`.
        tolerance: how near to fresh weights' accuracy counts as reached.
        out: folder that keeps what was run; a diagnosis that was killed goes on when it is asked
            again with the same arguments.
        listener: told of each run as it begins and ends.

    Raises:
        TypeError, ValueError: before any work: a builder that is no function of its seed, data
            that do not fit, arms with unequal budgets, a mitigation that cannot serve the model,
            naming it and what it lacks.
    """
    training = Training(epochs=30, optimizer="adam", lr=0.001) if training is None else training
    if not isinstance(training, Training):
        raise TypeError(
            f"training must be a Training, such as Training(epochs=5); got {training!r}"
        )
    stream = two_phases(old, new, test, training.place(), transform)
    return diagnose_stream(
        build, stream, training=training, updates=updates, old_epochs=old_epochs, model=model,
        try_=try_, seeds=seeds, tolerance=tolerance, out=out, listener=listener,
    )  # fmt: skip


def diagnose_stream(
    build: Builder,
    stream: Stream,
    *,
    training: Training,
    updates: int | None = None,
    old_epochs: int | None = None,
    model: nn.Module | None = None,
    try_: Sequence[Tried] = (),
    builder_of: Callable[[Mapping[str, Any]], Builder] | None = None,
    seeds: int | Sequence[int] = 5,
    tolerance: float = 0.005,
    settings: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    listener: StudyListener | None = None,
) -> Diagnosis:
    """`diagnose` over the two phases of `two_phases`, for what is made of a configuration."""
    drawn = _seeds(seeds)
    _check_numbers(updates, old_epochs, tolerance)
    if updates is not None:
        steps = math.ceil(len(training_split(stream, NEW)) / training.batch_size)
        training = replace(training, epochs=math.ceil(updates / steps))
    old_epochs = old_epochs or training.pretraining_epochs or training.epochs
    training = replace(training, pretraining_epochs=old_epochs, evaluate_every=None)
    check_builder(build, drawn, stream)
    found = arms(try_, build, training, builder_of)
    for other in {id(arm.build): arm.build for arm in found if arm.build is not build}.values():
        check_builder(other, drawn, stream)
    learners = {arm.label: built(arm.build, drawn[0], stream[NEW]) for arm in found}
    given = None if model is None else with_weights(built(build, drawn[0], stream[NEW]), model)
    if given is not None:
        for arm in found:
            if arm.warm:
                with_weights(learners[arm.label], given)
    for learner in learners.values():
        check_batches(learner, stream, found[0].method, training.batch_size)
    check_arms(found, learners, stream)
    kept = Kept(None if out is None else Path(out), stream, training, given)
    # The first optimizer of a process makes torch load much, which is no arm's cost.
    build_optimizer({"": nn.Parameter(torch.zeros(1))}, training)
    runs = _Runs(stream, training, given, kept, listener)
    done = runs.all(found, drawn)
    drop_weights(kept.folder)
    asked: dict[str, Any] = dict(settings or {})
    asked |= {
        "training": {k: v for k, v in asdict(training).items() if k not in _OTHERS},
        "old_epochs": None if model is not None else old_epochs,
        "samples": [len(training_split(stream, phase)) for phase in (OLD, NEW)],
        "test_samples": len(stream[NEW].test),
    }
    diagnosis = Diagnosis(
        tuple(ArmFound(a.label, a.kind, a.words, tuple(done[a.label])) for a in found),
        asked,
        tolerance,
    )
    if out is not None:
        diagnosis.save(out)
    return diagnosis


_OTHERS = ("pretraining_epochs", "evaluate_start", "evaluate_every", "evaluate_tasks")
"""Options of training that a diagnosis sets itself."""


class _Runs:
    """Runs what is left to run, the arms of a seed one after the other."""

    def __init__(
        self,
        stream: Stream,
        past: Training,
        given: Learner | None,
        kept: Kept,
        listener: StudyListener | None,
    ) -> None:
        self.stream, self.past, self.given, self.kept = stream, past, given, kept
        self.listener = listener

    def all(self, found: Sequence[Arm], seeds: Sequence[int]) -> dict[str, list[ArmRun]]:
        """The runs of each arm, in the order of the seeds."""
        done: dict[str, list[ArmRun]] = {arm.label: [] for arm in found}
        paths = {
            (arm.label, seed): self.kept.run_path(arm, self._built(arm, seed), seed)
            for arm in found
            for seed in (seeds if self.kept.folder else ())
        }
        held = {key: read_run(path) for key, path in paths.items()}
        ended = sum(run is not None for run in held.values())
        tracker = Tracker(len(found) * len(seeds), ended)
        self._tell(tracker, "begin")
        for seed in seeds:
            shared: dict[int, Learner | Diverged] = {}
            for place, arm in enumerate(found):
                key = (arm.label, seed)
                run = held.get(key)
                if run is None:
                    tracker.start(place, monotonic())
                    self._tell(tracker, "running", arm.label, seed)
                    run = self._run(arm, seed, shared)
                    write_run(paths.get(key), run)
                    tracker.end(place, monotonic())
                    event: Event = "complete" if run.diverged is None else "diverged"
                    self._tell(tracker, event, arm.label, seed)
                done[arm.label].append(run)
        self._tell(tracker, "end")
        return done

    def _run(self, arm: Arm, seed: int, shared: dict[int, Learner | Diverged]) -> ArmRun:
        parts = arm.parts()
        learner = self._built(arm, seed)
        if not arm.warm:
            return tune(arm, parts, learner, self.stream, seed)
        try:
            learner, parts = self._yesterday(arm, learner, parts, seed, shared)
        except Diverged as error:
            nan, why = math.nan, f"on the old samples, at update {error.step}, {error.reason}"
            return ArmRun(seed, (), nan, 0, nan, nan, {}, why)
        return tune(arm, parts, learner, self.stream, seed)

    def _yesterday(
        self,
        arm: Arm,
        learner: Learner,
        parts: Parts,
        seed: int,
        shared: dict[int, Learner | Diverged],
    ) -> tuple[Learner, Parts]:
        """A learner with the weights of yesterday, and the arm's parts as they left them."""
        if self.given is not None:
            return with_weights(learner, self.given), parts
        if arm.has_own_past:
            pretrain(parts, learner, self.stream, self.past, seed)
            return learner, parts
        key = id(arm.build)
        if key not in shared:
            path = self.kept.weights_path(arm, learner, seed)
            try:
                if not read_weights(path, learner):
                    pretrain(arm.parts(), learner, self.stream, self.past, seed)
                    write_weights(path, learner)
                shared[key] = learner
            except Diverged as error:
                shared[key] = error
        found = shared[key]
        if isinstance(found, Diverged):
            raise found
        return copy.deepcopy(found), parts

    def _built(self, arm: Arm, seed: int) -> Learner:
        return built(arm.build, seed, self.stream[NEW])

    def _tell(
        self, tracker: Tracker, event: Event, label: str = "", seed: int | None = None
    ) -> None:
        if self.listener is not None:
            self.listener(tracker.progress(event, monotonic(), label, seed))


def _seeds(seeds: int | Sequence[int]) -> tuple[int, ...]:
    if isinstance(seeds, bool) or not isinstance(seeds, (Integral, Sequence)):
        raise TypeError(f"seeds must be a number of seeds, or a list of them; got {seeds!r}")
    drawn = tuple(range(int(seeds)) if isinstance(seeds, Integral) else seeds)
    whole = all(isinstance(s, Integral) and not isinstance(s, bool) and s >= 0 for s in drawn)
    if not drawn or not whole or len(set(drawn)) < len(drawn):
        raise ValueError(
            f"seeds must be a positive number of seeds, or a list of different ones; got {seeds!r}"
        )
    return tuple(int(s) for s in drawn)


def _check_numbers(updates: int | None, old_epochs: int | None, tolerance: float) -> None:
    for name, value in (("updates", updates), ("old_epochs", old_epochs)):
        whole = isinstance(value, int) and not isinstance(value, bool)
        if value is not None and (not whole or value < 1):
            raise ValueError(f"{name} must be a positive integer, got {value!r}")
    if not isinstance(tolerance, (int, float)) or not 0 <= tolerance < 1:
        raise ValueError(f"tolerance must be an accuracy in [0, 1), got {tolerance!r}")
