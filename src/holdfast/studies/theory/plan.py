"""What is asked of the theory in a configuration."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import torch

from holdfast.config import Config, make_part, read_config
from holdfast.signatures import check_keys, typed_options
from holdfast.streams.stream import Stream
from holdfast.studies.theory.asked import Compared, Phased, grid, named_solver, section
from holdfast.studies.theory.drawn import stream_points
from holdfast.theory.from_tasks import problem
from holdfast.theory.problem import Loss, Problem, absolute_gamma0
from holdfast.theory.tasks import gaussian_tasks

Units = Literal["absolute", "base_64"]
Heads = Literal["auto", "single", "per_task"]
Precision = Literal["float64", "float32"]


@dataclass(frozen=True)
class Prediction:
    """A question to the theory: tasks, a network, and how rich it is.

    Args:
        gamma0: values, each of which is solved.
        units: of `gamma0` throughout: ``absolute``, or ``base_64`` as the rest of the library has
            it, eight times as large.
        stream: configuration of a stream, as of a run; or
        gaussian: options of `holdfast.theory.gaussian_tasks`.
        samples: points of each task.
        classes: labels to draw them from; all by default.
        depth: hidden layers.
        phi: activation.
        readout_std: of the raw readout weights at the start.
        heads: ``single`` or ``per_task``; ``auto`` is per task in a task-incremental stream.
        loss: ``mse`` or ``cross_entropy``.
        steps: of each task.
        lr: eta.
        momentum: of the gradient steps.
        weight_decay: see `holdfast.theory.Schedule`.
        batch_size: points of a step; all by default.
        solver: ``auto`` or a name, or a mapping of such a ``name`` and options.
        compare: options of `Compared`, if networks are to be trained too.
        phase: options of `Phased`, if there is to be a diagram.
        precision: ``float64`` or ``float32``.
        seed: of the stream, of the points drawn from it, and of batches.
        name: of it all.

    Raises:
        ValueError: something of these is of another form, naming it.
    """

    gamma0: Sequence[float]
    units: Units
    stream: Config | str | None = None
    gaussian: Config | None = None
    samples: int = 30
    classes: Sequence[int] | None = None
    depth: int = 1
    phi: str = "relu"
    readout_std: float = 1.0
    heads: Heads = "auto"
    loss: Loss = "mse"
    steps: int = 200
    lr: float = 0.1
    momentum: float = 0.0
    weight_decay: float = 0.0
    batch_size: int | None = None
    solver: str | Config = "auto"
    compare: Config | None = None
    phase: Config | None = None
    precision: Precision = "float64"
    seed: int = 0
    name: str = "theory"

    def __post_init__(self) -> None:
        if (self.stream is None) == (self.gaussian is None):
            raise ValueError("give either stream or gaussian: where points come from")
        for key, allowed in (("units", Units), ("heads", Heads), ("precision", Precision)):
            if getattr(self, key) not in get_args(allowed):
                raise ValueError(
                    f"{key} must be one of {get_args(allowed)}, got {getattr(self, key)!r}"
                )
        if not isinstance(self.name, str) or not self.name.strip():
            raise ValueError(f"name must be a text, got {self.name!r}")
        object.__setattr__(self, "gamma0", grid("gamma0", self.gamma0))
        named_solver(self.solver)
        compared = self.compared
        if compared is not None and compared.gamma0 is not None:
            strange = sorted(set(compared.gamma0) - set(self.gamma0))
            if strange:
                raise ValueError(f"compare.gamma0 holds {strange}, which gamma0 does not")
        if self.phased is not None and self.gaussian is None:
            given = self.stream if isinstance(self.stream, Mapping) else {"name": self.stream}
            if given.get("name") not in ("permuted", "teacher_student"):
                raise ValueError(
                    "phase varies the similarity of tasks, which streams permuted and "
                    f"teacher_student have, and gaussian; got {given.get('name')!r}"
                )

    @property
    def compared(self) -> Compared | None:
        """The networks asked for."""
        return section("compare", self.compare, Compared)

    @property
    def phased(self) -> Phased | None:
        """The diagram asked for."""
        return section("phase", self.phase, Phased)

    def absolute(self, gamma0: float) -> float:
        """A value in absolute units."""
        return gamma0 if self.units == "absolute" else absolute_gamma0(gamma0)

    def problem(
        self, gamma0: float, similarity: float | None = None, seed: int | None = None
    ) -> Problem:
        """What is to be solved, at a similarity and seed of the data if they are varied.

        Raises:
            FileNotFoundError, ValueError, TypeError: data that is not there, or whatever is wrong
                with an option.
        """
        seed = self.seed if seed is None else seed
        heads = self.heads
        if self.gaussian is not None:
            options: Config = dict(self.gaussian)
            if similarity is not None:
                options["similarity"] = similarity
            skip = frozenset({"points", "seed"})
            typed = typed_options("gaussian", gaussian_tasks, options, skip)
            inputs, targets = gaussian_tasks(self.samples, **typed, seed=seed)
        else:
            stream = self._stream(similarity, seed)
            classes = None if self.classes is None else list(self.classes)
            inputs, targets = stream_points(stream, self.samples, classes, self.loss, seed)
            if heads == "auto" and stream.scenario == "task_incremental":
                heads = "per_task"
        made = problem(
            inputs, targets, self.steps, lr=self.lr, gamma0=gamma0, units=self.units,
            depth=self.depth, phi=self.phi, readout_std=self.readout_std,
            heads="single" if heads == "auto" else heads, loss=self.loss,
            momentum=self.momentum, weight_decay=self.weight_decay, batch_size=self.batch_size,
            seed=seed,
        )  # fmt: skip
        return made if self.precision == "float64" else made.to(torch.float32)

    def problems(self) -> dict[float, Problem]:
        """Those of all gamma0, which share their data."""
        first = self.problem(self.gamma0[0])
        return {g: replace(first, gamma0=self.absolute(g)) for g in self.gamma0}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "Prediction":
        """A prediction from a configuration, whose keys are the arguments.

        Raises:
            ValueError: an unknown key (with the nearest known one), a wrong type, or something
                missing.
        """
        check_keys("theory", config, cls.__dataclass_fields__)
        given = {key: value for key, value in config.items() if value is not None}
        return cls(**typed_options("theory", cls, given))

    @classmethod
    def read(cls, folder: str | Path) -> "Prediction":
        """The prediction that a folder holds.

        Raises:
            FileNotFoundError: it holds none.
            ValueError: its ``theory.yaml`` holds something else.
        """
        path = Path(folder) / "theory.yaml"
        if not path.is_file():
            raise FileNotFoundError(f"{folder} holds no prediction: there is no theory.yaml in it")
        return cls.from_config(read_config(path))

    def to_config(self) -> Config:
        """The inverse of `from_config`."""
        found = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {
            k: list(v) if isinstance(v, tuple) else v for k, v in found.items() if v is not None
        }

    def _stream(self, similarity: float | None, seed: int) -> Stream:
        named = {"name": self.stream} if isinstance(self.stream, str) else self.stream
        given: Config = dict(named or {})
        if similarity is not None:
            given["similarity"] = similarity
        made: Stream = make_part("stream", given, seed=seed)
        return made
