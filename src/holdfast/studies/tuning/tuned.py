"""What a tuning of gamma0 found."""

import json
import math
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from holdfast.config import Config
from holdfast.records.files import write_atomic
from holdfast.records.intervals import UNKNOWN, Interval
from holdfast.records.strict_json import plain
from holdfast.studies.findings import Findings
from holdfast.studies.richness.curves import GammaCurve
from holdfast.studies.richness.optima import Optimum, optimum
from holdfast.studies.table import TIMES, Table
from holdfast.studies.text import table_text
from holdfast.studies.tuning.cost import Cost, cost
from holdfast.studies.tuning.plan import RICH, Tuning, cell_label, standard_label
from holdfast.studies.tuning.regrets import Regret, regret
from holdfast.studies.tuning.widths import matching_eta
from holdfast.studies.tuning.words import (
    advice_words,
    cost_words,
    optimum_words,
    plain_words,
    rate_words,
    regret_words,
    shown,
    stable_words,
)

_FORMAT = "holdfast tuning"
_VERSION = 1


@dataclass(frozen=True, eq=False)
class Tuned:
    """What a tuning found, from the findings of its two studies.

    Args:
        tuning: what was asked.
        narrow: the study at the small width.
        wide: the study at the target width; None where no gamma0 was found to run there.
    """

    tuning: Tuning
    narrow: Findings
    wide: Findings | None

    @cached_property
    def optimum(self) -> Optimum:
        """gamma0* at the small width."""
        curve = self.narrow_curve
        return optimum(curve.gamma0, curve.values)

    @property
    def narrow_curve(self) -> GammaCurve:
        """The error against gamma0 at the small width."""
        tuning = self.tuning
        labels = {value: str(value) for value in tuning.grid}
        return _curve(self.narrow, labels, tuning.metric, tuning.width)

    @property
    def wide_curve(self) -> GammaCurve | None:
        """The error against those gamma0 that were run at the target width."""
        if self.wide is None:
            return None
        values = sorted({*self.tuning.grid, RICH})
        labels = {v: cell_label(v) for v in values if cell_label(v) in self.wide.cells}
        return _curve(self.wide, labels, self.tuning.metric, self.tuning.target)

    @property
    def transferred(self) -> float:
        """The gamma0 of least error at the small width; NaN where all diverge."""
        return self.optimum.gamma0.mean

    @cached_property
    def regret(self) -> Regret | None:
        """What the transfer costs at the target."""
        curve = self.wide_curve
        return None if curve is None else regret(curve.gamma0, curve.values, self.transferred)

    @cached_property
    def wide_optimum(self) -> Optimum | None:
        """gamma0* at the target width, where the whole grid was run there."""
        curve = self.wide_curve
        if curve is None or not {*self.tuning.grid} <= {*curve.gamma0.tolist()}:
            return None
        return optimum(curve.gamma0, curve.values)

    @property
    def gamma0(self) -> float:
        """The value to train with at the target; NaN where none is known to be stable.

        The transferred one, unless it diverges there or its regret is told from 0: then the best of
        those that were run.
        """
        found = self.regret
        if found is None:
            return float("nan")
        return found.best if math.isnan(found.value.mean) or found.told else found.gamma0

    @property
    def config(self) -> Config | None:
        """The configuration to train with, resolved; None where `gamma0` is not known."""
        known = not math.isnan(self.gamma0)
        return self.tuning.at(self.tuning.target, self.gamma0) if known else None

    def above(self, cell: str) -> Interval:
        """Error of a cell at the target minus that at `gamma0`, paired over seeds."""
        if self.wide is None or math.isnan(self.gamma0) or not _whole(self.wide, cell):
            return UNKNOWN
        return self.wide.difference(cell, cell_label(self.gamma0), self.tuning.metric)

    def ends(self) -> dict[str, str]:
        """The cells at the target to compare with, by what they are: lazy, rich, standard.

        Of several rates of the standard parametrization, the one of least error at the target.
        """
        if self.wide is None:
            return {}
        found = {"lazy": cell_label(self.tuning.grid[0]), "rich": cell_label(RICH)}
        rates = [standard_label(rate) for rate in self.tuning.standard_rates]
        means = {r: self.wide.mean(r, self.tuning.metric).mean for r in rates}
        stable = [rate for rate in rates if _whole(self.wide, rate)]
        if rates:
            found["standard"] = min(stable, key=lambda r: means[r]) if stable else rates[0]
        return found

    def cost(self, time: str = "cpu_seconds") -> Cost:
        """What the tuning took, against the whole grid at the target."""
        grid = [cell_label(value) for value in self.tuning.grid]
        near = [] if self.wide is None else self.tuning.near(self.transferred)
        rates = [standard_label(rate) for rate in self.tuning.standard_rates]
        return cost(self.narrow, self.wide, grid, [cell_label(v) for v in near], rates, time)

    def columns(self) -> Table:
        """The error by ``gamma0`` and ``width``, a row a run; NaN where it diverged."""
        seeds = len(self.narrow.seeds)
        curves = [curve for curve in (self.narrow_curve, self.wide_curve) if curve is not None]
        widths = (self.tuning.width, self.tuning.target)
        return {
            "gamma0": np.concatenate([np.tile(c.gamma0, seeds) for c in curves]),
            "width": np.repeat(widths[: len(curves)], [c.values.size for c in curves]),
            self.tuning.metric: np.concatenate([c.values.ravel() for c in curves]),
        }

    def text(self) -> str:
        """A row a gamma0, then what was found in sentences."""
        tuning, metric = self.tuning, self.tuning.metric
        head = ["gamma0", f"{metric} at width {tuning.width}"]
        if self.wide is not None:
            head += [f"at width {tuning.target}", f"above gamma0 {self.gamma0:g}"]
        rows = [head]
        for value in sorted({*tuning.grid, RICH}) if self.wide is not None else tuning.grid:
            mark = " *" if value == self.gamma0 else ""
            row = [f"{value:g}{mark}", _cell(self.narrow, str(value), metric)]
            rows.append(row + self._wide_cells(cell_label(value)))
        for rate in tuning.standard_rates if self.wide is not None else ():
            label = standard_label(rate)
            rows.append([label, "-", *self._wide_cells(label)])
        return "\n".join([table_text(rows), "", *self.sentences()])

    def sentences(self) -> list[str]:
        """What was found, one finding a sentence."""
        tuning, found = self.tuning, self.optimum
        seeds = len(self.narrow.seeds)
        lines = optimum_words(found, tuning.width, tuning.metric)
        lines += stable_words(found.stable, tuning.width, seeds)
        lines += advice_words(found, tuning.grid)
        if self.wide_optimum is not None:
            lines += optimum_words(self.wide_optimum, tuning.target, tuning.metric)
            lines += stable_words(self.wide_optimum.stable, tuning.target, seeds)
        if self.regret is not None:
            lines += regret_words(self.regret, tuning.target)
        if "standard" in (ends := self.ends()):
            lines += plain_words(ends["standard"], self.above(ends["standard"]))
        lines += cost_words(self.cost(), tuning.width, tuning.target)
        if tuning.config["richness"] is None:
            lines += rate_words(tuning.config["training"]["lr"], matching_eta(tuning.config))
        known = not math.isnan(self.gamma0)
        return [*lines, f"train with gamma0 {self.gamma0:g}" if known else "no gamma0 was found"]

    def to_dict(self) -> dict[str, Any]:
        """What was found, as JSON holds it."""
        ends = {
            name: {"cell": cell, "above": self.above(cell)._asdict()}
            for name, cell in self.ends().items()
        }
        found = {
            "format": _FORMAT,
            "version": _VERSION,
            "tuning": self.tuning.to_config(),
            "gamma0": self.gamma0,
            "transferred": self.transferred,
            "optimum": _optimum_dict(self.optimum),
            "target_optimum": self.wide_optimum and _optimum_dict(self.wide_optimum),
            "regret": self.regret and _regret_dict(self.regret),
            "ends": ends,
            "cost": {t: {**asdict(self.cost(t)), "ratio": self.cost(t).ratio} for t in TIMES},
            "text": self.sentences(),
        }
        return plain(found, "tuned")

    def save(self, folder: Path) -> None:
        """Write ``tuned.json`` and, if there is one, `config` as ``tuned.yaml``.

        Raises:
            OSError: a file could not be written; that of before is untouched.
        """
        text = json.dumps(self.to_dict(), indent=1, allow_nan=False, ensure_ascii=False)
        write_atomic(folder / "tuned.json", text + "\n")
        if self.config is None:
            (folder / "tuned.yaml").unlink(missing_ok=True)
        else:
            write_atomic(folder / "tuned.yaml", yaml.safe_dump(self.config, sort_keys=False))

    def __str__(self) -> str:
        return self.text()

    def _wide_cells(self, label: str) -> list[str]:
        if self.wide is None:
            return []
        if label not in self.wide.cells:
            return ["-", "-"]
        above = self.above(label)
        known = not math.isnan(above.mean) and label != cell_label(self.gamma0)
        difference = shown(above, sign=True) if known else "-"
        return [_cell(self.wide, label, self.tuning.metric), difference]


def _curve(findings: Findings, labels: dict[float, str], metric: str, width: int) -> GammaCurve:
    nan = float("nan")
    columns = [findings.values(label, metric) for label in labels.values()]
    values = [[column.get(seed, nan) for column in columns] for seed in findings.seeds]
    return GammaCurve(np.array(list(labels)), np.array(values), {"net.width": float(width)})


def _whole(findings: Findings, cell: str) -> bool:
    """Whether every run of a cell is complete."""
    return findings.runs(cell)["complete"] == len(findings.seeds)


def _cell(findings: Findings, cell: str, metric: str) -> str:
    """The mean of a cell, or what became of it."""
    if cell not in findings.cells:
        return "-"
    if _whole(findings, cell):
        return shown(findings.mean(cell, metric))
    runs, seeds = findings.runs(cell), len(findings.seeds)
    lost = [f"{runs[status]} of {seeds} {status}" for status in ("diverged", "failed")]
    return ", ".join(text for text in lost if text[0] != "0") or "to come"


def _optimum_dict(found: Optimum) -> dict[str, Any]:
    intervals = ("gamma0", "refined", "error", "lower_excess", "upper_excess")
    stable = found.stable
    return {
        **{name: getattr(found, name)._asdict() for name in intervals},
        "where": found.where,
        "verdict": found.verdict,
        "stable": {
            "every": stable.every,
            "most": stable.most,
            "missing": {str(g): n for g, n in stable.missing.items()},
        },
    }


def _regret_dict(found: Regret) -> dict[str, Any]:
    intervals = {name: getattr(found, name)._asdict() for name in ("value", "held_out")}
    return {"gamma0": found.gamma0, "best": found.best, "among": found.among, **intervals}
