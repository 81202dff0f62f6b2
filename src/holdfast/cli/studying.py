"""`holdfast study`."""

import sys
from argparse import Namespace
from pathlib import Path

from holdfast.cli.configuring import check_settings, configuration
from holdfast.cli.ending import DIVERGED
from holdfast.cli.naming import slug
from holdfast.cli.plotting import study_figures
from holdfast.cli.progress import StudyLines, Telling
from holdfast.cli.shipped import list_shipped
from holdfast.cli.showing import MANY, cell_matrix, cell_records
from holdfast.records.strict_json import dumps
from holdfast.studies.study import Study

_KEYS = tuple(Study.__dataclass_fields__)


def study(args: Namespace) -> int:
    """Run a study, or list those that come with the package."""
    if args.list:
        return list_shipped("study", args.json)
    if args.config is None:
        raise ValueError(
            "study needs a YAML file or the name of a shipped study; see `holdfast study --list`"
        )
    config = configuration(args)
    if "base" not in config and "stream" in config:
        raise ValueError(f"{args.config} is no study; use `holdfast run {args.config}`")
    check_settings(args, _KEYS)
    if args.workers is not None:
        config["workers"] = args.workers
    planned = Study.from_config(config)
    return _carry_out(args, planned, Path(args.out or Path("runs") / slug(planned.name)))


def resume_study(args: Namespace, folder: Path) -> int:
    """Go on with the study of a folder."""
    return _carry_out(args, Study.read(folder / "study.yaml"), folder)


def _carry_out(args: Namespace, study: Study, out: Path) -> int:
    with Telling(out, quiet=args.json) as telling:
        findings = study.run(out, listener=StudyLines(telling))
    errors = findings.errors()
    figures = study_figures(out, out / "figures")
    if args.json:
        paths = [str(path) for path in figures]
        failed = [{"cell": c, "seed": s, "error": error} for (c, s), error in errors.items()]
        print(dumps({"out": str(out), **findings.to_dict(), "errors": failed, "figures": paths}))
    else:
        records = cell_records(study, out)
        if len(records) <= MANY:
            for cell, found in records.items():
                print(f"\n{cell_matrix(cell, found)}")
        print(f"\n{findings}\nkept in {out}, with {len(figures)} figures")
    for (cell, seed), error in errors.items():
        last = error.strip().splitlines()[-1]
        print(f"holdfast: {cell}, seed {seed} failed: {last}", file=sys.stderr)
    return DIVERGED if errors or "traceback" in findings.analysis else 0
