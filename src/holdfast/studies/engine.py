"""Carries the runs of a study out, keeping the table up as they end."""

import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from holdfast.studies.executor import Executor, Job
from holdfast.studies.plan import PlannedRun
from holdfast.studies.progress import Event, StudyListener, Tracker
from holdfast.studies.table import row, table_of, write_table

Rows = list[dict[str, Any] | None]
"""What the table says of each run; None of one that has not ended."""

_SAVE_SECONDS = 10.0
"""Longest time for which rows of ended runs are not written while others end."""


def known_rows(runs: Sequence[PlannedRun], out: Path) -> Rows:
    """The rows of the runs that the folder holds already, complete or diverged."""
    found = ((run, run.record(out)) for run in runs)
    return [None if record is None else row(run, record) for run, record in found]


def carry_out(
    runs: Sequence[PlannedRun],
    rows: Rows,
    out: Path,
    executor: Executor,
    listener: StudyListener | None = None,
) -> None:
    """Carry out the runs whose row is None, and fill the rows as they end.

    A run that was interrupted goes on from its checkpoint, one that failed starts from there too.
    ``table.parquet`` is written every few seconds in which a run ends; its last state is the
    caller's business.

    Args:
        runs: of the study.
        rows: one a run, changed in place.
        out: the study's folder.
        executor: carries the runs out.
        listener: told of the progress.

    Raises:
        OSError: the table could not be written.
        KeyboardInterrupt: the work was interrupted; what ended is in `rows`.
    """
    pending = [index for index, known in enumerate(rows) if known is None]
    tracker = Tracker(len(runs), len(runs) - len(pending))

    def tell(event: Event, run: PlannedRun | None = None, error: str | None = None) -> None:
        if listener is not None:
            cell, seed = (run.cell.label, run.seed) if run else ("", None)
            listener(tracker.progress(event, time.monotonic(), cell, seed, error))

    tell("begin")
    saved = time.monotonic()
    jobs = [Job(runs[index].config, runs[index].folder(out)) for index in pending]
    with closing(executor.run(jobs)) as reports:
        for report in reports:
            index = pending[report.index]
            run, now = runs[index], time.monotonic()
            if not report.ended:
                tracker.start(index, now)
                tell("running", run)
                continue
            record = run.record(out) if report.error is None else None
            failed = record is None
            error = (report.error or f"it left no record in {run.folder(out)}") if failed else None
            rows[index] = row(run, record, error or "")
            tracker.end(index, now, failed)
            if record is None:
                tell("failed", run, error)
            else:
                tell("complete" if record.status == "complete" else "diverged", run)
            if now - saved > _SAVE_SECONDS:
                write_table(out / "table.parquet", table_of([r for r in rows if r is not None]))
                saved = time.monotonic()
    tell("end")
