"""The tidy table of a study: one row a run."""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from holdfast.data.optional import need
from holdfast.records.files import write_atomic
from holdfast.records.record import Record
from holdfast.studies.plan import PlannedRun

Table = dict[str, Shaped[np.ndarray, " runs"]]
"""Columns of one length by name: numbers as numbers, text as objects."""

TIMES = ("seconds", "cpu_seconds")

_ABOUT = ("cell", "seed", "status", "hash", "error")


@cache
def metric_names() -> tuple[str, ...]:
    """The names of all metrics of a record."""
    return tuple(Record.empty(["task"], "class_incremental", 0).metrics())


def require_parquet() -> None:
    """Refuse to start (`ImportError`, naming the extra) where no table could be written."""
    need("pyarrow.parquet", "the table of a study")


def row(run: PlannedRun, record: Record | None, error: str = "") -> dict[str, Any]:
    """What the table says of a run that ended; one without a record has failed.

    ``cell``; a column an axis; ``seed``; ``status``: complete, diverged or failed; every metric of
    `Record.metrics`, NaN where unknown; ``seconds`` and ``cpu_seconds`` of training; ``hash``, the
    name of the run's folder; ``error``, the traceback of a failed run; what the probes measured,
    as `Record.probe_means` names it.
    """
    measured, probed = dict.fromkeys((*metric_names(), *TIMES), float("nan")), {}
    if record is not None:
        times = {name: float(sum(getattr(record, name))) for name in TIMES}
        measured, probed = {**record.metrics(), **times}, record.probe_means()
    return {
        "cell": run.cell.label,
        **run.cell.fields,
        "seed": run.seed,
        "status": "failed" if record is None else record.status,
        **measured,
        "hash": run.hash,
        "error": error,
        **probed,
    }


def measured_names(table: Table, axes: Sequence[str]) -> tuple[str, ...]:
    """The names of what was measured on the runs: metrics, times, and probe values of a table."""
    others = {*_ABOUT, *axes}
    numeric = (n for n, values in table.items() if n not in others and values.dtype.kind in "fiu")
    return tuple(dict.fromkeys((*metric_names(), *TIMES, *numeric)))


def table_of(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Rows as columns, NaN where a row lacks one: a probe value that another run has."""
    names = dict.fromkeys(name for row in rows for name in row)
    columns = {name: [row.get(name, float("nan")) for row in rows] for name in names}
    return {
        name: np.array(values, dtype=object if isinstance(values[0], str) else None)
        for name, values in columns.items()
    }


def write_table(path: Path, table: Table) -> None:
    """Write a parquet file aside and rename it.

    Raises:
        ImportError: pyarrow is not installed.
        OSError: it could not be written; the file of before is untouched.
    """
    arrow = need("pyarrow", "the table of a study")
    sink = arrow.BufferOutputStream()
    need("pyarrow.parquet", "the table of a study").write_table(arrow.table(table), sink)
    write_atomic(path, sink.getvalue().to_pybytes())


def read_table(path: Path) -> Table:
    """Read what `write_table` wrote.

    Raises:
        ImportError: pyarrow is not installed.
        FileNotFoundError: there is no such file.
        ValueError: it is no parquet file.
    """
    arrow = need("pyarrow", "the table of a study")
    if not path.is_file():
        raise FileNotFoundError(f"no table at {path}")
    try:
        # A buffer, lest the file stay mapped while it is replaced; and no threads: where the
        # program ends soon after, those that Arrow has just started abort it (apache/arrow 34314).
        parquet = need("pyarrow.parquet", "the table of a study")
        read = parquet.ParquetFile(arrow.BufferReader(path.read_bytes())).read(use_threads=False)
    except arrow.ArrowInvalid as error:
        raise ValueError(f"{path} is truncated or no parquet file: {error}") from error
    return {name: read[name].to_numpy() for name in read.column_names}
