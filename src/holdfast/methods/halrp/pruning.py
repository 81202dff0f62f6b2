"""Small entries of U and V set to zero."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from holdfast.methods.arguments import check_choice, check_number
from holdfast.methods.halrp.adapted import Adapted, Task
from holdfast.methods.halrp.storage import low_rank_matrices

Scope = Literal["layer", "task", "all_tasks"]
"""What a share is taken of: U and V of one layer, of all layers of a task, or of all tasks."""


@dataclass(frozen=True)
class Pruning:
    """Which entries of U and V go: those of an absolute value up to a threshold.

        |x| <= max(below, quantile of |x| at `share`)

    The modes of the authors' code (Li et al., 2024): *absolute* is `below` alone, *relative*
    `share` alone, *mixed absolute-relative* both; with a quantile over a layer, a task (their
    ``AllLayer``) or all tasks (``AllLayerAllTask``). Entries that are 0 already count in the
    quantile, as there.

    Args:
        below: largest absolute value that goes; 0 for none.
        share: of the entries, the smallest, that goes; 0 for none.
        over: what the share is of.

    Raises:
        ValueError: a number out of range, or an unknown scope.
    """

    below: float = 0.0
    share: float = 0.0
    over: Scope = "task"

    def __post_init__(self) -> None:
        check_number("below", self.below)
        check_number("share", self.share, to=1.0)
        check_choice("over", self.over, Scope)

    def threshold(self, values: Sequence[Tensor]) -> float:
        """That of the entries of these tensors together."""
        if self.share == 0 or not any(v.numel() for v in values):
            return self.below
        pool: Any = torch.cat([v.detach().flatten() for v in values]).abs().cpu().numpy()
        return max(self.below, float(np.percentile(pool, 100 * self.share)))


def share_for(growth: float, increase: float) -> float | None:
    """The share to prune for a network that grew by `increase` to have grown by `growth`.

        share = 1 - growth / increase

    `None` where it has not: then nothing is pruned, small entries neither. As in the authors' code,
    where `increase` counts entries that are 0 already but also r, s, norm layers and heads, which
    are not pruned: so the result is above `growth` by about their part.

    >>> share_for(0.2, 0.8)
    0.75
    """
    return None if increase < growth else 1 - growth / increase


@torch.no_grad()
def prune(model: Adapted, pruning: Pruning, tasks: Sequence[Task] | None = None) -> int:
    """Set entries of U and V of tasks to 0, in place and without training.

    Args:
        model: with the tasks.
        pruning: which entries.
        tasks: whose; of all by default. What they compute changes.

    Returns:
        how many entries were not 0 before and are now.

    Raises:
        ValueError: a task is unknown or folded.
    """
    names = [model.known(t) for t in (model.names if tasks is None else tasks)]
    for name in names:
        model.refuse_folded(name, "pruned")
    removed = 0
    for group in _groups(model, names, pruning.over).values():
        threshold = pruning.threshold(group)
        if threshold == 0 and pruning.share == 0:
            continue
        for matrix in group:
            gone = matrix.abs() <= threshold
            removed += int((gone & (matrix != 0)).sum())
            matrix.masked_fill_(gone, 0)
    return removed


def _groups(model: Adapted, names: Sequence[str], over: Scope) -> Mapping[str, list[Tensor]]:
    groups: dict[str, list[Tensor]] = {}
    for task in names:
        for layer, matrix, _ in low_rank_matrices(model, task):
            key = {"layer": f"{task}/{layer}", "task": task, "all_tasks": ""}[over]
            groups.setdefault(key, []).append(matrix)
    return groups
