"""Two pieces of work timed against each other in one process."""

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Comparison:
    """CPU seconds of both, and the ratio ours / theirs, over interleaved repetitions."""

    ours: list[float]
    theirs: list[float]

    @property
    def ratios(self) -> list[float]:
        """One ratio a pair."""
        return [a / b for a, b in zip(self.ours, self.theirs, strict=True)]

    def cells(self, name: str) -> list[str]:
        """What was timed, the seconds of theirs and of ours, and their ratio."""
        ratios = sorted(self.ratios)
        return [
            name,
            f"{statistics.median(self.theirs):.3f}",
            f"{statistics.median(self.ours):.3f}",
            f"{statistics.median(ratios):.2f} [{ratios[0]:.2f}, {ratios[-1]:.2f}]",
        ]

    def row(self, name: str, reach: float) -> list[str]:
        """A line of the table: the cells, what the ratio should be at most and whether it is."""
        reached = statistics.median(self.ratios) <= reach
        return [*self.cells(name), f"<= {reach:.2f}", "yes" if reached else "no"]


def compare(
    ours: Callable[[], object], theirs: Callable[[], object], repetitions: int = 9
) -> Comparison:
    """CPU time of both, in turn, after one warm-up of each; who goes first alternates."""
    ours(), theirs()
    times: tuple[list[float], list[float]] = ([], [])
    for i in range(repetitions):
        for which in (0, 1) if i % 2 else (1, 0):
            gc.collect()
            began = time.process_time()
            (ours, theirs)[which]()
            times[which].append(time.process_time() - began)
    return Comparison(*times)
