"""Asking the theory what a configuration asks, in a folder that keeps what has been answered."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from time import monotonic
from typing import Any

import torch
import yaml

from holdfast.records.files import write_atomic
from holdfast.studies.progress import StudyListener, Tracker
from holdfast.studies.theory.asked import named_solver
from holdfast.studies.theory.places import (
    cell_path,
    cells,
    network_path,
    networks,
    phase_grid,
    phase_solver,
    solution_path,
)
from holdfast.studies.theory.plan import Prediction
from holdfast.studies.theory.predicted import Predicted
from holdfast.theory.at_width import AtWidth, at_width
from holdfast.theory.phase import Phase, as_phase, phase_cell
from holdfast.theory.problem import Problem
from holdfast.theory.solution import Progress, Solution
from holdfast.theory.solve import solve

_KEPT = 5
"""Times at which kernels are kept unless the configuration says more, for they are large."""


@dataclass(frozen=True)
class Piece:
    """A part of the work: a solution, the networks of a width, or a cell of the diagram.

    Args:
        label: of it.
        path: where it is kept, once it is there.
        make: does it.
    """

    label: str
    path: Path
    make: Callable[[Progress | None], None]


def predict(
    prediction: Prediction,
    out: str | Path,
    listener: StudyListener | None = None,
    progress: Progress | None = None,
) -> Predicted:
    """Answer what is left of a prediction in its folder.

    Each solution goes to ``solutions``, the networks of each width to ``networks`` and each cell
    of the diagram to ``phase``, under a hash of all that it depends on; what is there already is
    not done again. So a prediction that was killed goes on where it stopped, and one that is given
    more values answers those alone. Besides, the folder gets ``theory.yaml`` and ``theory.json``.

    Args:
        prediction: what is asked.
        out: its folder.
        listener: told of each part, with its label in place of a cell's.
        progress: called with the steps done of the part at hand, and their number.

    Raises:
        ValueError, TypeError, FileNotFoundError: what cannot be asked, or `out` holds something
            else; before any work.
        KeyboardInterrupt: it was interrupted; call again to go on.
    """
    folder = Path(out)
    _refuse_others(prediction, folder)
    problems = prediction.problems()
    if prediction.phased is not None:
        prediction.problem(1.0, prediction.phased.similarity[0], prediction.phased.drawn[0])
    pieces = list(_pieces(prediction, folder, problems))
    write_atomic(folder / "theory.yaml", yaml.safe_dump(prediction.to_config(), sort_keys=False))
    (folder / "theory.json").unlink(missing_ok=True)
    left = [piece for piece in pieces if not piece.path.exists()]
    tracker = Tracker(len(pieces), len(pieces) - len(left))

    def tell(event: Any, label: str = "") -> None:
        if listener is not None:
            listener(tracker.progress(event, monotonic(), label))

    tell("begin")
    for place, piece in enumerate(left):
        tracker.start(place, monotonic())
        tell("running", piece.label)
        piece.make(progress)
        tracker.end(place, monotonic())
        tell("complete", piece.label)
    tell("end")
    found = _read(prediction, folder)
    found.save(folder)
    return found


def read_predicted(folder: str | Path) -> Predicted:
    """What the theory has answered in a folder; nothing is unpickled, nor data loaded.

    Raises:
        FileNotFoundError: it holds no prediction, or none that has come to its end.
        ValueError: a file is damaged.
    """
    folder = Path(folder)
    prediction = Prediction.read(folder)
    if not (folder / "theory.json").is_file():
        raise FileNotFoundError(
            f"the prediction in {folder} has no answers yet; go on with it by "
            f"`holdfast resume {folder}`"
        )
    return _read(prediction, folder)


def _pieces(
    prediction: Prediction, folder: Path, problems: dict[float, Problem]
) -> Iterator[Piece]:
    for g, problem in problems.items():
        path = solution_path(prediction, folder, g)
        yield Piece(f"gamma0 {g:g}, theory", path, partial(_solve, prediction, problem, path))
    for g, width in networks(prediction):
        path = network_path(prediction, folder, g, width)
        held = solution_path(prediction, folder, g)
        make = partial(_train, prediction, width, held, path)
        yield Piece(f"gamma0 {g:g}, networks of width {width}", path, make)
    # The gamma0 of a similarity and seed follow each other: their data is drawn once.
    drawn = lru_cache(maxsize=1)(prediction.problem)
    for s, seed, g in cells(prediction):
        path = cell_path(prediction, folder, s, seed, g)
        make = partial(_solve_cell, prediction, drawn, s, seed, g, path)
        yield Piece(f"similarity {s:g}, seed {seed}, gamma0 {g:g}", path, make)


def _solve(prediction: Prediction, problem: Problem, path: Path, progress: Progress | None) -> None:
    name, options = named_solver(prediction.solver)
    solve(problem, name, progress=progress, **{"kept": _KEPT, **options}).save(path)


def _train(
    prediction: Prediction, width: int, held: Path, path: Path, progress: Progress | None
) -> None:
    asked = prediction.compared
    assert asked is not None
    solution = Solution.load(held)
    made = at_width(solution, width, asked.drawn, centred=asked.centred, progress=progress)
    made.save(path)


def _solve_cell(
    prediction: Prediction,
    drawn: Callable[..., Problem],
    similarity: float,
    seed: int,
    gamma0: float,
    path: Path,
    progress: Progress | None,
) -> None:
    name, options = named_solver(phase_solver(prediction))
    absolute = prediction.absolute(gamma0)
    problem = replace(drawn(prediction.gamma0[0], similarity, seed), gamma0=absolute)
    made = phase_cell(problem, name, **{**options, "kept": 1, "progress": progress})
    as_phase([absolute], [similarity], [seed], [made]).save(path)


def _read(prediction: Prediction, folder: Path) -> Predicted:
    solutions = {g: Solution.load(solution_path(prediction, folder, g)) for g in prediction.gamma0}
    finite: dict[float, list[AtWidth]] = {g: [] for g in prediction.gamma0}
    for g, width in networks(prediction):
        finite[g].append(AtWidth.load(network_path(prediction, folder, g, width)))
    return Predicted(
        prediction, solutions, {g: tuple(own) for g, own in finite.items() if own},
        _read_phase(prediction, folder),
    )  # fmt: skip


def _read_phase(prediction: Prediction, folder: Path) -> Phase | None:
    asked = prediction.phased
    if asked is None:
        return None
    found = {key: Phase.load(cell_path(prediction, folder, *key)) for key in cells(prediction)}
    grid = phase_grid(prediction)
    ordered = [found[s, seed, g] for seed in asked.drawn for s in asked.similarity for g in grid]
    losses = [torch.stack([c.losses[0, 0, 0], c.loss_error[0, 0, 0]]) for c in ordered]
    absolute = [prediction.absolute(g) for g in grid]
    return as_phase(absolute, asked.similarity, asked.drawn, losses)


def _refuse_others(prediction: Prediction, folder: Path) -> None:
    """Refuse (`ValueError`) a folder that holds something else."""
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"out must be a folder, {folder} is a file")
    others = (("record.json", "run"), ("checkpoint", "run"), ("study.yaml", "study"),
              ("tuning.yaml", "tuning"))  # fmt: skip
    for name, what in others:
        if (folder / name).exists():
            raise ValueError(f"out {folder} holds a {what}; give the prediction its own folder")
    if (folder / "theory.yaml").is_file():
        held = Prediction.read(folder).name
        if held != prediction.name:
            raise ValueError(
                f"out {folder} holds the prediction {held!r}, this one is {prediction.name!r}; "
                "give another folder, or the same name to go on with it"
            )
