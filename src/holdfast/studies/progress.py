"""Where a study stands, and how long it will take."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Event = Literal["begin", "running", "complete", "diverged", "failed", "end"]


@dataclass(frozen=True)
class Progress:
    """Something that happened in a study, and where it stands after that.

    Args:
        event: ``begin`` and ``end`` of the study; a run is ``running`` when it starts and
            ``complete``, ``diverged`` or ``failed`` when it ends.
        cell: label of the run's cell; empty for the study's own events.
        seed: of the run.
        error: of a run that failed.
        total: number of runs in the study.
        ended: runs that have ended, those found done at the beginning among them.
        failed: those among them that failed.
        running: runs under way.
        seconds_left: estimate of the time until the end; NaN until a run has ended.
    """

    event: Event
    cell: str
    seed: int | None
    error: str | None
    total: int
    ended: int
    failed: int
    running: int
    seconds_left: float


StudyListener = Callable[[Progress], None]
"""Called with each `Progress` as it happens."""


class Tracker:
    """Counts runs and their times.

    The time left is the mean duration of the runs that ended times those to come, plus what those
    under way still lack of it, over the largest number that went side by side.

    Args:
        total: runs in the study.
        ended: those done at the beginning.
    """

    def __init__(self, total: int, ended: int = 0) -> None:
        self.total, self.ended, self.failed = total, ended, 0
        self.started: dict[int, float] = {}
        self.width = 0
        self.durations: list[float] = []

    def start(self, index: int, now: float) -> None:
        """A run started."""
        self.started[index] = now
        self.width = max(self.width, len(self.started))

    def end(self, index: int, now: float, failed: bool = False) -> None:
        """A run ended."""
        self.durations.append(now - self.started.pop(index))
        self.ended += 1
        self.failed += failed

    def seconds_left(self, now: float) -> float:
        """The estimate, NaN while nothing is known."""
        if self.ended == self.total:
            return 0.0
        if not self.durations:
            return math.nan
        mean = sum(self.durations) / len(self.durations)
        to_come = self.total - self.ended - len(self.started)
        under_way = sum(max(0.0, mean - (now - began)) for began in self.started.values())
        return (to_come * mean + under_way) / self.width

    def progress(
        self,
        event: Event,
        now: float,
        cell: str = "",
        seed: int | None = None,
        error: str | None = None,
    ) -> Progress:
        """An event with where the study stands."""
        return Progress(
            event, cell, seed, error, self.total, self.ended, self.failed, len(self.started),
            self.seconds_left(now),
        )  # fmt: skip
