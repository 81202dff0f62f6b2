"""`holdfast show` and `holdfast data list`."""

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np

from holdfast.cli.ending import digest
from holdfast.data.catalog import available
from holdfast.records.record import Record
from holdfast.records.strict_json import dumps
from holdfast.records.text import matrix_text
from holdfast.reports.table import comparison_table
from holdfast.studies.findings import Findings
from holdfast.studies.plasticity.diagnosis import Diagnosis
from holdfast.studies.study import Study
from holdfast.studies.theory import Predicted, read_predicted
from holdfast.studies.tuning import Tuned, read_tuned

MANY = 8
"""Of more runs or cells than this the table is shown, but no matrices."""


def show(args: Namespace) -> int:
    """Show runs, studies, tunings, predictions and diagnoses."""
    folders = [Path(folder) for folder in args.folders]
    studies: dict[str, Findings | Tuned | Predicted | Diagnosis] = {}
    for folder in folders:
        if holds_tuning(folder):
            studies[str(folder)] = read_tuned(folder)
        elif holds_theory(folder):
            studies[str(folder)] = read_predicted(folder)
        elif holds_diagnosis(folder):
            studies[str(folder)] = Diagnosis.load(folder)
        elif holds_study(folder):
            studies[str(folder)] = Findings.load(folder)
    runs = {str(f): Record.load(f) for f in folders if str(f) not in studies}
    if args.json:
        shown: dict[str, Any] = {name: found.to_dict() for name, found in studies.items()}
        print(dumps(shown | {name: digest(record) for name, record in runs.items()}))
        return 0
    texts = [f"{name}: {found}" for name, found in studies.items()]
    if len(runs) <= MANY:
        texts += [f"{name}: {record.summary()}" for name, record in runs.items()]
    if len(runs) > 1:
        texts.append(comparison_table(runs))
    print("\n\n".join(texts))
    return 0


def data(args: Namespace) -> int:
    """List the datasets."""
    listed = available()
    if args.json:
        print(dumps([vars(dataset) for dataset in listed]))
        return 0
    for dataset in listed:
        rows = ", ".join(f"{count:,} {name}" for name, count in dataset.rows.items())
        where = {"embedded": "embedded", "hub": f"hub: {dataset.where}"}
        head = f"{dataset.name:14}  {where.get(dataset.place, dataset.where)}"
        print(f"{head}, {rows}" if rows else head)
        if dataset.about:
            print(fill(dataset.about, 96, initial_indent=" " * 16, subsequent_indent=" " * 16))
    if any(dataset.place == "hub" for dataset in listed):
        print("Those of the hub are fetched when they are first loaded.")
    return 0


def holds_tuning(folder: Path) -> bool:
    """Whether a folder is that of a tuning."""
    return (folder / "tuning.yaml").is_file()


def holds_theory(folder: Path) -> bool:
    """Whether a folder is that of a prediction."""
    return (folder / "theory.yaml").is_file()


def holds_diagnosis(folder: Path) -> bool:
    """Whether a folder is that of a diagnosis."""
    return any((folder / f"diagnosis.{ending}").is_file() for ending in ("yaml", "json"))


def holds_study(folder: Path) -> bool:
    """Whether a folder is that of a study.

    Raises:
        FileNotFoundError: of one that has found nothing yet.
    """
    if (folder / "findings.json").is_file():
        return True
    if (folder / "study.yaml").is_file():
        raise FileNotFoundError(
            f"the study in {folder} has no findings yet; let it end, or go on with it by "
            f"`holdfast resume {folder}`"
        )
    return False


def cell_records(study: Study, folder: Path) -> dict[str, list[Record]]:
    """The records of each cell of a study that are there, by its label."""
    found: dict[str, list[Record]] = {}
    for planned in study.runs():
        record = planned.record(folder)
        if record is not None:
            found.setdefault(planned.cell.label, []).append(record)
    return found


def cell_matrix(cell: str, records: Sequence[Record]) -> str:
    """The result matrix of a cell, a mean over its runs."""
    accuracy = np.mean([r.accuracy for r in records], axis=0)
    loss = np.mean([r.loss for r in records], axis=0)
    which, matrix = ("loss", loss) if np.isnan(accuracy).all() else ("accuracy", accuracy)
    over = f", mean of {len(records)} seeds" if len(records) > 1 else ""
    return f"{cell}: {which}{over}\n{matrix_text(records[0].tasks, matrix)}"
