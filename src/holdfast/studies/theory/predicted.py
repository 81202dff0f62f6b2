"""What the theory has answered."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from holdfast.records.files import write_atomic
from holdfast.records.intervals import Interval, mean_interval
from holdfast.records.strict_json import plain
from holdfast.studies.text import table_text
from holdfast.studies.theory.plan import Prediction
from holdfast.theory.at_width import AtWidth
from holdfast.theory.comparison import Comparison, What
from holdfast.theory.phase import Phase
from holdfast.theory.problem import base_width_gamma0
from holdfast.theory.solution import Solution
from holdfast.theory.words import shown

_FORMAT = "holdfast theory"
_VERSION = 1


@dataclass(frozen=True, eq=False)
class Predicted:
    """The answers to a prediction.

    Args:
        prediction: what was asked.
        solutions: by gamma0, in the units of the prediction.
        finite: networks by gamma0, where some were asked for, ascending in width.
        phase: the diagram, if one was asked for.
    """

    prediction: Prediction
    solutions: Mapping[float, Solution]
    finite: Mapping[float, tuple[AtWidth, ...]]
    phase: Phase | None

    @property
    def comparisons(self) -> dict[float, Comparison]:
        """Solutions beside networks, by gamma0."""
        return {g: Comparison(self.solutions[g], own) for g, own in self.finite.items()}

    @property
    def stable(self) -> bool:
        """Whether neither a solution nor all networks of a width diverged."""
        theory = [bool(torch.isfinite(s.losses).all()) for s in self.solutions.values()]
        trained = [bool(at.whole.any()) for own in self.finite.values() for at in own]
        return all(theory) and all(trained)

    def forgetting(self) -> dict[float, float]:
        """Of the theory by gamma0, a mean over tasks but the last."""
        return {g: _mean(s.forgetting) for g, s in self.solutions.items()}

    def trained_forgetting(self) -> dict[float, dict[int, np.ndarray]]:
        """Of each network, by gamma0 and width; NaN where it diverged."""
        found: dict[float, dict[int, np.ndarray]] = {}
        for g, comparison in self.comparisons.items():
            each = comparison.forgetting()
            found[g] = {
                at.width: torch.where(at.whole, _but_last(each[at.width]).mean(1), torch.nan)
                .double()
                .numpy()
                for at in comparison.finite
            }
        return found

    def text(self) -> str:
        """A row a gamma0, then what networks and the diagram say."""
        prediction = self.prediction
        other = "base 64" if prediction.units == "absolute" else "absolute"
        head = ["gamma0", other, "learning loss", "forgetting", "average loss", "1 - CKA"]
        trained = self.trained_forgetting()
        widest = max((at.width for own in self.finite.values() for at in own), default=None)
        if widest is not None:
            head.append(f"forgetting at width {widest}")
        rows = [head]
        for g in self.solutions:
            numbers = self._numbers(g)
            scale = prediction.absolute(g)
            converted = base_width_gamma0(scale) if prediction.units == "absolute" else scale
            row = [f"{g:.3g}", f"{converted:.3g}"]
            row += [f"{numbers[key]:.4g}" for key in ("learning_loss", "forgetting")]
            row += [f"{numbers['average_loss']:.4g}", f"{numbers['movement']:.3g}"]
            if widest is not None:
                row.append(shown(_interval(trained[g][widest])) if g in trained else "-")
            rows.append(row)
        first = next(iter(self.solutions.values()))
        lines = [f"gamma0 in {prediction.units} units; solver {first.solver}", table_text(rows)]
        for g, comparison in self.comparisons.items():
            lines += ["", f"gamma0 {g:g}: {comparison.text()}"]
        if self.phase is not None:
            lines += ["", self.phase.text()]
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """What was found, as JSON holds it."""
        found: dict[str, Any] = {
            "format": _FORMAT,
            "version": _VERSION,
            "prediction": self.prediction.to_config(),
            "solutions": [self._numbers(g) for g in self.solutions],
            "networks": [
                row for g, comparison in self.comparisons.items() for row in _rows(g, comparison)
            ],
            "slopes": [
                {"gamma0": g, **{w: c.slope(w)._asdict() for w in _WHAT}}
                for g, c in self.comparisons.items()
            ],
        }
        phase = self.phase
        if phase is not None:
            found["phase"] = {
                "gamma0": phase.gamma0, "similarity": phase.similarity, "seeds": phase.seeds,
                "forgetting": phase.forgetting.tolist(),
                "learning_loss": phase.learning_loss.tolist(),
                "average_loss": phase.average_loss.tolist(),
                "optimum": [place._asdict() for place in phase.optimum()],
            }  # fmt: skip
        return plain(found, "theory")

    def save(self, folder: Path) -> None:
        """Write ``theory.json``.

        Raises:
            OSError: it could not be written; that of before is untouched.
        """
        text = json.dumps(self.to_dict(), indent=1, allow_nan=False, ensure_ascii=False)
        write_atomic(folder / "theory.json", text + "\n")

    def __str__(self) -> str:
        return self.text()

    def _numbers(self, gamma0: float) -> dict[str, Any]:
        """Of a solution."""
        solution = self.solutions[gamma0]
        matrix, error = solution.loss_matrix, solution.loss_error
        ends = [t for t in (0, solution.problem.steps) if t in solution.kept]
        places = [solution.kept.index(t) for t in ends]
        cka = solution.cka(solution.problem.depth)[places[0], places[-1]]
        absolute = solution.problem.gamma0
        return {
            "gamma0": gamma0,
            "absolute": absolute,
            "base_64": base_width_gamma0(absolute),
            "solver": solution.solver,
            "settings": solution.settings,
            "losses": matrix.tolist(),
            "loss_error": None if error is None else error[list(solution.ends)].tolist(),
            "learning_loss": float(matrix.diagonal().mean()),
            "average_loss": float(matrix[-1].mean()),
            "forgetting": _mean(solution.forgetting),
            "movement": 1 - float(cka),
        }


_WHAT: tuple[What, ...] = ("losses", "features", "forgetting")


def _rows(gamma0: float, comparison: Comparison) -> list[dict[str, Any]]:
    """Of the networks at a gamma0, a row a width."""
    gaps = {what: comparison.gap(what) for what in _WHAT}
    mean, lost = comparison.mean_gap, comparison.diverged()
    return [
        {
            "gamma0": gamma0,
            "width": at.width,
            "seeds": at.seeds,
            "diverged": lost[at.width],
            "gaps": {what: own[at.width]._asdict() for what, own in gaps.items()},
            "mean_gap": mean[at.width],
            "forgetting": comparison.forgetting()[at.width].tolist(),
        }
        for at in comparison.finite
    ]


def _but_last(forgetting: Tensor) -> Tensor:
    """Forgetting of tasks but the last, which has not been followed by any."""
    tasks = forgetting.shape[-1]
    return forgetting[..., : max(1, tasks - 1)]


def _mean(forgetting: Tensor) -> float:
    return float(_but_last(forgetting).mean())


def _interval(values: np.ndarray) -> Interval:
    known = values[np.isfinite(values)]
    nan = float("nan")
    return mean_interval(known) if len(known) else Interval(nan, nan, nan)
