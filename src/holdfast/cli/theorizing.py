"""`holdfast theory`."""

import math
from argparse import Namespace
from pathlib import Path

from holdfast.cli.configuring import check_settings, configuration
from holdfast.cli.ending import DIVERGED
from holdfast.cli.naming import slug
from holdfast.cli.progress import Telling, duration
from holdfast.cli.shipped import list_shipped
from holdfast.records.strict_json import dumps
from holdfast.reports.save import save_figure
from holdfast.reports.theory import forgetting_figure, overlay_figure, phase_figure
from holdfast.studies.progress import Progress
from holdfast.studies.theory import Predicted, Prediction, predict

_KEYS = tuple(Prediction.__dataclass_fields__)


def theory(args: Namespace) -> int:
    """Predict what networks of infinite width forget, or list the shipped predictions."""
    if args.list:
        return list_shipped("theory", args.json)
    if args.config is None:
        raise ValueError(
            "theory needs a YAML file or the name of a shipped prediction; see "
            "`holdfast theory --list`"
        )
    config = configuration(args)
    check_settings(args, _KEYS)
    prediction = Prediction.from_config(config)
    return _carry_out(args, prediction, Path(args.out or Path("runs") / slug(prediction.name)))


def resume_theory(args: Namespace, folder: Path) -> int:
    """Go on with the prediction of a folder."""
    return _carry_out(args, Prediction.read(folder), folder)


def theory_figures(found: Predicted, out: Path) -> list[Path]:
    """The figures of a prediction, as files in a folder."""
    written: list[Path] = []
    for gamma0, comparison in found.comparisons.items():
        name = slug(f"networks-gamma0-{gamma0:g}")
        written += save_figure(overlay_figure(comparison), out / name)
    if len(found.solutions) > 1:
        x = f"gamma0, {found.prediction.units} units"
        figure = forgetting_figure(found.forgetting(), found.trained_forgetting(), x)
        written += save_figure(figure, out / "forgetting")
    if found.phase is not None:
        written += save_figure(phase_figure(found.phase), out / "phase")
    return written


def _carry_out(args: Namespace, prediction: Prediction, out: Path) -> int:
    with Telling(out, quiet=args.json) as telling:
        lines = _Lines(telling)
        found = predict(prediction, out, lines, lines.steps)
    figures = theory_figures(found, out / "figures")
    if args.json:
        paths = [str(path) for path in figures]
        print(dumps({"out": str(out), **found.to_dict(), "figures": paths}))
    else:
        print(f"\n{found}\nkept in {out}, with {len(figures)} figures")
    return 0 if found.stable else DIVERGED


class _Lines:
    """Tells of a prediction: a line a part, with the time left."""

    def __init__(self, telling: Telling) -> None:
        self._telling = telling
        self._part = ""

    def __call__(self, event: Progress) -> None:
        telling = self._telling
        telling.begun = True
        if event.event == "begin":
            there = f", {event.ended} of them there already" if event.ended else ""
            telling.line(f"{event.total} parts{there}, in {telling.out}")
        elif event.event == "complete":
            left = "" if math.isnan(event.seconds_left) else duration(event.seconds_left)
            about = f", {left} left" if left and event.ended < event.total else ""
            telling.line(f"{event.ended:{len(str(event.total))}}/{event.total} {event.cell}{about}")
        elif event.event == "running":
            self._part = event.cell
            telling.now(self._part)

    def steps(self, done: int, of: int) -> None:
        """Of the part at hand."""
        self._telling.now(f"{self._part}: step {done}/{of}")
