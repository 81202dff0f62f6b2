"""What a tuning took, against a search at the target width."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from holdfast.studies.findings import Findings


@dataclass(frozen=True)
class Cost:
    """Seconds of training.

    Args:
        narrow: of all runs of the narrow copy.
        target: of the runs at the target at the value found and its neighbours.
        besides: of the other runs at the target, for comparison.
        grid: of the whole grid at the target; a run that was not made counts as the mean of those
            in muP that were complete. NaN where none was.
        measured: how many runs of that grid were made.
        runs: how many it has.
    """

    narrow: float
    target: float
    besides: float
    grid: float
    measured: int
    runs: int

    @property
    def spent(self) -> float:
        """On the search: `narrow` and `target`."""
        return self.narrow + self.target

    @property
    def ratio(self) -> float:
        """How many times as long the whole grid takes; NaN where nothing is known."""
        return self.grid / self.spent if self.spent > 0 else float("nan")


def cost(
    narrow: Findings,
    target: Findings | None,
    grid: Sequence[str],
    near: Sequence[str],
    compared: Sequence[str] = (),
    time: str = "cpu_seconds",
) -> Cost:
    """What was spent, and what the whole grid at the target takes.

    Args:
        narrow: findings at the small width.
        target: findings at the target, None where nothing was run there.
        grid: labels of its cells that the whole grid has, whether they were run or not.
        near: those among them at the value found and its neighbours.
        compared: labels of the cells in another parametrization.
        time: ``cpu_seconds`` or ``seconds``.
    """
    runs = len(grid) * len(narrow.seeds)
    first = float(np.nansum(narrow.table[time])) if narrow.table else 0.0
    if target is None or not target.table:
        return Cost(first, 0.0, 0.0, float("nan"), 0, runs)
    cells, times = target.table["cell"], target.table[time]
    known = np.isfinite(times)
    on_grid, at = np.isin(cells, list(grid)) & known, np.isin(cells, list(near)) & known
    whole = ~np.isin(cells, list(compared)) & (target.table["status"] == "complete") & known
    mean = float(times[whole].mean()) if whole.any() else float("nan")
    measured = int(on_grid.sum())
    rest = (runs - measured) * mean if measured < runs else 0.0
    return Cost(
        narrow=first,
        target=float(times[at].sum()),
        besides=float(times[known & ~at].sum()),
        grid=float(times[on_grid].sum()) + rest,
        measured=measured,
        runs=runs,
    )
