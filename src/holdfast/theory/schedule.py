"""Which points are trained on at each step, and how fast."""

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Schedule:
    """Training over T steps.

    Args:
        weights: (T, P) m_mu(t), the weight of each point in the loss of each step: 1 / P_k for the
            points of the task or batch at hand, else 0.
        lr: (T,) eta(t).
        momentum: beta; the update is sum_s beta^(t-s) gradient(s), as torch has it.
        weight_decay: lambda; lambda w is added to the gradient, as torch has it, so that without
            momentum raw weights shrink by 1 - eta lambda a step.

    Raises:
        ValueError: shapes that disagree, or numbers out of range.
    """

    weights: Float[Tensor, "steps points"]
    lr: Float[Tensor, " steps"]
    momentum: float = 0.0
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        if len(self.weights) != len(self.lr) or not len(self.lr):
            raise ValueError(
                f"weights has {len(self.weights)} steps and lr {len(self.lr)}; they need one or "
                "more, and the same number"
            )
        if bool((self.weights < 0).any()) or not bool(torch.isfinite(self.weights).all()):
            raise ValueError("weights must be finite and 0 or more")
        if bool((self.lr < 0).any()) or not bool(torch.isfinite(self.lr).all()):
            raise ValueError("lr must be finite and 0 or more")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum must lie in [0, 1), got {self.momentum}")
        if self.weight_decay < 0 or float(self.lr.max()) * self.weight_decay >= 1:
            raise ValueError(
                f"weight_decay must be 0 or more with lr x weight_decay below 1, got "
                f"{self.weight_decay} and lr {float(self.lr.max()):g}"
            )

    @classmethod
    def in_turn(
        cls,
        counts: Sequence[int],
        steps: int | Sequence[int],
        lr: float | Sequence[float],
        points: int,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        batch_size: int | None = None,
        seed: int = 0,
    ) -> "Schedule":
        """One task after the other, tasks lying one behind the other among the points.

        Args:
            counts: points of each task.
            steps: of each task.
            lr: one, or one a task.
            points: in all; those behind the tasks' own get no weight.
            momentum: see above.
            weight_decay: see above.
            batch_size: points of a step, in epochs of shuffled batches; all by default.
            seed: of the batches.

        Raises:
            TypeError, ValueError: not one number of steps or rate a task, or sizes below 1.
        """
        each, rates = _a_task("steps", steps, len(counts)), _a_task("lr", lr, len(counts))
        if any(type(n) is not int or n < 1 for n in each):
            raise ValueError(f"steps must be positive integers, got {steps!r}")
        if batch_size is not None and (type(batch_size) is not int or batch_size < 1):
            raise ValueError(f"batch_size must be a positive integer, got {batch_size!r}")
        draws = torch.Generator().manual_seed(seed)
        rows, first = [], 0
        for count, own in zip(counts, each, strict=True):
            size = min(batch_size or count, count)
            order: list[Tensor] = []
            for _ in range(own):
                if not order:
                    shuffled = torch.randperm(count, generator=draws)
                    order = list((torch.arange(count) if size == count else shuffled).split(size))
                batch = order.pop(0)
                row = torch.zeros(points, dtype=torch.float64)
                row[first + batch] = 1 / len(batch)
                rows.append(row)
            first += count
        eta = torch.tensor([float(rate) for rate in rates], dtype=torch.float64)
        eta = eta.repeat_interleave(torch.tensor(each))
        return cls(torch.stack(rows), eta, momentum, weight_decay)

    def to(self, dtype: torch.dtype, device: torch.device | str) -> "Schedule":
        """The same in another precision or on another device."""
        moved = (self.weights.to(device, dtype), self.lr.to(device, dtype))
        return Schedule(*moved, self.momentum, self.weight_decay)


def _a_task(name: str, given: Any, tasks: int) -> list[Any]:
    """One number a task, of one or as many."""
    if isinstance(given, Real):
        return [given] * tasks
    if not isinstance(given, Sequence) or any(not isinstance(value, Real) for value in given):
        raise TypeError(f"{name} must be a number, or a list of one a task, got {given!r}")
    if len(given) != tasks:
        raise ValueError(f"{name} has {len(given)} entries for {tasks} tasks; give one a task")
    return list(given)
