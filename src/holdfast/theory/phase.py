"""Forgetting over richness and similarity."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from holdfast.records.intervals import Interval
from holdfast.seeds import derive
from holdfast.theory.finite import seed_list
from holdfast.theory.problem import Problem, base_width_gamma0
from holdfast.theory.solution import Progress
from holdfast.theory.solve import solve
from holdfast.theory.stored import read, write
from holdfast.theory.words import aligned, shown

Grid = Sequence[float] | np.ndarray | Tensor
MakeProblem = Callable[[float, int], Problem]
"""Problem of a similarity and a seed of its data, of any gamma0."""


@dataclass(frozen=True, eq=False)
class Phase:
    """Losses of a sequence of tasks at infinite width, over gamma0 and similarity.

    Args:
        gamma0: (G,) absolute, ascending.
        similarity: (R,) ascending.
        seeds: (S,) of the data.
        losses: (S, R, G, tasks, tasks) L[i, j], the loss on task j at the end of task i.
        loss_error: likewise, standard errors of `losses` by sampling; 0 without.
    """

    gamma0: tuple[float, ...]
    similarity: tuple[float, ...]
    seeds: tuple[int, ...]
    losses: Float[Tensor, "seeds similarities gammas tasks tasks"]
    loss_error: Float[Tensor, "seeds similarities gammas tasks tasks"]

    @property
    def forgetting(self) -> Float[Tensor, "seeds similarities gammas"]:
        """By how much the loss on tasks has risen since their end, a mean over all but the last."""
        learned = self.losses.diagonal(dim1=-2, dim2=-1)
        return (self.losses[..., -1, :] - learned)[..., :-1].mean(-1)

    @property
    def learning_loss(self) -> Float[Tensor, "seeds similarities gammas"]:
        """Mean loss of tasks at their own end."""
        return self.losses.diagonal(dim1=-2, dim2=-1).mean(-1)

    @property
    def average_loss(self) -> Float[Tensor, "seeds similarities gammas"]:
        """Mean loss of all tasks at the end."""
        return self.losses[..., -1, :].mean(-1)

    def optimum(self, level: float = 0.95, resamples: int = 2000) -> list[Interval]:
        """gamma0* of each similarity: where the mean final average loss is least.

        The vertex of the parabola in log gamma0 through the least value of the grid and its
        neighbours; that value itself at an end of the grid. With bootstrap intervals over the
        seeds of the data, NaN where there is one.
        """
        grid = np.log(self.gamma0)
        found = []
        for losses in self.average_loss.unbind(1):
            values = losses.double().numpy()
            best = float(np.exp(_vertex(grid, values.mean(0))))
            if len(values) == 1:
                found.append(Interval(best, float("nan"), float("nan")))
                continue
            draws = np.random.default_rng(derive(0, "phase"))
            picked = draws.integers(len(values), size=(resamples, len(values)))
            places = [np.exp(_vertex(grid, mean)) for mean in values[picked].mean(1)]
            ends = np.quantile(places, [(1 - level) / 2, (1 + level) / 2])
            found.append(Interval(best, *map(float, ends)))
        return found

    def text(self) -> str:
        """Means over seeds of forgetting and of the final average loss, and gamma0*."""
        head = ["similarity", *(f"{gamma0:.3g}" for gamma0 in self.gamma0)]
        lines = []
        for name, values in (
            ("forgetting", self.forgetting),
            ("average loss at the end", self.average_loss),
        ):
            rows = [
                [f"{s:g}", *(_entry(value) for value in row)]
                for s, row in zip(self.similarity, values.mean(0).tolist(), strict=True)
            ]
            lines += [f"{name} over absolute gamma0:", aligned([head, *rows]), ""]
        rows = [["similarity", "gamma0*, absolute", "at base width 64"]]
        for s, place in zip(self.similarity, self.optimum(), strict=True):
            at_end = np.isclose(place.mean, [self.gamma0[0], self.gamma0[-1]]).any()
            ends = " (end of the grid)" if at_end else ""
            scaled = f"{base_width_gamma0(place.mean):.3g}"
            rows.append([f"{s:g}", shown(place) + ends, scaled])
        lines.append(aligned(rows))
        if float(self.loss_error.max()) > 0:
            worst = float(self.loss_error.max())
            lines.append(f"standard errors of losses by sampling: up to {worst:.2g}")
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.text()

    def save(self, path: str | Path) -> None:
        """Write one file, as `Solution.save` does.

        Raises:
            OSError: it could not be written; one of before is untouched.
        """
        axes = {name: getattr(self, name) for name in ("gamma0", "similarity", "seeds")}
        tensors = {"losses": self.losses, "loss_error": self.loss_error}
        write(path, tensors, {"phase": axes})

    @classmethod
    def load(cls, path: str | Path) -> "Phase":
        """What `save` wrote; nothing is unpickled.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it holds something else.
        """
        tensors, header = read(path)
        if "phase" not in header:
            raise ValueError(f"{path} holds no phase diagram")
        axes = {name: tuple(values) for name, values in header["phase"].items()}
        return cls(**axes, losses=tensors["losses"], loss_error=tensors["loss_error"])


def phase_diagram(
    make_problem: MakeProblem,
    gamma0: Grid,
    similarity: Grid,
    seeds: int | Sequence[int] = 1,
    solver: str = "auto",
    *,
    progress: Progress | None = None,
    **options: Any,
) -> Phase:
    """Solve the same tasks at each richness and similarity.

    The closure solves a two-layer linear network of some tens of points within a tenth of a
    second, so that a fine grid costs seconds; other solvers cost what they cost, times the cells.

    Args:
        make_problem: similarity, seed -> problem, whose gamma0 is replaced.
        gamma0: absolute.
        similarity: whatever `make_problem` understands.
        seeds: of the data, or their number.
        solver: see `solve`.
        progress: called with the cells done and their number.
        options: of the solver.

    Raises:
        TypeError, ValueError: what cannot be solved.

    >>> from holdfast.theory import gaussian_tasks, problem
    >>> def make(similarity, seed):
    ...     tasks = gaussian_tasks(5, 100, similarity, seed=seed)
    ...     return problem(*tasks, steps=20, gamma0=1.0, phi="linear")
    >>> phase_diagram(make, [0.1, 1.0], [0.0, 0.5, 0.9]).forgetting.shape
    torch.Size([1, 3, 2])
    """
    axes = [_axis("gamma0", gamma0), _axis("similarity", similarity)]
    drawn = seed_list(seeds)
    cells = [(seed, s, g) for seed in drawn for s in axes[1] for g in axes[0]]
    found = []
    for done, (seed, s, g) in enumerate(cells):
        if g == axes[0][0]:
            asked = make_problem(s, seed)
        found.append(phase_cell(replace(asked, gamma0=g), solver, **options))
        if progress is not None:
            progress(done + 1, len(cells))
    return as_phase(axes[0], axes[1], drawn, found)


def phase_cell(
    problem: Problem, solver: str = "auto", **options: Any
) -> Float[Tensor, "2 tasks tasks"]:
    """One cell of a diagram: the loss matrix L[i, j], and its standard errors."""
    solution = solve(problem, solver, **{"kept": [problem.steps], **options})
    losses = solution.loss_matrix
    if solution.loss_error is None:
        return torch.stack([losses, torch.zeros_like(losses)]).cpu()
    return torch.stack([losses, solution.loss_error[list(solution.ends)]]).cpu()


def as_phase(
    gamma0: Sequence[float],
    similarity: Sequence[float],
    seeds: Sequence[int],
    cells: Sequence[Float[Tensor, "2 tasks tasks"]],
) -> Phase:
    """A diagram of its cells, gamma0 running fastest, then similarity."""
    every = torch.stack(list(cells))
    shape = (len(seeds), len(similarity), len(gamma0), *every.shape[2:])
    losses, error = (every[:, i].reshape(shape) for i in (0, 1))
    return Phase(tuple(gamma0), tuple(similarity), tuple(seeds), losses, error)


def _entry(value: float) -> str:
    """Four places after the point, unless it has diverged."""
    return f"{value:.3g}" if abs(value) >= 1e4 else f"{value:.4f}"


def _axis(name: str, values: Grid) -> tuple[float, ...]:
    given = values.tolist() if isinstance(values, np.ndarray | Tensor) else values
    if not isinstance(given, Sequence) or not given or any(not isinstance(v, Real) for v in given):
        raise ValueError(f"{name} must be a list of numbers, got {given!r}")
    if len(set(given)) < len(given):
        raise ValueError(f"{name} holds a value twice: {list(given)}")
    return tuple(sorted(map(float, given)))


def _vertex(x: Float[np.ndarray, " n"], y: Float[np.ndarray, " n"]) -> float:
    """Where the parabola through the least y and its neighbours is least; NaN of no finite y."""
    if not np.isfinite(y).any():
        return float("nan")
    best = int(np.nanargmin(np.where(np.isfinite(y), y, np.nan)))
    if best in (0, len(y) - 1) or not np.isfinite(y[best - 1 : best + 2]).all():
        return float(x[best])
    left, right = x[best - 1] - x[best], x[best + 1] - x[best]
    down, up = y[best - 1] - y[best], y[best + 1] - y[best]
    bend = (down / left - up / right) / (left - right)
    if bend <= 0:
        return float(x[best])
    return float(x[best] - (down / left - bend * left) / (2 * bend))
