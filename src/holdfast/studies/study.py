"""A study: runs over a grid of configurations and several seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from holdfast.config import Config, read_config
from holdfast.records.files import write_atomic
from holdfast.signatures import check_keys
from holdfast.studies.analysis import Analysis, analysed, check_budgets, make_analysis
from holdfast.studies.asked import check_metrics, check_probed
from holdfast.studies.axes import Axis, read_axes
from holdfast.studies.engine import Rows, carry_out, known_rows
from holdfast.studies.executor import Executor, Serial
from holdfast.studies.findings import Findings
from holdfast.studies.plan import Cell, PlannedRun, check_runs, plan_cells, plan_runs
from holdfast.studies.pool import ProcessPool
from holdfast.studies.progress import StudyListener
from holdfast.studies.table import require_parquet, table_of


@dataclass(frozen=True)
class Study:
    """Runs that vary a configuration over a grid, each cell with the same seeds.

    The cells are all combinations of the values in `grid`, times the `variants`. A part is set
    before its options, so that ``method`` and ``method.strength`` may both be varied.

    Args:
        base: configuration of a run; its ``seed`` is replaced by those of the study.
        grid: dotted key -> list of values, or mapping of labels to values. A value is anything a
            configuration holds there: a number, a name, a mapping of name and options, a list.
        variants: label -> mapping of dotted keys to values that are set together; what a variant
            leaves out stays as in `base`.
        seeds: their number, or the seeds themselves.
        name: of the study.
        metrics: names of `Record.metrics` or `Record.probe_means`, ``seconds`` or ``cpu_seconds``
            to show; the table and the findings hold all.
        analysis: what to ask of the runs beyond means: ``richness`` or the import path of an
            `Analysis` of your own, or a mapping of such a ``name`` and options.
        workers: number of processes; one a core by default, 1 runs all in this process.

    Raises:
        ValueError: something of these is of another form or empty, naming it.
    """

    base: Config
    grid: Mapping[str, Any] = field(default_factory=dict)
    variants: Mapping[str, Any] = field(default_factory=dict)
    seeds: int | Sequence[int] = 5
    name: str = "study"
    metrics: Sequence[str] = ()
    analysis: str | Config | None = None
    workers: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.base, Mapping):
            raise ValueError(f"base must be the configuration of a run, got {self.base!r}")
        if not isinstance(self.name, str) or not self.name.strip():
            raise ValueError(f"name must be a text, got {self.name!r}")
        _check_seeds(self.seeds)
        if isinstance(self.metrics, str) or not isinstance(self.metrics, Sequence):
            raise ValueError(f"metrics must be a list of names, got {self.metrics!r}")
        object.__setattr__(self, "metrics", tuple(self.metrics))
        check_metrics(self.metrics)
        if self.workers is not None and (type(self.workers) is not int or self.workers < 1):
            raise ValueError(f"workers must be a positive integer, got {self.workers!r}")
        self.analyst()

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "Study":
        """A study from a configuration, whose keys are the arguments.

        Raises:
            ValueError: an unknown key (with the nearest known one), or `base` is missing.
        """
        check_keys("study", config, cls.__dataclass_fields__)
        if config.get("base") is None:
            raise ValueError("study lacks 'base': the configuration of a run")
        return cls(**{key: _plain(value) for key, value in config.items() if value is not None})

    @classmethod
    def read(cls, path: str | Path) -> "Study":
        """A study from a YAML file.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it holds no study.
        """
        return cls.from_config(read_config(path))

    def to_config(self) -> Config:
        """The inverse of `from_config`."""
        config = {key: getattr(self, key) for key in self.__dataclass_fields__}
        return {k: _plain(v) for k, v in config.items() if v is not None}

    @property
    def axes(self) -> tuple[Axis, ...]:
        """What is varied."""
        return read_axes(self.grid, self.variants)

    def analyst(self) -> Analysis | None:
        """The analysis, if there is one.

        Raises:
            ValueError: it is not known, or has no use for the axes.
        """
        axes = self.axes
        return None if self.analysis is None else make_analysis(self.analysis, axes)

    def cells(self) -> tuple[Cell, ...]:
        """All combinations, resolved.

        Raises:
            ValueError: a configuration that is wrong, naming the cell, or a metric that no probe
                measures.
        """
        cells = plan_cells(dict(self.base), self.axes)
        check_probed(self.metrics, [cell.config for cell in cells])
        return cells

    def runs(self) -> tuple[PlannedRun, ...]:
        """All runs: every cell with every seed."""
        return plan_runs(self.cells(), self._seeds())

    def run(
        self,
        out: str | Path,
        executor: Executor | None = None,
        listener: StudyListener | None = None,
    ) -> Findings:
        """Carry out what is left of the study in its folder.

        Each run writes to ``runs/<hash of its configuration>``, and one that is there already is
        not run again: a study that was killed goes on where it stopped, within a run too, and one
        that is given more values or seeds runs those alone. Besides, the folder gets
        ``study.yaml``, ``table.parquet`` and ``findings.json``.

        Args:
            out: the study's folder.
            executor: carries the runs out; by default a `ProcessPool` of `workers`, or `Serial`
                for one.
            listener: told of the progress.

        Raises:
            ImportError: pyarrow is not installed.
            ValueError: a cell that cannot be run, or `out` holds something else; before any run.
                A run that fails later raises nothing: its row in the table says so.
            KeyboardInterrupt: it was interrupted; what ended is in the table. Call again to go on.
        """
        require_parquet()
        folder = Path(out)
        self._refuse_others(folder)
        cells, seeds = self.cells(), self._seeds()
        if executor is None:
            executor = Serial() if self.workers == 1 else ProcessPool(self.workers)
        runs = plan_runs(cells, seeds)
        rows = known_rows(runs, folder)
        budgets = check_runs([run for run, known in zip(runs, rows, strict=True) if known is None])
        check_budgets(self.analyst(), [(c, budgets[c.label]) for c in cells if c.label in budgets])
        text = yaml.safe_dump(self.to_config(), sort_keys=False)
        write_atomic(folder / "study.yaml", text)
        findings = self._findings(cells, rows, folder)
        if findings.table:  # gone on with, perhaps with more cells: what is there is of this study
            findings.save(folder)
        try:
            carry_out(runs, rows, folder, executor, listener)
        finally:
            findings = self._findings(cells, rows, folder)
            if findings.table:
                findings.save(folder)
                analyst = self.analyst()
                if analyst is not None:
                    findings = analysed(analyst, findings)
                    findings.save(folder)
        return findings

    def _findings(self, cells: Sequence[Cell], rows: Rows, folder: Path) -> Findings:
        """The runs that have ended."""
        return Findings(
            name=self.name,
            axes=tuple(axis.name for axis in self.axes),
            cells=tuple(cell.label for cell in cells),
            seeds=self._seeds(),
            metrics=tuple(self.metrics),
            table=table_of([known for known in rows if known is not None]),
            folder=folder,
        )

    def _seeds(self) -> tuple[int, ...]:
        return tuple(range(self.seeds)) if isinstance(self.seeds, int) else tuple(self.seeds)

    def _refuse_others(self, folder: Path) -> None:
        """Refuse (`ValueError`) a folder that holds something else than this study."""
        if folder.exists() and not folder.is_dir():
            raise ValueError(f"out must be a folder, {folder} is a file")
        if (folder / "record.json").exists() or (folder / "checkpoint").exists():
            raise ValueError(f"out {folder} holds a run; give the study a folder of its own")
        path = folder / "study.yaml"
        if path.is_file() and (held := read_config(path).get("name")) != self.name:
            raise ValueError(
                f"out {folder} holds the study {held!r}, this one is {self.name!r}; give another "
                "folder, or the same name to go on with it"
            )


def _check_seeds(seeds: object) -> None:
    if isinstance(seeds, int) and not isinstance(seeds, bool):
        if seeds < 1:
            raise ValueError(f"seeds must be 1 or more, or a list of seeds; got {seeds}")
        return
    if not isinstance(seeds, list | tuple) or not seeds:
        raise ValueError(f"seeds must be their number or a list of them, got {seeds!r}")
    for seed in seeds:
        if type(seed) is not int or seed < 0:
            raise ValueError(f"seeds must be non-negative integers, got {seed!r}")
        if seeds.count(seed) > 1:
            raise ValueError(f"seeds holds {seed} twice")


def _plain(value: Any) -> Any:
    """As YAML has it: mappings with keys of text, lists."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
