"""What a study found: means over its seeds with their intervals, and differences."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from holdfast.records.files import write_atomic
from holdfast.records.intervals import UNKNOWN, Interval, mean_interval
from holdfast.records.record import Record
from holdfast.records.strict_json import loads, plain
from holdfast.signatures import nearest
from holdfast.studies.table import TIMES, Table, measured_names, read_table, write_table
from holdfast.studies.text import Markup, table_text

LEVEL = 0.95
RESAMPLES = 10_000

_FORMAT = "holdfast findings"
_VERSION = 1
_STATUSES = ("complete", "diverged", "failed")


@dataclass(frozen=True, eq=False)
class Findings:
    """The runs of a study and what they say.

    Means are over the runs of a cell whose value is known; one that diverged or failed has none, so
    a mean is of the better half where `runs` tells of any. Intervals are percentile bootstrap
    intervals over seeds at 95 % with 10,000 resamples (`holdfast.records.mean_interval`), the same
    each time they are asked for; with fewer than two runs they are NaN, and of few (below about
    ten) too narrow.

    Args:
        name: of the study.
        axes: names of what was varied: columns of the table.
        cells: labels of all combinations, in order.
        seeds: that each cell was planned with.
        metrics: the ones to show; empty for accuracy and forgetting, or losses for regression.
        table: a row a run that has ended (see `holdfast.studies.table.row`).
        analysis: what the study's `Analysis` said of them; empty without one.
        folder: of the study, where the runs lie; None of findings that are of none.
    """

    name: str
    axes: tuple[str, ...]
    cells: tuple[str, ...]
    seeds: tuple[int, ...]
    metrics: tuple[str, ...]
    table: Table
    analysis: Mapping[str, Any] = field(default_factory=dict)
    folder: Path | None = None

    def values(self, cell: str, metric: str) -> dict[int, float]:
        """The known values of a metric in a cell, by seed.

        Raises:
            ValueError: there is no such cell or metric.
        """
        self._require("cell", cell, self.cells)
        self._require("metric", metric, self._known())
        if metric not in self.table:
            return {}
        chosen = self.table["cell"] == cell
        seeds, values = self.table["seed"][chosen], self.table[metric][chosen]
        found = zip(seeds.tolist(), values.tolist(), strict=True)
        return {seed: value for seed, value in found if not np.isnan(value)}

    def mean(self, cell: str, metric: str) -> Interval:
        """Mean of a metric over the runs of a cell, with its interval; NaN without a known value.

        Raises:
            ValueError: there is no such cell or metric.
        """
        return _interval(np.array(list(self.values(cell, metric).values()), dtype=np.float64))

    def difference(self, first: str, second: str, metric: str) -> Interval:
        """Mean of the difference first - second over the seeds that both cells have.

        Runs of one seed share their draws (data, initial weights, order of samples where these do
        not depend on what differs), so that the interval of paired differences is often much
        narrower than those of the means.

        Raises:
            ValueError: there is no such cell or metric.
        """
        a, b = self.values(first, metric), self.values(second, metric)
        return _interval(np.array([a[s] - b[s] for s in a if s in b], dtype=np.float64))

    def runs(self, cell: str) -> dict[str, int]:
        """How many runs of a cell are complete, diverged and failed.

        Raises:
            ValueError: there is no such cell.
        """
        self._require("cell", cell, self.cells)
        if not self.table:
            return dict.fromkeys(_STATUSES, 0)
        statuses = self.table["status"][self.table["cell"] == cell].tolist()
        return {status: statuses.count(status) for status in _STATUSES}

    def record(self, cell: str, seed: int) -> Record | None:
        """The record of a run; None of one that has failed, or has not ended.

        Raises:
            ValueError: there is no such cell, or the findings are of no folder.
            FileNotFoundError: the folder lacks the run.
        """
        self._require("cell", cell, self.cells)
        if self.folder is None:
            raise ValueError("folder must be that of the study, where its runs lie; it is None")
        if not self.table:
            return None
        chosen = (self.table["cell"] == cell) & (self.table["seed"] == seed)
        ended = chosen & (self.table["status"] != "failed")
        hashes = self.table["hash"][ended].tolist()
        return Record.load(self.folder / "runs" / hashes[0]) if hashes else None

    def errors(self) -> dict[tuple[str, int], str]:
        """The error of each run that failed, by cell and seed."""
        if not self.table:
            return {}
        columns = (self.table[name].tolist() for name in ("cell", "seed", "error"))
        return {(cell, seed): error for cell, seed, error in zip(*columns, strict=True) if error}

    def text(
        self,
        metrics: Sequence[str] | None = None,
        markup: Markup = "text",
    ) -> str:
        """A row a cell, a column a metric: mean [low, high].

        Runs that are missing, diverged or failed are told of where there are any.

        Args:
            metrics: by default those `shown`.
            markup: aligned text or a Markdown table.

        Raises:
            ValueError: an unknown metric.
        """
        shown = self.shown if metrics is None else tuple(metrics)
        head = [", ".join(self.axes) or "cell", "runs", *shown]
        rows = []
        for cell in self.cells:
            intervals = [_show(self.mean(cell, metric), metric) for metric in shown]
            rows.append([cell, self._count(cell), *intervals])
        return table_text([head, *rows], markup)

    def to_dict(self) -> dict[str, Any]:
        """The findings as JSON holds them: every metric of every cell."""
        return {
            "format": _FORMAT,
            "version": _VERSION,
            "name": self.name,
            "axes": list(self.axes),
            "seeds": list(self.seeds),
            "metrics": list(self.metrics),
            "interval": {
                "kind": "percentile bootstrap over runs",
                "level": LEVEL,
                "resamples": RESAMPLES,
            },
            "cells": [self._cell(cell) for cell in self.cells],
            **({"analysis": dict(self.analysis)} if self.analysis else {}),
        }

    def save(self, folder: Path) -> None:
        """Write ``table.parquet`` and ``findings.json`` (null for what is unknown) into the folder.

        Raises:
            OSError: a file could not be written; that of before is untouched.
        """
        write_table(folder / "table.parquet", self.table)
        found = plain(self.to_dict(), "findings")
        text = json.dumps(found, indent=1, allow_nan=False, ensure_ascii=False)
        write_atomic(folder / "findings.json", text + "\n")

    @classmethod
    def load(cls, folder: str | Path) -> "Findings":
        """The findings of a study's folder, from ``findings.json`` and ``table.parquet``.

        Raises:
            FileNotFoundError: the folder holds no study that has come so far.
            ValueError: a file is damaged or of another version.
        """
        path = Path(folder) / "findings.json"
        if not path.is_file():
            raise FileNotFoundError(f"{folder} holds no findings.json; give the folder of a study")
        try:
            found = loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{path} is cut short or no JSON: {error}") from error
        if not isinstance(found, dict) or found.get("format") != _FORMAT:
            raise ValueError(f"{path} holds no findings: it has no format {_FORMAT!r}")
        if found.get("version") != _VERSION:
            raise ValueError(f"{path} is of version {found.get('version')}; this reads {_VERSION}")
        return cls(
            found["name"],
            tuple(found["axes"]),
            tuple(cell["cell"] for cell in found["cells"]),
            tuple(found["seeds"]),
            tuple(found["metrics"]),
            read_table(Path(folder) / "table.parquet"),
            found.get("analysis", {}),
            Path(folder),
        )

    def __str__(self) -> str:
        said = self.analysis.get("text", [])
        lines = [said] if isinstance(said, str) else said
        return "\n".join([self.name, self.text(), *(["", *map(str, lines)] if lines else [])])

    @property
    def shown(self) -> tuple[str, ...]:
        """The metrics to show: those asked for, or accuracy and forgetting, or losses."""
        if self.metrics:
            return self.metrics
        known = bool(self.table) and not np.isnan(self.table["acc"]).all()
        return ("acc", "forgetting") if known else ("average_loss", "loss_forgetting")

    def _count(self, cell: str) -> str:
        runs = self.runs(cell)
        ended, complete = sum(runs.values()), runs["complete"]
        if complete == len(self.seeds):
            return str(complete)
        others = [f"{runs[s]} {s}" for s in ("diverged", "failed") if runs[s]]
        missing = [f"{len(self.seeds) - ended} to come"] if ended < len(self.seeds) else []
        return f"{complete} ({', '.join(others + missing)})"

    def _cell(self, cell: str) -> dict[str, Any]:
        metrics = {}
        for metric in self._known():
            count = len(self.values(cell, metric))
            metrics[metric] = {**self.mean(cell, metric)._asdict(), "runs": count}
        return {"cell": cell, "runs": self.runs(cell), "metrics": metrics}

    def _known(self) -> tuple[str, ...]:
        """What may be asked for; a probe's value also where no run has one yet."""
        asked = (metric for metric in self.metrics if "." in metric)
        return tuple(dict.fromkeys((*measured_names(self.table, self.axes), *asked)))

    def _require(self, what: str, given: str, known: Sequence[str]) -> None:
        if given not in known:
            raise ValueError(
                f"there is no {what} {given!r}{nearest(given, known)}; "
                f"the {what}s are {', '.join(map(repr, known))}"
            )


def _interval(values: Float[np.ndarray, " runs"]) -> Interval:
    return mean_interval(values, LEVEL, RESAMPLES) if len(values) else UNKNOWN


def _show(interval: Interval, metric: str) -> str:
    # Of a probe's value it is not known how large it is.
    form = ".3g" if "." in metric else ".1f" if metric in TIMES else ".3f"
    if np.isnan(interval.mean):
        return "-"
    if np.isnan(interval.low):
        return f"{interval.mean:{form}}"
    mean, low, high = (f"{value:{form}}" for value in interval)
    return f"{mean} [{low}, {high}]"
