"""Studies of runs that take milliseconds."""

from collections.abc import Generator, Sequence
from typing import Any

from holdfast.studies import Job, Report, Serial, Study

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
