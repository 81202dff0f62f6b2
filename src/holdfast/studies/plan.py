"""The runs of a study: a cell a combination of choices, a run a cell and seed."""

from collections.abc import Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from holdfast.config import Config, Parts, build, override, resolve
from holdfast.records.record import Record
from holdfast.studies.axes import VARIANTS, Axis, Choice, Field
from holdfast.training.checks import check_epochs
from holdfast.training.loop import Loop
from holdfast.training.run import fingerprint

_TRAINED = ("stream", "order", "net", "heads", "richness")


@dataclass(frozen=True)
class Cell:
    """One combination of choices.

    Args:
        label: tells it from the other cells of its study.
        fields: what the table says of the choice on each axis, by its name.
        config: the resolved configuration of its runs, but for the seed.
    """

    label: str
    fields: dict[str, Field]
    config: Config


@dataclass(frozen=True)
class PlannedRun:
    """A cell with one seed."""

    cell: Cell
    seed: int
    config: Config
    identity: str

    @property
    def hash(self) -> str:
        """The first 16 hex digits of the configuration's fingerprint: the name of its folder."""
        return self.identity[:16]

    def record(self, out: Path) -> Record | None:
        """What came of the run if it has ended in the study's folder, complete or diverged."""
        try:
            record = Record.load(self.folder(out))
        except (FileNotFoundError, ValueError):
            return None
        ended = record.status != "running" and fingerprint(record.config) == self.identity
        return record if ended else None

    def folder(self, out: Path) -> Path:
        """Where the run writes to."""
        return out / "runs" / self.hash


def plan_cells(base: Config, axes: Sequence[Axis]) -> tuple[Cell, ...]:
    """The product of the axes, each combination resolved to a whole configuration.

    A part is set before its options, whatever the order of the axes.

    Raises:
        ValueError: a configuration that is wrong, or two that are the same, naming the cells.
    """
    cells: list[Cell] = []
    known: dict[str, str] = {}
    for choices in product(*(axis.choices for axis in axes)):
        name = _cell_label(axes, choices)
        settings = {k: v for choice in choices for k, v in choice.settings.items()}
        config = deepcopy(base)
        try:
            for key in sorted(settings, key=lambda key: key.count(".")):
                override(config, key, deepcopy(settings[key]))
            config = resolve({**config, "seed": 0})
            identity = fingerprint(config)
        except (ValueError, TypeError) as error:
            raise ValueError(f"cell {name!r}: {error}") from error
        if identity in known:
            raise ValueError(f"cells {known[identity]!r} and {name!r} are the same run; drop one")
        known[identity] = name
        fields = {axis.name: choice.value for axis, choice in zip(axes, choices, strict=True)}
        cells.append(Cell(name, fields, config))
    return tuple(cells)


def plan_runs(cells: Iterable[Cell], seeds: Sequence[int]) -> tuple[PlannedRun, ...]:
    """Every cell with every seed, the seeds of a cell together."""
    configs = [(cell, seed, {**cell.config, "seed": seed}) for cell in cells for seed in seeds]
    return tuple(PlannedRun(cell, seed, c, fingerprint(c)) for cell, seed, c in configs)


@dataclass(frozen=True)
class Budget:
    """What a run will spend on each task.

    Args:
        updates: that will be made on it.
        samples: that it will be tested on.
    """

    updates: tuple[int, ...]
    samples: tuple[int, ...]


def check_runs(runs: Sequence[PlannedRun]) -> dict[str, Budget]:
    """Build the parts of one run of each cell and put them together, as far as that goes untrained.

    Stream and net are built once for all cells that share them.

    Returns:
        What the runs of each of these cells will spend, by the cell's label.

    Raises:
        ValueError: parts that cannot be made or do not fit, naming the cell.
    """
    first = {run.cell.label: run for run in reversed(runs)}
    alike = {
        label: fingerprint({k: run.config[k] for k in _TRAINED}) for label, run in first.items()
    }
    held: tuple[str, Parts] | None = None
    budgets = {}
    for label in sorted(first, key=lambda label: alike[label]):
        run = first[label]
        beside = held[1] if held is not None and held[0] == alike[label] else None
        try:
            parts = build(run.config, beside)
            check_epochs(parts.method, parts.stream, parts.training)
            record = Record.empty([t.name for t in parts.stream], parts.stream.scenario, run.seed)
            loop = Loop(
                parts.stream, parts.learner, parts.method, parts.start, parts.training,
                parts.probes, run.seed, record, None, run.identity, None,
            )  # fmt: skip
        except (ValueError, TypeError) as error:
            raise ValueError(f"cell {label!r}: {error}") from error
        budgets[label] = Budget(
            tuple(_updates(parts, task) for task in range(len(parts.stream))),
            tuple(len(split) for split in loop.evaluator.splits),
        )
        held = (alike[label], parts)
    return budgets


def _updates(parts: Parts, task: int) -> int:
    """Updates that will be made on a task."""
    there = sum(len(parts.stream[i].train) for i in parts.method.rehearses(task))
    training = parts.training
    return -(-there // training.batch_size) * training.epochs_of(task, len(parts.stream))


def _cell_label(axes: Sequence[Axis], choices: Sequence[Choice]) -> str:
    if len(axes) < 2:
        return choices[0].label if choices else "base"
    last = [axis.name.rpartition(".")[2] for axis in axes]
    names = [
        short if last.count(short) == 1 else axis.name
        for axis, short in zip(axes, last, strict=True)
    ]
    return ", ".join(
        choice.label if name == VARIANTS else f"{name}={choice.label}"
        for name, choice in zip(names, choices, strict=True)
    )
