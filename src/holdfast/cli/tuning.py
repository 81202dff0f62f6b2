"""`holdfast tune-richness`."""

import sys
from argparse import Namespace
from pathlib import Path

import numpy as np

from holdfast.cli.configuring import check_settings, configuration
from holdfast.cli.ending import DIVERGED
from holdfast.cli.progress import StudyLines, Telling
from holdfast.config import KEYS
from holdfast.records.strict_json import dumps
from holdfast.reports.save import save_figure
from holdfast.reports.transfer import transfer_figure
from holdfast.studies.tuning import Tuned, Tuning, tune
from holdfast.training.run import fingerprint


def tune_richness(args: Namespace) -> int:
    """Find gamma0 on a narrow copy of a net."""
    config = configuration(args)
    if "base" in config:
        raise ValueError(
            f"{args.config} is a study; give the configuration of a run, such as its base"
        )
    check_settings(args, KEYS)
    given = {
        "target_width": args.target_width,
        "gamma0": _numbers("--gamma0", args.gamma0),
        "seeds": args.seeds,
        "neighbours": args.neighbours,
        "metric": args.metric,
        "standard_lr": _numbers("--standard-lr", args.standard_lr),
        "width": args.width,
        "workers": args.workers,
    }
    known = {key: value for key, value in given.items() if value is not None}
    tuning = Tuning(config, verify=args.verify, **known)
    identity = fingerprint({"config": tuning.config, "widths": [tuning.width, tuning.target]})
    name = f"{Path(args.config).stem}-gamma0-{identity[:8]}"
    return _carry_out(args, tuning, Path(args.out or Path("runs") / name))


def resume_tuning(args: Namespace, folder: Path) -> int:
    """Go on with the tuning of a folder."""
    return _carry_out(args, Tuning.read(folder), folder)


def tuning_figures(found: Tuned, out: Path) -> list[Path]:
    """The figure of a tuning, as files in a folder; none where every run diverged."""
    if np.isnan(found.columns()[found.tuning.metric]).all():
        return []
    standard = found.ends().get("standard")
    levels: dict[str, float] = {}
    if standard is not None and found.wide is not None:
        levels[standard] = found.wide.mean(standard, found.tuning.metric).mean
    figure = transfer_figure(found.columns(), found.tuning.metric, found.gamma0, levels)
    return save_figure(figure, out / "gamma0")


def _carry_out(args: Namespace, tuning: Tuning, out: Path) -> int:
    with Telling(out, quiet=args.json) as telling:
        found = tune(tuning, out, listener=StudyLines(telling))
    figures = tuning_figures(found, out / "figures")
    errors = _errors(found)
    if args.json:
        failed = [{"run": run, "error": error} for run, error in errors.items()]
        paths = [str(path) for path in figures]
        print(dumps({"out": str(out), **found.to_dict(), "errors": failed, "figures": paths}))
    else:
        chosen = f"; `holdfast run {out / 'tuned.yaml'}`" if found.config is not None else ""
        print(f"\n{found}\nkept in {out}{chosen}")
    for run, error in errors.items():
        print(f"holdfast: {run} failed: {error.strip().splitlines()[-1]}", file=sys.stderr)
    return DIVERGED if errors or found.config is None else 0


def _errors(found: Tuned) -> dict[str, str]:
    """The error of each run that failed."""
    width, target = found.tuning.width, found.tuning.target
    studies = [(f"width {width}, gamma0 ", found.narrow), (f"width {target}, ", found.wide)]
    return {
        f"{before}{cell}, seed {seed}": error
        for before, findings in studies
        if findings is not None
        for (cell, seed), error in findings.errors().items()
    }


def _numbers(option: str, text: str | None) -> list[float] | None:
    """Numbers parted by commas; none where there is nothing between them."""
    if text is None:
        return None
    try:
        return [float(word) for word in text.split(",")] if text.strip() else []
    except ValueError as error:
        raise ValueError(f"{option} must be numbers parted by commas, got {text!r}") from error
