"""The parts of a prediction, and the file of each."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from holdfast.config import Config
from holdfast.studies.theory.plan import Prediction
from holdfast.training.run import fingerprint

_WITHOUT = ("gamma0", "units", "compare", "phase", "name")
"""Keys that a single answer does not depend on."""


def phase_grid(prediction: Prediction) -> tuple[float, ...]:
    """The gamma0 of the diagram, ascending."""
    asked = prediction.phased
    own = None if asked is None else asked.gamma0
    return tuple(prediction.gamma0 if own is None else own)


def phase_solver(prediction: Prediction) -> str | Config:
    """The solver of the diagram."""
    asked = prediction.phased
    return prediction.solver if asked is None or asked.solver is None else asked.solver


def networks(prediction: Prediction) -> Iterator[tuple[float, int]]:
    """gamma0 and width of all networks asked for."""
    asked = prediction.compared
    if asked is None:
        return
    for g in prediction.gamma0:
        if asked.gamma0 is None or g in asked.gamma0:
            yield from ((g, width) for width in asked.widths)


def cells(prediction: Prediction) -> Iterator[tuple[float, int, float]]:
    """Similarity, seed and gamma0 of the cells of the diagram, gamma0 running fastest."""
    asked = prediction.phased
    if asked is None:
        return
    grid = phase_grid(prediction)
    for seed in asked.drawn:
        for s in asked.similarity:
            yield from ((s, seed, g) for g in grid)


def solution_path(prediction: Prediction, folder: Path, gamma0: float) -> Path:
    """Named by a hash of all that the solution depends on, as the others are."""
    return folder / "solutions" / f"{_hash(prediction, gamma0)}.safetensors"


def network_path(prediction: Prediction, folder: Path, gamma0: float, width: int) -> Path:
    """Of the networks of a width, which are measured against the solution."""
    asked = prediction.compared
    assert asked is not None
    own = {"width": width, "seeds": list(asked.drawn), "centred": asked.centred}
    return folder / "networks" / f"{_hash(prediction, gamma0, **own)}.safetensors"


def cell_path(
    prediction: Prediction, folder: Path, similarity: float, seed: int, gamma0: float
) -> Path:
    """Of a cell of the diagram."""
    own = {"similarity": similarity, "seed": seed, "solver": phase_solver(prediction)}
    return folder / "phase" / f"{_hash(prediction, gamma0, **own)}.safetensors"


def _hash(prediction: Prediction, gamma0: float, **own: Any) -> str:
    config: Config = {k: v for k, v in prediction.to_config().items() if k not in _WITHOUT}
    return fingerprint({**config, "gamma0": prediction.absolute(gamma0), "part": own})[:16]
