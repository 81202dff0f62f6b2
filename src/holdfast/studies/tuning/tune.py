"""Tuning gamma0 on a narrow copy of a net, for the wide one."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import yaml

from holdfast.config import Config
from holdfast.records.files import write_atomic
from holdfast.studies.executor import Executor
from holdfast.studies.findings import Findings
from holdfast.studies.progress import Progress, StudyListener
from holdfast.studies.tuning.plan import GRID, Metric, Tuning
from holdfast.studies.tuning.tuned import Tuned

NARROW, TARGET = "narrow", "target"
"""The folders of the two studies."""


def tune_richness(
    config: Config,
    width: int = 64,
    target_width: int | None = None,
    *,
    out: str | Path,
    gamma0: Sequence[float] = GRID,
    seeds: int | Sequence[int] = 3,
    neighbours: int = 1,
    metric: Metric = "ae",
    verify: bool = False,
    standard_lr: float | Sequence[float] | None = None,
    workers: int | None = None,
    executor: Executor | None = None,
    listener: StudyListener | None = None,
) -> Tuned:
    """Find the richness at which a net forgets least on a narrow copy of it, and try it on the net.

    In muP the gamma_0 of least average error is about the same at all widths (Graldi et al.,
    2025), so that a narrow net tells it for a wide one. Two studies are run: the whole grid at the
    small `width`, and at `target_width` the value found, its `neighbours`, the smallest gamma0, 1,
    and the net in standard parametrization. Each is kept up as any `Study`: killed, it goes on
    where it stopped when called again.

    `training.lr` is eta_0 at both widths. gamma0* falls with it, and with the number of steps:
    tune with the training that is wanted.

    Args:
        config: see `holdfast.studies.tuning.Tuning`, as of all that is not told here.
        width: of the narrow copy.
        target_width: of the net that is wanted.
        out: folder, which gets ``tuning.yaml``, the studies ``narrow`` and ``target``,
            ``tuned.json`` and ``tuned.yaml``, the configuration to train with.
        gamma0: the grid.
        seeds: their number, or the seeds.
        neighbours: on either side, run at the target too.
        metric: what is to be small.
        verify: run the whole grid at the target.
        standard_lr: rates of the standard parametrization.
        workers: number of processes.
        executor: carries the runs out, as of `Study.run`.
        listener: told of the progress of one study and then of the other; the labels of their
            cells begin with the width.

    Raises:
        ValueError, TypeError: what cannot be run, or `out` holds something else; before any run.
        KeyboardInterrupt: it was interrupted; call again to go on.
    """
    tuning = Tuning(
        config, width, target_width, gamma0=gamma0, seeds=seeds, neighbours=neighbours,
        metric=metric, verify=verify, standard_lr=standard_lr, workers=workers,
    )  # fmt: skip
    return tune(tuning, out, executor, listener)


def tune(
    tuning: Tuning,
    out: str | Path,
    executor: Executor | None = None,
    listener: StudyListener | None = None,
) -> Tuned:
    """Carry out what is left of a tuning in its folder; see `tune_richness`."""
    folder = Path(out)
    _refuse_others(tuning, folder)
    tuning.check()
    write_atomic(folder / "tuning.yaml", yaml.safe_dump(tuning.to_config(), sort_keys=False))
    # What was found before may be of fewer values; until the end there is no finding.
    (folder / "tuned.json").unlink(missing_ok=True)

    told = _named(f"width {tuning.width}", listener, "gamma0 ")
    found = Tuned(tuning, tuning.narrow_study().run(folder / NARROW, executor, told), None)
    if found.optimum.where != "unstable":
        told = _named(f"width {tuning.target}", listener)
        study = tuning.target_study(found.transferred)
        found = replace(found, wide=study.run(folder / TARGET, executor, told))
    found.save(folder)
    return found


def read_tuned(folder: str | Path) -> Tuned:
    """What the tuning in a folder has found.

    Raises:
        FileNotFoundError: it holds none, or none that has come to its end.
        ValueError: a file is damaged or of another version.
    """
    folder = Path(folder)
    tuning = Tuning.read(folder)
    if not (folder / "tuned.json").is_file():
        raise FileNotFoundError(
            f"the tuning in {folder} has found nothing yet; go on with it by "
            f"`holdfast resume {folder}`"
        )
    found = Tuned(tuning, Findings.load(folder / NARROW), None)
    if found.optimum.where == "unstable":
        return found
    return replace(found, wide=Findings.load(folder / TARGET))


def _refuse_others(tuning: Tuning, folder: Path) -> None:
    """Refuse (`ValueError`) a folder that holds something else than this tuning."""
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"out must be a folder, {folder} is a file")
    for name, what in (("record.json", "run"), ("checkpoint", "run"), ("study.yaml", "study")):
        if (folder / name).exists():
            raise ValueError(f"out {folder} holds a {what}; give the tuning a folder of its own")
    if (folder / "tuning.yaml").is_file():
        held = Tuning.read(folder)
        pairs = {
            "config": (held.at(held.width), tuning.at(held.width)),
            "width": (held.width, tuning.width),
            "target_width": (held.target, tuning.target),
        }
        differ = [name for name, (one, other) in pairs.items() if one != other]
        if differ:
            raise ValueError(
                f"out {folder} holds another tuning, which differs in {', '.join(differ)}; give "
                "another folder"
            )


def _named(study: str, listener: StudyListener | None, before: str = "") -> StudyListener | None:
    """A listener who is told which study it is, and each cell with some words before it."""
    if listener is None:
        return None
    told = listener

    def tell(event: Progress) -> None:
        told(replace(event, cell=f"{study}, {before}{event.cell}" if event.cell else study))

    return tell
