"""What tasks add that is alike in some of them, kept once."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


class Consolidated(NamedTuple):
    """What tasks add, split in parts of groups and parts of their own.

    groups: position of each task's group in `local`, `None` for a task without one.
    local: (groups, ...) what the tasks of a group have in common.
    residual: (tasks, ...) what is left to each.
    """

    groups: list[int | None]
    local: Tensor
    residual: Tensor


def consolidate(
    adaptive: Float[Tensor, "tasks ..."], groups: int, tolerance: float, seed: int
) -> Consolidated:
    """Group tasks by k-means, and keep once what differs little within a group.

    Where the entries tau_i of the tasks i of a group lie within `tolerance`,

        max_i tau_i - min_i tau_i <= tolerance,

    the group has their mean and the tasks have 0; elsewhere the group has 0 and tasks keep theirs.
    Tasks alone in their group have no local part. Yoon et al., 2020, section 3.3.

    Args:
        adaptive: tau of each task.
        groups: for k-means; at most as many as there are different tasks.
        tolerance: see above.
        seed: of the beginnings of k-means.
    """
    from sklearn.cluster import KMeans

    points = _coordinates(adaptive.detach().flatten(1))
    groups = min(groups, len(torch.unique(points, dim=0)))
    means = KMeans(groups, n_init=10, random_state=seed % 2**32)
    labels: list[int] = means.fit_predict(points.cpu().numpy()).tolist()
    found: dict[int, int] = {}
    assigned: list[int | None] = []
    for label in labels:
        alone = labels.count(label) == 1
        assigned.append(None if alone else found.setdefault(label, len(found)))
    residual = adaptive.detach().clone()
    local = residual.new_zeros(len(found), *residual.shape[1:])
    for g in range(len(found)):
        tasks = [i for i, own in enumerate(assigned) if own == g]
        members = residual[tasks]
        alike = members.amax(0) - members.amin(0) <= tolerance
        local[g] = torch.where(alike, members.mean(0), 0)
        residual[tasks] = torch.where(alike, 0, members)
    return Consolidated(assigned, local, residual)


def _coordinates(points: Float[Tensor, "n d"]) -> Float[Tensor, "n n"]:
    """Points in n dimensions with the same distances from one another: n is small, d is not."""
    rows = (points - points[0]).double()
    values, vectors = torch.linalg.eigh(rows @ rows.T)
    # Equal points are to stay so: what rounding makes of them is dropped.
    kept = values.clamp(min=0) * (values > values[-1] * 1e-12)
    coordinates = vectors * kept.sqrt()
    scale = coordinates.abs().max()
    return coordinates if scale == 0 else (coordinates / scale).round(decimals=9)
