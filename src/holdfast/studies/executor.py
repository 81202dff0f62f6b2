"""Who carries runs out: a small protocol, and the plainest executor."""

import traceback
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from holdfast.config import Config, run_config


@dataclass(frozen=True)
class Job:
    """A run to carry out.

    Args:
        config: resolved.
        folder: where the run writes to; what it holds of the run already is gone on from.
    """

    config: Config
    folder: Path


@dataclass(frozen=True)
class Report:
    """News of a job.

    Args:
        index: of the job in the sequence given to the executor.
        ended: whether it has ended; else it has started.
        error: of one that ended badly: a traceback, or what else is known.
    """

    index: int
    ended: bool = False
    error: str | None = None


@runtime_checkable
class Executor(Protocol):
    """Carries jobs out.

    What a run leaves in its folder is all that is needed of it, so that an executor may well send
    the jobs (`perform` is all there is to do) to machines that share no more than the folder.
    """

    def run(self, jobs: Sequence[Job]) -> Generator[Report, None, None]:
        """Carry the jobs out and tell of each that it started and that it ended, as it happens.

        A job that fails is reported and stops no other. When the generator is closed, or an
        exception leaves it, nothing goes on in the background.
        """


class Serial:
    """One job after another, in this process, with its torch threads and devices."""

    def run(self, jobs: Sequence[Job]) -> Generator[Report, None, None]:
        """Carry the jobs out in turn."""
        for index, job in enumerate(jobs):
            yield Report(index)
            yield Report(index, ended=True, error=perform(job))


def perform(job: Job) -> str | None:
    """Carry one job out, going on where its folder stands; the traceback if it fails."""
    try:
        run_config(job.config, out=job.folder, resume=True)
    except Exception:
        return traceback.format_exc()
    return None
