"""Tunings that take milliseconds, and findings of tunings that never were."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from holdfast.data.split import Split
from holdfast.seeds import generator, seeded
from holdfast.streams.stream import Stream, Task
from holdfast.studies import Findings, Study
from holdfast.studies.plan import PlannedRun
from holdfast.studies.table import row, table_of
from holdfast.studies.tuning import Tuned, Tuning

CONFIG = {
    "stream": "small_parts:clouds",
    "net": "small_parts:tiny",
    "training": {"epochs": 1, "batch_size": 4, "lr": 2.0},
    "richness": {"readout_bias": False},
}

GRID = (0.1, 0.3, 1.0, 3.0)


def tuning(**changes: Any) -> Tuning:
    """A small width of 4 for a target of 8."""
    given = {"width": 4, "target_width": 8, "gamma0": GRID, "seeds": 2, "workers": 1, **changes}
    return Tuning(given.pop("config", CONFIG), **given)


Error = Callable[[int, float, int], float]
"""Of a net of some width, gamma0 and seed; NaN where it diverges."""


def tuned(error: Error, standard: float = 0.5, **changes: Any) -> Tuned:
    """What a tuning finds whose runs have the errors given, at a CPU second a unit of width."""
    of = tuning(**changes)
    grid = {str(value): value for value in of.grid}
    narrow = _findings(
        of.narrow_study(), lambda run: error(of.width, grid[run.cell.label], run.seed), of.width
    )
    found = Tuned(of, narrow, None)
    if np.isnan(found.transferred):
        return found

    def wide(run: PlannedRun) -> float:
        kind, _, value = run.cell.label.partition(" ")
        return error(of.target, float(value), run.seed) if kind == "gamma0" else standard

    study = of.target_study(found.transferred)
    return Tuned(of, narrow, _findings(study, wide, of.target))


def _findings(study: Study, value: Callable[[PlannedRun], float], seconds: float) -> Findings:
    runs = study.runs()
    rows = []
    for run in runs:
        error = value(run)
        status = "diverged" if np.isnan(error) else "complete"
        known = {"ae": error, "average_loss": error, "status": status, "cpu_seconds": seconds}
        rows.append({**row(run, None), **known})
    return Findings(
        name=study.name,
        axes=tuple(axis.name for axis in study.axes),
        cells=tuple(dict.fromkeys(run.cell.label for run in runs)),
        seeds=tuple(dict.fromkeys(run.seed for run in runs)),
        metrics=tuple(study.metrics),
        table=table_of(rows),
    )


def numbers(seed: int = 0) -> Stream:
    """Two tasks of regression."""
    draws = generator(seed, "numbers")

    def split() -> Split:
        x = torch.randn(8, 3, generator=draws)
        return Split(x, x[:, :1])

    tasks = [Task(f"task {i}", train=split(), test=split()) for i in range(2)]
    return Stream(tasks, "task_incremental", "numbers")


def wide(input_shape: Sequence[int], width: int, seed: int = 0) -> nn.Module:
    """A net that cannot be made without a width."""
    with seeded(seed, "wide"):
        return nn.Sequential(nn.Linear(input_shape[0], width), nn.ReLU())


def fixed(input_shape: Sequence[int], seed: int = 0) -> nn.Module:
    """A net of one width."""
    return wide(input_shape, 4, seed)
