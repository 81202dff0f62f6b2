"""`holdfast diagnose`."""

from argparse import Namespace
from pathlib import Path

from holdfast.cli.configuring import check_settings, configuration
from holdfast.cli.ending import DIVERGED
from holdfast.cli.naming import slug
from holdfast.cli.progress import StudyLines, Telling
from holdfast.cli.shipped import list_shipped
from holdfast.records.strict_json import dumps
from holdfast.reports.diagnosis import diagnosis_figure
from holdfast.reports.save import save_figure
from holdfast.studies.plasticity.diagnose_plan import KEYS, Diagnosing
from holdfast.studies.plasticity.diagnosis import Diagnosis

DEFAULT = "digits"
"""The shipped diagnosis that is meant when none is named."""


def diagnose(args: Namespace) -> int:
    """Tell what a warm start costs, or list the shipped diagnoses."""
    if args.list:
        return list_shipped("diagnose", args.json)
    if args.config is None:
        args.config = DEFAULT
    config = configuration(args)
    if "stream" in config or "base" in config:
        raise ValueError(
            f"{args.config} is the configuration of a run or study; a diagnosis makes its own "
            "stream of a dataset: give dataset, net, training and old"
        )
    check_settings(args, KEYS)
    asked = Diagnosing.from_config(config)
    return _carry_out(args, asked, Path(args.out or Path("runs") / slug(asked.name)))


def resume_diagnosis(args: Namespace, folder: Path) -> int:
    """Go on with the diagnosis of a folder."""
    return _carry_out(args, Diagnosing.read(folder), folder)


def diagnosis_figures(found: Diagnosis, out: Path) -> list[Path]:
    """The figure of a diagnosis, as files in a folder; none where every run diverged."""
    if all(arm.diverged == len(arm.runs) for arm in found.arms):
        return []
    return save_figure(diagnosis_figure(found), out / "diagnosis")


def _carry_out(args: Namespace, asked: Diagnosing, out: Path) -> int:
    with Telling(out, quiet=args.json) as telling:
        found = asked.run(out, listener=StudyLines(telling))
    figures = diagnosis_figures(found, out / "figures")
    if args.json:
        print(dumps({"out": str(out), **found.to_dict(), "figures": [str(f) for f in figures]}))
    else:
        print(f"\n{found}\nkept in {out}")
    return DIVERGED if any(arm.diverged for arm in found.arms) else 0
