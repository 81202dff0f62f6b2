"""`holdfast resume`."""

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from holdfast import config
from holdfast.cli.diagnosing import resume_diagnosis
from holdfast.cli.ending import ended
from holdfast.cli.progress import RunLines, Telling
from holdfast.cli.showing import holds_diagnosis, holds_theory, holds_tuning
from holdfast.cli.studying import resume_study
from holdfast.cli.theorizing import resume_theory
from holdfast.cli.tuning import resume_tuning
from holdfast.records.record import Record


def resume(args: Namespace) -> int:
    """Go on with a run, a study, a tuning, a prediction or a diagnosis."""
    folder = Path(args.folder)
    if holds_tuning(folder):
        return resume_tuning(args, folder)
    if holds_theory(folder):
        return resume_theory(args, folder)
    if holds_diagnosis(folder):
        return resume_diagnosis(args, folder)
    if (folder / "study.yaml").is_file():
        return resume_study(args, folder)
    tasks, epochs = _known(folder)
    with Telling(folder, quiet=args.json) as telling:
        record = config.resume(folder, listener=RunLines(telling, epochs, tasks))
        if not telling.begun:
            telling.line("it had ended: nothing was left to do")
    return ended(args, record, folder)


def _known(folder: Path) -> tuple[Sequence[str], int]:
    """Names of the tasks and epochs of each, as far as the folder tells."""
    try:
        record = Record.load(folder)
    except (OSError, ValueError):
        return (), 0
    return record.tasks, record.config.get("training", {}).get("epochs", 0)
