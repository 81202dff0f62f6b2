"""`holdfast plot`."""

from argparse import Namespace
from pathlib import Path

import numpy as np

from holdfast.cli.diagnosing import diagnosis_figures
from holdfast.cli.naming import slug, slugs
from holdfast.cli.showing import (
    MANY,
    cell_records,
    holds_diagnosis,
    holds_study,
    holds_theory,
    holds_tuning,
)
from holdfast.cli.theorizing import theory_figures
from holdfast.cli.tuning import tuning_figures
from holdfast.records.record import Record
from holdfast.records.strict_json import dumps
from holdfast.reports.analyses import analysis_figures
from holdfast.reports.comparison import comparison_figure
from holdfast.reports.curves import curves_figure
from holdfast.reports.line import line_figure
from holdfast.reports.matrix import matrix_figure
from holdfast.reports.save import save_figure
from holdfast.studies.findings import Findings
from holdfast.studies.plasticity.diagnosis import Diagnosis
from holdfast.studies.study import Study
from holdfast.studies.table import Table
from holdfast.studies.theory import read_predicted
from holdfast.studies.tuning import read_tuned


def plot(args: Namespace) -> int:
    """Draw the figures of runs, studies, tunings, predictions and diagnoses."""
    folders = list(dict.fromkeys(Path(folder) for folder in args.folders))
    tunings = [folder for folder in folders if holds_tuning(folder)]
    theories = [folder for folder in folders if holds_theory(folder)]
    diagnoses = [folder for folder in folders if holds_diagnosis(folder)]
    others = (*tunings, *theories, *diagnoses)
    studies = [folder for folder in folders if folder not in others and holds_study(folder)]
    runs = {f: Record.load(f) for f in folders if f not in (*studies, *others)}
    names = [folder.name for folder in folders]
    labels = [str(f) if names.count(f.name) > 1 else f.name for f in folders]
    places = {folder: folder / "figures" for folder in folders}
    if args.out:
        below = slugs(labels) if len(folders) > 1 else [""]
        places = {f: Path(args.out) / name for f, name in zip(folders, below, strict=True)}
    written: list[Path] = []
    for folder in folders:
        if folder in studies:
            written += study_figures(folder, places[folder])
        elif folder in tunings:
            written += tuning_figures(read_tuned(folder), places[folder])
        elif folder in theories:
            written += theory_figures(read_predicted(folder), places[folder])
        elif folder in diagnoses:
            written += diagnosis_figures(Diagnosis.load(folder), places[folder])
        else:
            written += save_figure(matrix_figure(runs[folder]), places[folder] / "matrix")
            written += save_figure(curves_figure(runs[folder]), places[folder] / "curves")
    if len(runs) > 1:
        place = Path(args.out) if args.out else folders[0].parent / "figures"
        named = {label: runs[f] for f, label in zip(folders, labels, strict=True) if f in runs}
        written += save_figure(comparison_figure(named), place / "comparison")
    if args.json:
        print(dumps({"figures": [str(path) for path in written]}))
    else:
        print("\n".join(map(str, written)) or "nothing to draw")
    return 0


def study_figures(folder: Path, out: Path) -> list[Path]:
    """The figures of a study: its cells side by side, their matrices, metrics, its analysis."""
    findings, study = Findings.load(folder), Study.read(folder / "study.yaml")
    written: list[Path] = []
    records = cell_records(study, folder)
    if records:
        written += save_figure(comparison_figure(records), out / "comparison")
    if len(records) <= MANY:
        for name, found in zip(slugs(records), records.values(), strict=True):
            written += save_figure(matrix_figure(found[0]), out / f"matrix-{name}")
    numeric = [a for a in findings.axes if findings.table[a].dtype.kind in "if"]
    for metric in findings.shown if numeric else ():
        if metric not in findings.table:  # a probe's value that no run has
            continue
        figure = line_figure(*_lines(findings, numeric[0], metric))
        written += save_figure(figure, out / f"{slug(metric)}-{slug(numeric[0])}")
    analyst = study.analyst()
    if analyst is not None and "traceback" not in findings.analysis:
        figures = analysis_figures(analyst, findings)
        for name, figure in zip(slugs(figures), figures.values(), strict=True):
            written += save_figure(figure, out / name)
    return written


def _lines(findings: Findings, x: str, metric: str) -> tuple[Table, str, str, str | None]:
    """A table, and its columns along the axis, upwards, and that part the lines."""
    table = findings.table
    rest = [axis for axis in findings.axes if axis != x]
    if len(rest) < 2:
        return table, x, metric, rest[0] if rest else None
    # The lines are parted by all other axes at once; a mean over one of them would say nothing.
    name = ", ".join(axis.rpartition(".")[2] for axis in rest)
    parts = zip(*(table[axis].tolist() for axis in rest), strict=True)
    joined = np.array([", ".join(map(str, part)) for part in parts], dtype=object)
    return {**table, name: joined}, x, metric, name
