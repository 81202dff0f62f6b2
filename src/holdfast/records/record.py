"""The record: all that came of a run."""

import hashlib
import json
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import Float, Int

from holdfast.records.files import write_atomic
from holdfast.records.named import named_metrics
from holdfast.records.onset import Onset
from holdfast.records.probed import probe_means
from holdfast.records.strict_json import dumps, loads, numbers, plain
from holdfast.records.text import matrix_text
from holdfast.records.within import Part, steps_to, tasks_of

Status = Literal["running", "complete", "diverged"]

_FORMAT = "holdfast record"
_VERSION = 1
_MATRICES = ("accuracy", "loss")
_VECTORS = ("initial_accuracy", "initial_loss")
_LISTS = ("curve", "evaluations", "probes", "starts", "seconds", "cpu_seconds", "eval_seconds")
_ADDED = ("starts", "samples")  # lists that records of before do not have
_RESULTS = (
    *("tasks", "scenario", "seed", "status", "diverged"),
    *(*_MATRICES, *_VECTORS, "curve", "evaluations", "probes"),
)


@dataclass(eq=False)
class Record:
    """All that came of a run; every metric is a pure function of it.

    Accuracies are fractions in [0, 1]. NaN in an array, None in a list: not measured, or the
    learner could not predict that task yet.

    Args:
        tasks: names, in the order learned.
        scenario: see `holdfast.streams.Stream`.
        seed: of the run.
        accuracy: R[i, j], on task j after training task i. All NaN for regression.
        loss: likewise.
        initial_accuracy: on each task before any training.
        initial_loss: likewise.
        curve: one entry a training epoch: ``task``, ``epoch`` (within the task), ``step`` (updates
            made in the whole run), training ``loss`` and ``accuracy``, ``lr``. In the order made,
            as the lists that follow.
        evaluations: one entry an evaluation within a task: ``task`` (in training), ``step``,
            ``accuracy`` and ``loss`` of all tasks: lists of one number a task of the stream, None
            where it could not be predicted. That of ``training.evaluate_start``, after the start
            and before the first step, comes first, with the ``step`` the task before ended at.
        probes: one entry a measurement: ``task`` (after which), ``on`` (which task), ``step``,
            ``probe`` (its name), ``values``.
        starts: one entry a task whose start had something to tell: ``task``, ``step``, and what
            it did (see `holdfast.starts.LeastSquaresHead`).
        seconds: wall time of training, one a task.
        cpu_seconds: CPU time of training, one a task.
        eval_seconds: wall time of evaluation and probes, one a task.
        samples: number of samples that each task is evaluated on; empty where it is not known, as
            in records of before it was kept.
        config: the resolved configuration.
        environment: see `holdfast.records.environment`.
        status: ``running``, ``complete`` or ``diverged``.
        diverged: where the loss ceased to be finite: ``task``, ``epoch``, ``step``, ``reason``.

    Raises:
        ValueError: no tasks, two of one name, an array of the wrong shape, an unknown status.
    """

    tasks: tuple[str, ...]
    scenario: str
    seed: int
    accuracy: Float[np.ndarray, "tasks tasks"]
    loss: Float[np.ndarray, "tasks tasks"]
    initial_accuracy: Float[np.ndarray, " tasks"]
    initial_loss: Float[np.ndarray, " tasks"]
    curve: list[dict[str, Any]] = field(default_factory=list)
    evaluations: list[dict[str, Any]] = field(default_factory=list)
    probes: list[dict[str, Any]] = field(default_factory=list)
    starts: list[dict[str, Any]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)
    eval_seconds: list[float] = field(default_factory=list)
    samples: list[int] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    status: Status = "running"
    diverged: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        self._check()

    def _check(self) -> None:
        self.tasks = tuple(self.tasks)
        count = len(self.tasks)
        if not count or len(set(self.tasks)) < count:
            raise ValueError(f"tasks must be one or more different names, got {self.tasks}")
        if self.status not in get_args(Status):
            raise ValueError(f"status must be one of {get_args(Status)}, got {self.status!r}")
        shapes = {**dict.fromkeys(_MATRICES, (count, count)), **dict.fromkeys(_VECTORS, (count,))}
        for name, shape in shapes.items():
            array = np.asarray(getattr(self, name), dtype=np.float64)
            if array.shape != shape:
                raise ValueError(f"{name} must have shape {shape}, got {array.shape}")
            setattr(self, name, array)
        if len(self.samples) not in (0, count) or any(n < 1 for n in self.samples):
            raise ValueError(f"samples must be {count} positive numbers, got {self.samples}")

    @classmethod
    def empty(
        cls,
        tasks: Sequence[str],
        scenario: str,
        seed: int,
        config: dict[str, Any] | None = None,
        environment: dict[str, Any] | None = None,
    ) -> "Record":
        """The record of a run that is about to start: every measurement NaN."""
        count = len(tasks)
        return cls(
            tuple(tasks),
            scenario,
            seed,
            accuracy=np.full((count, count), np.nan),
            loss=np.full((count, count), np.nan),
            initial_accuracy=np.full(count, np.nan),
            initial_loss=np.full(count, np.nan),
            config=config or {},
            environment=environment or {},
        )

    @property
    def finished(self) -> int:
        """Number of tasks trained and evaluated so far."""
        measured = ~np.isnan(self.loss) | ~np.isnan(self.accuracy)
        return int(np.diagonal(measured).sum())

    def trace(
        self, task: int, of: Literal["accuracy", "loss"] = "accuracy"
    ) -> tuple[Int[np.ndarray, " evaluations"], Float[np.ndarray, "evaluations tasks"]]:
        """Evaluations made while task `task` was trained.

        Returns:
            Updates since the task began, ascending, and the accuracies, or losses, on all tasks
            then.

        Raises:
            ValueError: there is no such task.
        """
        if not 0 <= task < len(self.tasks):
            raise ValueError(f"task must be in 0..{len(self.tasks) - 1}, got {task}")
        found = _of_task(self.evaluations, task)
        steps = np.array([e["step"] for e in found], dtype=np.int64) - self._start(task)
        values = np.array([e[of] for e in found], dtype=np.float64)
        return steps, values.reshape(len(found), len(self.tasks))

    def _start(self, task: int) -> int:
        """Updates made before task `task`."""
        earlier = bisect_left(self.curve, task, key=itemgetter("task"))
        return int(self.curve[earlier - 1]["step"]) if earlier else 0

    def onset(self, task: int, part: Part = "all") -> Onset:
        """Loss and accuracy on a part of the tasks while one is trained, its end included.

        Means over the samples of the part's tasks: tasks count by `samples`, alike where these are
        not known.

        Args:
            task: in training.
            part: ``new``, that task; ``old``, those before it; ``all``, both.

        Raises:
            ValueError: no such task, or ``old`` of the first.
        """
        tasks = self._part(part, task)
        # Of all tasks seen the new one may have had no loss before.
        then = slice(0, task) if part == "all" else tasks
        steps, accuracy = self._course(task, "accuracy")
        before = self._mean(self.loss[task - 1 : task], then) if task else np.array([np.nan])
        loss = self._mean(self._course(task, "loss")[1], tasks)
        return Onset(steps, loss, self._mean(accuracy, tasks), float(before[0]))

    def _course(
        self, task: int, of: Literal["accuracy", "loss"]
    ) -> tuple[Int[np.ndarray, " evaluations"], Float[np.ndarray, "evaluations tasks"]]:
        """The trace of a task and its end, NaN of one that has not ended."""
        steps, values = self.trace(task, of)
        made, start = _of_task(self.curve, task), self._start(task)
        last = max([0, *(c["step"] - start for c in made[-1:]), *steps[-1:].tolist()])
        ends: Float[np.ndarray, "tasks tasks"] = getattr(self, of)
        return np.append(steps, last), np.concatenate([values, ends[task : task + 1]])

    def _mean(
        self, values: Float[np.ndarray, "rows tasks"], tasks: slice
    ) -> Float[np.ndarray, " rows"]:
        """Over the samples of some tasks."""
        counts = np.array(self.samples or [1] * len(self.tasks), dtype=np.float64)[tasks]
        return values[:, tasks] @ (counts / counts.sum())

    def _part(self, part: Part, task: int) -> slice:
        tasks = tasks_of(part, task)
        if not 0 <= task < len(self.tasks):
            raise ValueError(f"task must be in 0..{len(self.tasks) - 1}, got {task}")
        if part == "old" and task == 0:
            raise ValueError("part='old' of task 0 holds no tasks")
        return tasks

    def steps_to(self, target: float, task: int, part: Part = "new") -> float:
        """Updates in task `task` until the mean accuracy on a part of the tasks reaches `target`.

        Counts evaluations within the task and the one at its end.

        Args:
            target: accuracy in [0, 1].
            task: in training.
            part: ``new``, that task; ``old``, those before it; ``all``, both.

        Returns:
            NaN when it is not reached, or unknown.

        Raises:
            ValueError: no such task, or ``old`` of the first.
        """
        tasks = self._part(part, task)
        steps, values = self._course(task, "accuracy")
        return steps_to(steps, values[:, tasks].mean(axis=1), target)

    def metrics(self) -> dict[str, float]:
        """Every metric by its short name, NaN where unknown (`holdfast.records.named_metrics`).

        For a run that was cut short, the functions of `holdfast.records.metrics` take the part of
        a matrix that was filled.
        """
        # A task cut short has a trace too, but not the whole one that the formulas mean.
        whole = self.finished == len(self.tasks)
        traces = [self.trace(k)[1][: None if whole else 0] for k in range(len(self.tasks))]
        parts = get_args(Part)
        later = range(1, len(self.tasks)) if whole else ()
        onsets = [{part: self.onset(k, part) for part in parts} for k in later]
        return named_metrics(self.accuracy, self.loss, self.initial_accuracy, traces, onsets)

    def probe_means(self) -> dict[str, float]:
        """Means over tasks of what the probes measured (`holdfast.records.probe_means`)."""
        return probe_means(self.probes, len(self.tasks))

    def summary(self) -> str:
        """The record in words: its result matrix and main metrics."""
        regression = bool(np.isnan(self.accuracy).all())
        kind, matrix = ("loss", self.loss) if regression else ("accuracy", self.accuracy)
        names = ("average_loss", "loss_forgetting") if regression else ("acc", "forgetting", "bwt")
        values = self.metrics()
        main = ", ".join(f"{name} {values[name]:.3f}" for name in names)
        parts = [repr(self), f"{kind}, test on columns:", matrix_text(self.tasks, matrix), main]
        if self.seconds:
            parts.append(f"training {sum(self.seconds):.2f} s, CPU {sum(self.cpu_seconds):.2f} s")
        if self.diverged is not None:
            parts.append("diverged: " + ", ".join(f"{k} {v}" for k, v in self.diverged.items()))
        return "\n".join(parts)

    def to_dict(self, without: Sequence[str] = ()) -> dict[str, Any]:
        """Everything but fields `without`, as strict JSON holds it (NaN as None)."""
        names = [name for name in self.__dataclass_fields__ if name not in without]
        fields = {name: getattr(self, name) for name in names}
        return {"format": _FORMAT, "version": _VERSION, **plain(fields, "record")}

    @classmethod
    def from_dict(cls, data: Any) -> "Record":
        """The inverse of `to_dict`.

        Raises:
            ValueError: `data` is no record, of a later version, lacks a part or has a wrong one.
        """
        if not isinstance(data, dict) or data.get("format") != _FORMAT:
            raise ValueError(f"no Holdfast record: it has no format {_FORMAT!r}")
        if data.get("version") != _VERSION:
            raise ValueError(
                f"a record of version {data.get('version')}; this Holdfast reads {_VERSION}"
            )
        missing = [n for n in cls.__dataclass_fields__ if n not in {*data, *_ADDED}]
        if missing:
            raise ValueError(f"the record lacks {', '.join(missing)}")
        made = cls.empty(["unread"], "unread", 0)
        for name in cls.__dataclass_fields__:
            value = data.get(name, [])
            try:
                if name in (*_MATRICES, *_VECTORS):
                    value = np.array(numbers(value), dtype=np.float64)
                elif name in _LISTS:
                    value = [numbers(item) for item in value]
            except (TypeError, ValueError) as error:
                raise ValueError(f"the record's {name} cannot be read: {error}") from error
            setattr(made, name, value)
        made._check()
        return made

    def save(self, folder: str | Path) -> None:
        """Write ``record.json`` into `folder`, with the metrics for other readers.

        Raises:
            OSError: it could not be written; a record of before is untouched.
        """
        parts = self.to_dict()
        parts["metrics"] = self.metrics()
        lines = [f"{json.dumps(key)}: {dumps(value)}" for key, value in parts.items()]
        write_atomic(Path(folder) / "record.json", "{\n" + ",\n".join(lines) + "\n}\n")

    @classmethod
    def load(cls, folder: str | Path) -> "Record":
        """Read ``record.json`` of `folder`.

        Raises:
            FileNotFoundError: it is not there.
            ValueError: it is cut short, or no record.
        """
        path = Path(folder) / "record.json"
        try:
            content = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError) as error:
            raise FileNotFoundError(
                f"{folder} holds no record.json; give the folder a run wrote"
            ) from error
        try:
            data = loads(content.decode())
        except ValueError as error:
            raise ValueError(f"{path} is cut short or no JSON: {error}") from error
        try:
            return cls.from_dict(data)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error

    def content(self) -> dict[str, Any]:
        """What the same configuration must give again: the results, without times or machine.

        The configuration is left out: it is what one holds fixed, and parts of it (folders, device,
        times between checkpoints) change no result.
        """
        told = ("starts",) if self.starts else ()  # what there was before there were starts stays
        return plain({name: getattr(self, name) for name in (*_RESULTS, *told)}, "record")

    def digest(self) -> str:
        """SHA-256 of `content`: equal if and only if two runs agree bit for bit."""
        return hashlib.sha256(json.dumps(self.content(), sort_keys=True).encode()).hexdigest()

    def __repr__(self) -> str:
        done = f"{self.finished} of {len(self.tasks)} tasks"
        return f"Record({self.scenario}, {done}, seed {self.seed}, {self.status})"


def _of_task(entries: Sequence[dict[str, Any]], task: int) -> Sequence[dict[str, Any]]:
    """Entries of a task among all, which lie in the order of tasks."""
    of = itemgetter("task")
    return entries[bisect_left(entries, task, key=of) : bisect_right(entries, task, key=of)]
