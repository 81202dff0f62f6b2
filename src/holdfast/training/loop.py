"""The loop: every task of a stream in turn, from any point a checkpoint can name."""

import math
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from holdfast.methods.method import Method
from holdfast.nets.learner import Learner
from holdfast.probes.probe import Probe
from holdfast.records.packed import packed, unpacked
from holdfast.records.record import Record
from holdfast.richness.rates import check_rates
from holdfast.seeds import derive, generator
from holdfast.starts.start import Start
from holdfast.streams.batches import Batch
from holdfast.streams.context import Context
from holdfast.streams.outline import outline
from holdfast.streams.sources import source
from holdfast.streams.stream import Stream
from holdfast.training.announce import Announcer
from holdfast.training.announce import Listener as Listener
from holdfast.training.augment import check_augment, flip_shift
from holdfast.training.checkpoint import FILE, Tree, save_checkpoint
from holdfast.training.clock import Clock
from holdfast.training.divergence import Diverged, bad_parameter, first_bad
from holdfast.training.evaluation import Evaluator, Scores
from holdfast.training.frozen import Freezing
from holdfast.training.learner_state import learner_state, restore_learner
from holdfast.training.losses import criterion, mse
from holdfast.training.optimizers import build_optimizer
from holdfast.training.optimizing import Optimizing
from holdfast.training.options import Training
from holdfast.training.probing import Probing
from holdfast.training.random_state import random_state, set_random_state
from holdfast.training.tally import Tally

_LOOK_EVERY = 64
"""Steps between looks at the loss off the CPU, where each look waits for the device."""


class Loop:
    """One run as it goes: what it is made of and where it stands.

    Args:
        stream, learner, method, start, training, probes, seed: the parts of the run; the learner
            is trained in place, on the device of `training`.
        record: filled as the run goes.
        folder: where checkpoints and events are written; `None` writes nothing.
        fingerprint: of the run's configuration, kept in its checkpoints.
        listener: told of each event.
        whole: whether all of `stream` is there; else `train_task` alone may be called, and neither
            is the method checked against the stream nor the learner evaluated on it.
    """

    def __init__(
        self,
        stream: Stream,
        learner: Learner,
        method: Method,
        start: Start,
        training: Training,
        probes: Sequence[Probe],
        seed: int,
        record: Record,
        folder: Path | None,
        fingerprint: str,
        listener: Listener | None,
        whole: bool = True,
    ) -> None:
        self.stream, self.learner, self.method, self.start = stream, learner, method, start
        self.training, self.seed, self.record = training, seed, record
        self.folder, self.fingerprint = folder, fingerprint
        self.device = training.place()
        self.criterion = criterion(training.loss, stream.is_regression)
        self.draws = generator(seed, "method")
        self.index = self.epoch = self.step = self.total_steps = 0
        self.open = False
        self.optimizing = Optimizing(training, start)
        self.freezing = Freezing(training)
        self.clock, self.saved_at = Clock(), time.monotonic()
        check_rates(learner, training.optimizer, training.weight_decay)
        if whole:
            method.check(learner, stream)
            start.check(learner, stream)
            self.freezing.check(learner, stream)
            check_augment(training.augment, stream.input_shape)
            self.evaluator = Evaluator(stream, training, self.device)
        splits = self.evaluator.splits if whole else []
        self.probing = Probing(probes, stream, splits, training, self.device, seed)
        learner.to(self.device)
        self.announce = Announcer(folder, listener)

    @property
    def checkpoint_path(self) -> Path | None:
        """The checkpoint file of the run's folder."""
        return self.folder / FILE if self.folder else None

    @property
    def epochs(self) -> int:
        """Of the current task."""
        return self.training.epochs_of(self.index, len(self.stream))

    def run(self) -> Record:
        """Train on what is left of the stream; the record says how it ended."""
        # The first optimizer of a process makes torch import its compiler, for seconds that are
        # not the first task's.
        build_optimizer({"": nn.Parameter(torch.zeros(1))}, self.training)
        try:
            if self.index == 0 and not self.open:
                self._begin_run()
            while self.index < len(self.stream):
                self._task()
            self.record.status = "complete"
            self.announce("end", status="complete")
        except Diverged as error:
            self.record.status = "diverged"
            self.record.diverged = {
                "task": self.index,
                "epoch": min(self.epoch, self.epochs - 1),
                "step": error.step,
                "reason": error.reason,
            }
            self.announce("diverged", **self.record.diverged)
        return self.record

    def close(self) -> None:
        """Close the file of events."""
        self.announce.close()

    def _begin_run(self) -> None:
        self.announce.back_to(0)
        self.record.samples = [len(split) for split in self.evaluator.splits]
        self.announce("begin", tasks=[t.name for t in self.stream], seed=self.seed)
        scores = self.evaluator(self.learner, self.criterion)
        self.record.initial_accuracy[:] = scores.accuracy
        self.record.initial_loss[:] = scores.loss
        self._checkpoint()

    def _context(self) -> Context:
        positions = [(i, self.stream[i]) for i in self.method.rehearses(self.index)]
        return Context(
            index=self.index,
            stream=self.stream,
            source=source(positions, self.learner.columns, self.device),
            criterion=self.criterion,
            loss="mse" if self.criterion is mse else "cross_entropy",
            remembered=self.method.remembered,
            batch_size=self.training.batch_size,
            generator=self.draws,
            device=self.device,
            seed=self.seed,
            epochs=self.epochs,
            optimizer=lambda: self.optimizing.optimizer,
        )

    def train_task(self) -> None:
        """Train on what is left of the current task; it stays the current one.

        Raises:
            Diverged: a loss or parameter left the finite numbers.
        """
        task = self.stream[self.index]
        if not self.open:
            self.clock.new_task(self.record)
        with self.clock.training(self.record):
            if not self.open:
                # Gradients of what is frozen now would outlive it, but no kill.
                self.learner.zero_grad(set_to_none=True)
                self.learner.accommodate(self.index, task, generator(self.seed, "head", self.index))
            context = self._context()
            if not self.open:
                self.announce("task", task=self.index, name=task.name, samples=len(context.source))
                self._begin_task(context)
                self._new_epoch(0, context)
                self.open = True
            self.learner.train()
            self.freezing.begin(self.learner, self.stream, self.index)
            while self.epoch < self.epochs:
                self._epoch(context)
            self._check_parameters()
            self.method.end_task(self.learner, context)
            self._check_parameters()
            self.start.end_task(self.learner, context)

    def _begin_task(self, context: Context) -> None:
        if self.index == 0:
            self.method.forget()
        self.freezing.freeze_backbone(self.learner, self.index)
        done = self.start.prepare(self.learner, context)
        if done is not None:
            entry = {"task": self.index, "step": self.total_steps, **done}
            self.record.starts.append(entry)
            self.announce("start", **entry)
        self.method.begin_task(self.learner, context)
        # Also one that the method put in its place.
        self.freezing.freeze_backbone(self.learner, self.index)
        carry = not self.training.reset_optimizer
        optimizer = self.optimizing.renew(self.learner, carry=carry)
        with self.clock.evaluation(self.record, amid_training=True):
            self.probing.before(self.learner, self.index, optimizer)
        if self.training.evaluate_start:
            self._evaluate_within()

    def _task(self) -> None:
        self.train_task()
        with self.clock.evaluation(self.record):
            scores = self._evaluate()
            loss = scores.loss[self.index]
            if not math.isfinite(loss):
                raise Diverged(self.total_steps, f"the evaluation loss became {loss}")
            self.record.accuracy[self.index, :] = scores.accuracy
            self.record.loss[self.index, :] = scores.loss
            self._probe()
        self.announce("task_end", task=self.index, step=self.total_steps, **scores.known())
        self.index, self.epoch, self.step, self.open = self.index + 1, 0, 0, False
        self._checkpoint()

    def _new_epoch(self, epoch: int, context: Context) -> None:
        steps = context.source.steps(self.training.batch_size)
        self.epoch, self.step = epoch, 0
        self.tally = Tally(steps, self.device)

    def _epoch(self, context: Context) -> None:
        training, learner, method = self.training, self.learner, self.method
        optimizing, optimizer = self.optimizing, self.optimizing.optimizer
        assert optimizer is not None
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        tally, freezing = self.tally, self.freezing
        on_cpu = self.device.type == "cpu"
        classify = not self.stream.is_regression
        order = derive(self.seed, "order", self.index, self.epoch)
        for batch in context.source.epoch(training.batch_size, order, self.step):
            if optimizing.varies:
                optimizing.set_rate(optimizer, self._lr(self.step))
            for p in parameters:
                p.grad = None
            if training.augment != "none":
                draws = generator(self.seed, "augment", self.index, self.epoch, self.step)
                batch = replace(batch, x=flip_shift(batch.x, draws))
            batch = method.batch(batch, context)
            loss, logits = self._loss(batch, context)
            tally.losses[self.step] = loss.detach()
            suspect = not math.isfinite(loss.item()) if on_cpu else self.step % _LOOK_EVERY == 0
            if suspect:
                tally.check(self.step, self.total_steps)
            loss.backward()
            method.after_backward(learner, batch, context)
            freezing.before_step()
            if training.clip is not None:
                torch.nn.utils.clip_grad_norm_(parameters, training.clip)
            optimizer.step()
            freezing.after_step()
            method.after_step(learner, batch, context)
            if classify:
                tally.hit(logits, batch.y)
            tally.rows += len(batch)
            self.step += 1
            self.total_steps += 1
            self._between_steps()
        tally.check(self.step, self.total_steps)
        entry = {
            "task": self.index,
            "epoch": self.epoch,
            "step": self.total_steps,
            "loss": tally.loss,
            "accuracy": tally.accuracy if classify else None,
            "lr": self._lr(len(tally.losses) - 1),
        }
        self.record.curve.append(entry)
        self.announce("epoch", **entry)
        if method.after_epoch(learner, context, self.epoch):
            optimizing.renew(learner, carry=False)
            learner.train()
        self._new_epoch(self.epoch + 1, context)

    def _lr(self, step: int) -> float:
        """The learning rate of a step of this epoch."""
        steps = len(self.tally.losses)
        return self.optimizing.rate(self.index, self.epoch * steps + step, steps, self.epochs)

    def _loss(self, batch: Batch, context: Context) -> tuple[Tensor, Tensor]:
        if self.training.precision == "bfloat16":
            with torch.autocast(self.device.type, torch.bfloat16):
                return self.method.loss(self.learner, batch, context)
        return self.method.loss(self.learner, batch, context)

    def _check_parameters(self) -> None:
        name = bad_parameter(self.learner)
        if name is not None:
            raise Diverged(self.total_steps, f"parameter {name} left the finite numbers")

    def _between_steps(self) -> None:
        steps, every = len(self.tally.losses), self.training.evaluate_every
        every = steps if every == "epoch" else every
        if every is not None and (self.epoch * steps + self.step) % every == 0:
            self._evaluate_within()
        if self.folder is not None:
            waited = time.monotonic() - self.saved_at
            if waited >= 60 * self.training.checkpoint_minutes:
                self.clock.tick(self.record)
                self._checkpoint()

    def _evaluate_within(self) -> None:
        self._check_parameters()
        with self.clock.evaluation(self.record, amid_training=True):
            scores = self._evaluate()
        entry = {"task": self.index, "step": self.total_steps, **scores.known()}
        self.record.evaluations.append(entry)
        self.announce("evaluation", **entry)

    def _evaluate(self) -> Scores:
        i = self.index
        tasks = {"all": None, "seen": range(i + 1), "current": (i,)}[self.training.evaluate_tasks]
        with self.method.evaluated(self.learner):
            return self.evaluator(self.learner, self.criterion, tasks)

    def _probe(self) -> None:
        for measured in self.probing.measure(self.learner, self.index):
            entry = {"task": self.index, "step": self.total_steps, **measured}
            self.record.probes.append(entry)
            self.announce("probe", **entry)

    def _checkpoint(self) -> None:
        if self.checkpoint_path is None:
            return
        # A state past saving is not kept, but the next loss or the end of the task is to say so:
        # when checkpoints are due must not show in the record.
        lost = self.open and first_bad(self.tally.losses[: self.step]) is not None
        if not lost and bad_parameter(self.learner) is None:
            save_checkpoint(self.checkpoint_path, self._state())
        self.saved_at = time.monotonic()

    def _state(self) -> Tree:
        state: Tree = {
            "fingerprint": self.fingerprint,
            "position": {
                "index": self.index,
                "epoch": self.epoch,
                "step": self.step,
                "total_steps": self.total_steps,
                "open": self.open,
            },
            "stream": outline(self.stream),
            "learner": learner_state(self.learner),
            "method": self.method.state_dict(),
            "start": self.start.state_dict(),
            "probes": self.probing.state_dict(),
            "draws": self.draws.get_state(),
            "random": random_state(self.device),
            "record": packed(self.record),
            "events": self.announce.sync(),
            "optimizer": self.optimizing.state_dict(self.open),
        }
        if self.open:
            state["tally"] = self.tally.state_dict()
        return state

    def restore(self, state: Tree) -> None:
        """Stand where a checkpoint was taken.

        Raises:
            ValueError: the learner, or the file of events, is another one.
        """
        for name, value in state["position"].items():
            setattr(self, name, value)
        restore_learner(self.learner, self.method, self.stream, state, self.seed)
        self.learner.to(self.device)
        self.start.load_state_dict(state["start"])
        self.probing.load_state_dict(state["probes"])
        self.record = unpacked(state["record"])
        self.announce.back_to(state["events"])
        self.optimizing.load_state_dict(state.get("optimizer", {}), self.learner, self.open)
        if self.open:
            self.tally = Tally.restored(state["tally"], self.device)
        self.draws.set_state(state["draws"])
        set_random_state(state["random"], self.device)
