"""Two tasks, or more, of chosen similarity."""

import math
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from holdfast.seeds import generator

Targets = Literal["same", "independent"]


def gaussian_tasks(
    points: int,
    features: int = 784,
    similarity: float = 0.0,
    *,
    tasks: int = 2,
    targets: Targets = "same",
    levels: tuple[float, float] = (-1.0, 1.0),
    seed: int = 0,
) -> tuple[list[Float[Tensor, "points features"]], list[Float[Tensor, " points"]]]:
    """Gaussian inputs that are alike between tasks, point by point.

    X_1 = xi_1 and X_k = s X_1 + sqrt(1 - s^2) xi_k with xi normal, so that kernels within a task
    are near 1 and between the first and another near s times that. Half of the targets of a task,
    drawn at random, have the first of two levels and half the second.

    Args:
        points: of each task.
        features: D.
        similarity: s, in [0, 1].
        tasks: their number.
        targets: the ``same`` for the n-th point of every task, or drawn for each task.
        levels: that targets take.
        seed: of the draws.

    Returns:
        Inputs and targets, one entry a task, as `holdfast.theory.problem` takes them.

    Raises:
        ValueError: naming the argument, its value and what is allowed.
    """
    _check_similarity(similarity)
    for name, value in (("points", points), ("features", features), ("tasks", tasks)):
        if type(value) is not int or value < 1:
            raise ValueError(f"{name} must be a positive integer, got {value!r}")
    if targets not in get_args(Targets):
        raise ValueError(f"targets must be 'same' or 'independent', got {targets!r}")
    shape, own = (points, features), math.sqrt(1 - similarity**2)
    x = [_normal(shape, seed, "inputs", k) for k in range(tasks)]
    inputs = [x[0], *(similarity * x[0] + own * xi for xi in x[1:])]
    level = torch.tensor(levels, dtype=torch.float64)
    wanted = [
        level[torch.randperm(points, generator=generator(seed, "theory", "targets", k)) % 2]
        for k in range(tasks)
    ]
    return inputs, [wanted[0]] * tasks if targets == "same" else wanted


def permuted_tasks(
    x: Float[Tensor, "points features"],
    y: Tensor,
    similarity: float = 0.0,
    *,
    tasks: int = 2,
    seed: int = 0,
) -> tuple[list[Float[Tensor, "points features"]], list[Tensor]]:
    """The same samples in each task, with features exchanged in all but the first.

    A fraction `similarity` of the features, the same in all tasks, stays in place; the others are
    permuted among themselves, anew for each task. Of images, where what stays should be the
    centre, make a stream by `holdfast.streams.permuted`.

    Args:
        x: samples.
        y: (P,) or (P, C) their targets.
        similarity: in [0, 1].
        tasks: their number.
        seed: of the permutations.

    Returns:
        Inputs and targets, one entry a task, as `holdfast.theory.problem` takes them.

    Raises:
        ValueError: naming the argument, its value and what is allowed.
    """
    _check_similarity(similarity)
    if type(tasks) is not int or tasks < 1:
        raise ValueError(f"tasks must be a positive integer, got {tasks!r}")
    features = x.shape[1]
    shuffled = torch.randperm(features, generator=generator(seed, "theory", "stays"))
    free = shuffled[round(similarity * features) :]
    inputs = [x]
    for k in range(1, tasks):
        order = torch.arange(features)
        drawn = torch.randperm(len(free), generator=generator(seed, "theory", "permutation", k))
        order[free] = free[drawn]
        inputs.append(x[:, order.to(x.device)])
    return inputs, [y] * tasks


def _normal(shape: tuple[int, ...], seed: int, *purpose: str | int) -> Tensor:
    return torch.randn(shape, generator=generator(seed, "theory", *purpose), dtype=torch.float64)


def _check_similarity(similarity: float) -> None:
    if not 0 <= similarity <= 1:
        raise ValueError(f"similarity must lie in [0, 1], got {similarity}")
