"""How each task is trained: a frozen set of options, checked when made."""

from dataclasses import dataclass
from typing import Any, Literal, get_args, get_type_hints

import torch

OptimizerName = Literal["sgd", "adam", "adamw", "rmsprop"]
ScheduleName = Literal["constant", "cosine", "exponential", "step", "one_cycle"]
LossName = Literal["auto", "cross_entropy", "mse"]
Precision = Literal["float32", "bfloat16"]
FreezeBackbone = Literal["never", "after_first", "always"]
Augmentation = Literal["none", "flip_shift"]


@dataclass(frozen=True)
class Training:
    """Training of each task of a stream.

    Args:
        epochs: passes over a task's training samples.
        pretraining_epochs: passes over those of each task before the last of the stream, where they
            are to be others than `epochs`.
        batch_size: samples a step.
        optimizer: ``sgd``, ``adam``, ``adamw`` or ``rmsprop``.
        lr: learning rate at the start of each task (the peak for ``one_cycle``).
        momentum: of ``sgd`` and ``rmsprop``.
        betas: of ``adam`` and ``adamw``.
        rms_decay: of the mean square of the gradient that ``rmsprop`` divides by.
        weight_decay: added to the gradient (``sgd``, ``adam``, ``rmsprop``) or decoupled
            (``adamw``).
        schedule: of the learning rate over the steps of a task, restarted at each task:
            ``constant``; ``cosine`` to 0; ``exponential``, lr * decay^(epochs done), smooth in
            steps; ``step``, lr * decay at each of `milestones`; ``one_cycle``, up from lr / 25
            over the first 30 % of the steps, then down to lr / 2.5e5, both as half cosines
            (`torch.optim.lr_scheduler.OneCycleLR`, without its cycle of the momentum).
        decay: factor of ``exponential`` (per epoch) and ``step`` (per milestone).
        milestones: epochs after which ``step`` decays.
        clip: largest norm of the gradient over all parameters; `None` leaves it alone.
        loss: ``cross_entropy``; ``mse``, half the squared distance to the one-hot or regression
            target, summed over outputs and averaged over samples; ``auto`` takes ``mse`` for
            regression and ``cross_entropy`` for classes.
        augment: what is done to the images of a training batch on the device, drawn anew each time:
            ``none``, or ``flip_shift`` (see `holdfast.training.augment.flip_shift`).
        precision: ``bfloat16`` runs forward passes under autocast, on CUDA.
        freeze_backbone: while a task is trained the backbone is held still, its running statistics
            too, and works in evaluation mode: ``never``, ``always``, or from the second task on,
            ``after_first``. It is left frozen.
        freeze_old_rows: hold the head's rows of the classes of earlier tasks still, bit for bit,
            while new ones are learned (see `holdfast.training.frozen.FrozenRows`).
        reset_optimizer: start each task with a fresh optimizer; else its moments are carried on
            (rows of grown heads start with zero moments).
        evaluate_start: evaluate each task before its first step too, after the start prepared it.
        evaluate_every: steps between evaluations of all known tasks within a task; ``epoch``
            evaluates at the end of each epoch, `None` after each task alone.
        evaluate_on: the split that fills the record's matrices.
        evaluate_tasks: ``all`` tasks the learner can predict, those ``seen`` so far, or the
            ``current`` one alone, for long streams in which nothing is to be kept. Probes measure
            on those seen or on the current one alone.
        evaluation_batch: samples of one forward pass of an evaluation.
        checkpoint_minutes: longest time between two checkpoints of a run that has a folder; one is
            also written after each task. 0 writes one after every step.
        device: ``auto`` (CUDA where there is one), ``cpu``, ``cuda``, ``cuda:1`` ...

    Raises:
        TypeError, ValueError: naming the field, the value and what is allowed.
    """

    epochs: int = 5
    pretraining_epochs: int | None = None
    batch_size: int = 32
    optimizer: OptimizerName = "sgd"
    lr: float = 0.1
    momentum: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    rms_decay: float = 0.99
    weight_decay: float = 0.0
    schedule: ScheduleName = "constant"
    decay: float = 0.1
    milestones: tuple[int, ...] = ()
    clip: float | None = None
    loss: LossName = "auto"
    augment: Augmentation = "none"
    precision: Precision = "float32"
    freeze_backbone: FreezeBackbone = "never"
    freeze_old_rows: bool = False
    reset_optimizer: bool = True
    evaluate_start: bool = False
    evaluate_every: int | Literal["epoch"] | None = None
    evaluate_on: Literal["test", "validation"] = "test"
    evaluate_tasks: Literal["all", "seen", "current"] = "all"
    evaluation_batch: int = 1024
    checkpoint_minutes: float = 5.0
    device: str = "auto"

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for field in (
            "optimizer", "schedule", "loss", "augment", "precision", "freeze_backbone",
            "evaluate_on", "evaluate_tasks",
        ):  # fmt: skip
            self._require(field, getattr(self, field) in get_args(hints[field]), hints[field])
        for field in ("epochs", "batch_size", "evaluation_batch"):
            self._integer(field, getattr(self, field))
        if self.pretraining_epochs is not None:
            self._integer("pretraining_epochs", self.pretraining_epochs)
        if self.evaluate_every not in (None, "epoch"):
            self._integer("evaluate_every", self.evaluate_every)
        for field in (
            "lr", "momentum", "rms_decay", "weight_decay", "decay", "checkpoint_minutes",
        ):  # fmt: skip
            self._number(field, getattr(self, field))
            # 1 and 1.0 are one option, and to be written as one.
            object.__setattr__(self, field, float(getattr(self, field)))
        if self.clip is not None:
            self._number("clip", self.clip)
            object.__setattr__(self, "clip", float(self.clip))
        betas, milestones = self._numbers("betas"), self._numbers("milestones")
        for field in ("freeze_old_rows", "reset_optimizer", "evaluate_start"):
            if not isinstance(getattr(self, field), bool):
                raise TypeError(
                    f"training.{field} must be True or False, got {getattr(self, field)!r}"
                )
        if not isinstance(self.device, str):
            raise TypeError(f"training.device must be a string, got {self.device!r}")
        self._require("lr", 0 < self.lr < float("inf"), "a positive number")
        self._require("momentum", 0 <= self.momentum < 1, "in [0, 1)")
        self._require("rms_decay", 0 <= self.rms_decay < 1, "in [0, 1)")
        in_range = len(betas) == 2 and all(0 <= b < 1 for b in betas)
        self._require("betas", in_range, "two numbers in [0, 1)")
        self._require("weight_decay", 0 <= self.weight_decay < float("inf"), "0 or more")
        self._require("decay", 0 < self.decay <= 1, "in (0, 1]")
        epochs = all(isinstance(m, int) and m > 0 for m in milestones)
        self._require("milestones", epochs, "positive integers, of epochs")
        self._require("clip", self.clip is None or self.clip > 0, "a positive number or None")
        self._require("checkpoint_minutes", self.checkpoint_minutes >= 0, "0 or more")
        if self.schedule == "step":
            self._require("milestones", bool(milestones), "given for schedule='step'")
        object.__setattr__(self, "betas", betas)
        object.__setattr__(self, "milestones", milestones)

    def _integer(self, field: str, value: object) -> None:
        if not isinstance(value, int) or isinstance(value, bool):
            raise TypeError(f"training.{field} must be an integer, got {value!r}")
        self._require(field, value > 0, "a positive integer")

    def _number(self, field: str, value: object) -> None:
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            raise TypeError(f"training.{field} must be a number, got {value!r}")

    def _numbers(self, field: str) -> tuple[Any, ...]:
        values = getattr(self, field)
        if not isinstance(values, (tuple, list)):
            raise TypeError(f"training.{field} must be a tuple of numbers, got {values!r}")
        for value in values:
            self._number(field, value)
        return tuple(values)

    def _require(self, field: str, holds: bool, allowed: object) -> None:
        if not holds:
            what = ", ".join(map(str, get_args(allowed))) if get_args(allowed) else allowed
            raise ValueError(f"training.{field} must be {what}; got {getattr(self, field)!r}")

    def epochs_of(self, index: int, tasks: int) -> int:
        """Passes over the training samples of the task at position `index` of so many."""
        earlier = self.pretraining_epochs is not None and index < tasks - 1
        return self.pretraining_epochs or self.epochs if earlier else self.epochs

    def place(self) -> torch.device:
        """The device to train on.

        Raises:
            ValueError: it is not there, or cannot run the asked precision.
        """
        name = self.device
        if name == "auto":
            name = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            device = torch.device(name)
            torch.zeros(1, device=device).item()
        except (RuntimeError, AssertionError, NotImplementedError) as error:
            there = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
            raise ValueError(
                f"training.device {self.device!r} is not there; this machine has {there}"
            ) from error
        if self.precision == "bfloat16" and device.type != "cuda":
            raise ValueError(
                f"training.precision 'bfloat16' runs on CUDA, the device is {device}; "
                "use precision='float32'"
            )
        return device
