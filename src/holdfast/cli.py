"""The `holdfast` command."""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from holdfast import __version__
from holdfast.config import Config, override, read_config, resolve, run_config
from holdfast.config import resume as resume_run
from holdfast.data.catalog import available
from holdfast.records.record import Record
from holdfast.records.strict_json import dumps
from holdfast.records.text import matrix_text
from holdfast.reports.comparison import comparison_figure
from holdfast.reports.curves import curves_figure
from holdfast.reports.line import line_figure
from holdfast.reports.matrix import matrix_figure
from holdfast.reports.save import save_figure
from holdfast.reports.table import comparison_table
from holdfast.studies.findings import Findings
from holdfast.studies.plan import PlannedRun
from holdfast.studies.progress import Progress
from holdfast.studies.study import Study
from holdfast.training.run import fingerprint

DIVERGED, WRONG = 3, 2
"""Exit codes: a run diverged or a study's run failed; the command or its input is wrong."""

MANY = 8
"""A study of more cells than this prints its table, but no matrices."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = _parser()
    args, rest = parser.parse_known_args(arguments)
    try:
        overrides = _overrides(rest, allowed=args.command in ("run", "study"))
        work: Callable[[argparse.Namespace, list[tuple[str, Any]]], int] = args.work
        return work(args, overrides)
    except (ValueError, TypeError, OSError, ImportError) as error:
        print(f"holdfast: error: {error}", file=sys.stderr)
        return WRONG
    except KeyboardInterrupt:
        print("holdfast: interrupted; the same command goes on from here", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="holdfast",
        description="Continual learning, by where a network starts and how far it moves.",
    )
    parser.add_argument("--version", action="version", version=f"holdfast {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, work: Callable[..., int], text: str, **more: Any) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text, allow_abbrev=False, **more)
        command.set_defaults(work=work)
        command.add_argument("--json", action="store_true", help="print JSON, for programs")
        return command

    setting = "further options set keys of the configuration: --training.lr 0.1"
    command = add("run", _run, "Run a configuration.", epilog=setting)
    command.add_argument("config", help="YAML file, or the name of a shipped configuration")
    command.add_argument("--out", help="folder of the run; by default runs/NAME-HASH")
    command = add("resume", _resume, "Go on with a run or a study that was stopped.")
    command.add_argument("folder")
    command = add("show", _show, "Matrix and metrics of a run, a table of several, or a study.")
    command.add_argument("folders", nargs="+")
    command = add("plot", _plot, "Figures of runs or studies, as PNG and SVG.")
    command.add_argument("folders", nargs="+")
    command.add_argument("--out", help="folder of the figures; by default DIR/figures")
    command = add("study", _study, "Run a study: a configuration over a grid.", epilog=setting)
    command.add_argument("config", help="YAML file, or the name of a shipped study")
    command.add_argument("--out", help="folder of the study; by default runs/NAME")
    command.add_argument("--workers", type=int, help="processes; by default one a core")
    command = add("data", _data, "List the datasets that can be loaded here.")
    command.add_argument("action", choices=["list"])
    return parser


def _overrides(rest: Sequence[str], allowed: bool) -> list[tuple[str, Any]]:
    """Pairs of dotted key and value from ``--a.b value`` and ``--a.b=value``."""
    found: list[tuple[str, Any]] = []
    words = list(rest)
    while words:
        word = words.pop(0)
        if not word.startswith("--") or not allowed:
            raise ValueError(f"unknown argument {word!r}")
        key, equals, value = word[2:].partition("=")
        if not equals:
            if not words:
                raise ValueError(f"{word} needs a value")
            value = words.pop(0)
        found.append((key, yaml.safe_load(value)))
    return found


def _config(name: str, overrides: Sequence[tuple[str, Any]]) -> Config:
    """A configuration from a file, or one that is shipped with the package, with its overrides."""
    shipped = files("holdfast") / "configs" / f"{name}.yaml"
    path = Path(name)
    if path.is_file() or not shipped.is_file():
        config = read_config(path)
    else:
        config = yaml.safe_load(shipped.read_text(encoding="utf-8"))
    for key, value in overrides:
        override(config, key, value)
    return config


def _run(args: argparse.Namespace, overrides: list[tuple[str, Any]]) -> int:
    config = _config(args.config, overrides)
    if "base" in config:
        raise ValueError(f"{args.config} is a study; use `holdfast study {args.config}`")
    config = resolve(config)
    name = f"{Path(args.config).stem}-{fingerprint(config)[:8]}"
    out = Path(args.out or Path("runs") / name)
    record = run_config(config, out, listener=None if args.json else _tell)
    return _ended(args, record, out)


def _resume(args: argparse.Namespace, overrides: list[tuple[str, Any]]) -> int:
    folder = Path(args.folder)
    if (folder / "study.yaml").is_file():
        return _carry_out(args, Study.read(folder / "study.yaml"), folder)
    record = resume_run(folder, listener=None if args.json else _tell)
    return _ended(args, record, folder)


def _ended(args: argparse.Namespace, record: Record, out: Path) -> int:
    if args.json:
        print(dumps({"out": str(out), **_digest(record)}))
    else:
        print(f"\n{record.summary()}\nkept in {out}")
    return DIVERGED if record.status == "diverged" else 0


def _tell(event: dict[str, Any]) -> None:
    """One line a task."""
    if event["event"] == "task":
        print(f"task {event['task']}: {event['name']}, {event['samples']} samples", flush=True)
    elif event["event"] == "diverged":
        print(f"diverged at step {event['step']}: {event['reason']}", flush=True)


def _show(args: argparse.Namespace, overrides: list[tuple[str, Any]]) -> int:
    folders = [Path(folder) for folder in args.folders]
    studies = {str(f): Findings.load(f) for f in folders if (f / "findings.json").is_file()}
    runs = {str(f): Record.load(f) for f in folders if str(f) not in studies}
    if args.json:
        shown: dict[str, Any] = {name: found.to_dict() for name, found in studies.items()}
        print(dumps(shown | {name: _digest(record) for name, record in runs.items()}))
        return 0
    for name, found in studies.items():
        print(f"{name}\n{found}")
    for name, record in runs.items():
        print(f"{name}\n{record.summary()}\n")
    if len(runs) > 1:
        print(comparison_table(runs))
    return 0


def _digest(record: Record) -> dict[str, Any]:
    return {
        "status": record.status,
        "diverged": record.diverged,
        "tasks": list(record.tasks),
        "accuracy": record.accuracy.tolist(),
        "loss": record.loss.tolist(),
        "metrics": record.metrics(),
        "seconds": sum(record.seconds),
        "digest": record.digest(),
    }


def _plot(args: argparse.Namespace, overrides: list[tuple[str, Any]]) -> int:
    written: list[Path] = []
    runs: dict[str, Record] = {}
    for folder in map(Path, args.folders):
        out = Path(args.out) if args.out else folder / "figures"
        if (folder / "findings.json").is_file():
            written += _plot_study(folder, out)
            continue
        record = Record.load(folder)
        if args.out and len(args.folders) > 1:
            out = out / folder.name
        written += save_figure(matrix_figure(record), out / "matrix")
        written += save_figure(curves_figure(record), out / "curves")
        runs[folder.name if folder.name not in runs else str(folder)] = record
    if len(runs) > 1:
        place = Path(args.out) if args.out else Path(args.folders[0]).parent / "figures"
        written += save_figure(comparison_figure(runs), place / "comparison")
    return _list_files(args, written)


def _list_files(args: argparse.Namespace, written: Sequence[Path]) -> int:
    if args.json:
        print(dumps({"figures": [str(path) for path in written]}))
    else:
        for path in written:
            print(path)
    return 0


def _plot_study(folder: Path, out: Path) -> list[Path]:
    findings, study = Findings.load(folder), Study.read(folder / "study.yaml")
    written: list[Path] = []
    records = _records(study.runs(), folder)
    if records:
        written += save_figure(comparison_figure(records), out / "comparison")
    if len(records) <= MANY:
        for cell, found in records.items():
            written += save_figure(matrix_figure(found[0]), out / f"matrix-{_slug(cell)}")
    numeric = [a for a in findings.axes if findings.table[a].dtype.kind in "if"]
    for metric in findings.metrics if numeric else ():
        rest = [a for a in findings.axes if a != numeric[0]]
        figure = line_figure(findings.table, numeric[0], metric, rest[0] if rest else None)
        written += save_figure(figure, out / f"{metric}-{_slug(numeric[0])}")
    return written


def _slug(text: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in text).strip("-")[:60]


def _records(runs: Sequence[PlannedRun], folder: Path) -> dict[str, list[Record]]:
    """The records of each cell that are there, by its label."""
    found: dict[str, list[Record]] = {}
    for planned in runs:
        record = planned.record(folder)
        if record is not None:
            found.setdefault(planned.cell.label, []).append(record)
    return found


def _study(args: argparse.Namespace, overrides: list[tuple[str, Any]]) -> int:
    config = _config(args.config, overrides)
    if args.workers is not None:
        config["workers"] = args.workers
    study = Study.from_config(config)
    return _carry_out(args, study, Path(args.out or Path("runs") / study.name))


def _carry_out(args: argparse.Namespace, study: Study, out: Path) -> int:
    findings = study.run(out, listener=None if args.json else _progress)
    records = _records(study.runs(), out)
    figures = _plot_study(out, out / "figures")
    if args.json:
        print(dumps(findings.to_dict()))
    else:
        if len(records) <= MANY:
            for cell, found in records.items():
                print(f"\n{_matrix_of(cell, found)}")
        print(f"\n{findings}\nkept in {out}, with {len(figures)} figures")
    for (cell, seed), error in findings.errors().items():
        print(f"{cell}, seed {seed} failed: {error}", file=sys.stderr)
    return DIVERGED if findings.errors() else 0


def _matrix_of(cell: str, records: Sequence[Record]) -> str:
    accuracy = np.mean([r.accuracy for r in records], axis=0)
    loss = np.mean([r.loss for r in records], axis=0)
    which, matrix = ("loss", loss) if np.isnan(accuracy).all() else ("accuracy", accuracy)
    over = f", mean of {len(records)} seeds" if len(records) > 1 else ""
    return f"{cell}: {which}{over}\n{matrix_text(records[0].tasks, matrix)}"


def _progress(event: Progress) -> None:
    """One line a run that ends."""
    if event.event not in ("complete", "diverged", "failed"):
        return
    left = "" if np.isnan(event.seconds_left) else f", about {event.seconds_left:.0f} s left"
    print(
        f"{event.ended}/{event.total} {event.cell}, seed {event.seed}: {event.event}{left}",
        flush=True,
    )


def _data(args: argparse.Namespace, overrides: list[tuple[str, Any]]) -> int:
    listed = available()
    if args.json:
        print(json.dumps([vars(dataset) for dataset in listed]))
        return 0
    for dataset in listed:
        rows = ", ".join(f"{name} {count:,}" for name, count in dataset.rows.items())
        print(f"{dataset.name:15} {dataset.place:9} {rows or '-':40} {dataset.about}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
