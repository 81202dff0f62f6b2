"""Studies of runs that take milliseconds."""

from collections.abc import Generator, Sequence
from typing import Any

from matplotlib.figure import Figure

from holdfast.studies import Axis, Findings, Job, Report, Serial, Study

BASE = {
    "stream": "small_parts:clouds",
    "net": {"name": "small_parts:tiny", "seed": 0},
    "training": {"epochs": 1, "batch_size": 4},
}


def study(**changes: Any) -> Study:
    """Two strengths, two seeds."""
    given = {
        "base": BASE,
        "grid": {"method": [f"small_parts:{name}" for name in ("Shrink", "Halts")]},
        "seeds": 2,
        **changes,
    }
    return Study(**given)


class Counting(Serial):
    """Keeps the jobs it was given, and is interrupted after some of them."""

    def __init__(self, until: int | None = None) -> None:
        self.until = until
        self.jobs: list[Job] = []

    def run(self, jobs: Sequence[Job]) -> Generator[Report, None, None]:
        self.jobs = list(jobs)
        done = 0
        for report in super().run(jobs):
            if done == self.until:
                raise KeyboardInterrupt
            done += report.ended
            yield report


class Best:
    """An analysis: the cell whose mean accuracy is highest."""

    def __init__(self, metric: str = "acc", needs: str | None = None) -> None:
        self.metric, self.needs = metric, needs

    def check(self, axes: Sequence[Axis]) -> None:
        names = [axis.name for axis in axes]
        if self.needs is not None and self.needs not in names:
            raise ValueError(f"Best needs the axis {self.needs!r}, the study has {names}")

    def __call__(self, findings: Findings) -> dict[str, Any]:
        means = {cell: findings.mean(cell, self.metric).mean for cell in findings.cells}
        best = max(means, key=lambda cell: means[cell])
        ended = len(findings.table["seed"])
        return {"best": best, "means": means, "text": [f"best of {ended} runs: {best}"]}

    def figures(self, findings: Findings) -> dict[str, Figure]:
        figure = Figure()
        figure.add_subplot().bar(findings.cells, list(range(len(findings.cells))))
        return {"best of all": figure}


def plain_number(size: int = 3) -> int:
    """Nothing that could be called."""
    return size
