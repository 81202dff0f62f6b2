"""Learning rates that gradient descent does not bear at the start."""

import warnings

import torch
from jaxtyping import Float
from torch import Tensor

from holdfast.theory.gaussian import initial_tangent_kernel
from holdfast.theory.problem import Problem
from holdfast.theory.two_layer import places


class UnstableRateWarning(UserWarning):
    """A learning rate is past what gradient descent bears on the network as it starts."""


def stable_rates(problem: Problem) -> Float[Tensor, " tasks"]:
    """The largest stable rate of each task, 2 (1 + momentum) / (curvature x lambda_max(K M)).

    K is the tangent kernel before the first step and M the mean weights of the task's steps, which
    are 1 / P_k for each of its points. The curvature of the loss by the outputs is 1 for the
    squared error, and 1 / C at the start for the cross-entropy of C outputs. Rich networks change K
    as they learn, so this is no guarantee.
    """
    kernel, weights = initial_tangent_kernel(problem), problem.schedule.weights
    curvature = 1 if problem.loss == "mse" else 1 / problem.outputs
    rates = []
    for task in range(problem.tasks):
        steps = (weights[:, problem.of_task(task)] != 0).any(1)
        mean = weights[steps].mean(0)
        on = places(mean != 0)
        root = mean[on].sqrt()
        top = torch.linalg.eigvalsh(root[:, None] * kernel[on][:, on] * root)[-1]
        rates.append(2 * (1 + problem.schedule.momentum) / (curvature * top))
    return torch.stack(rates)


def warn_of_unstable_rates(problem: Problem) -> None:
    """Warn where a task's learning rate is past `stable_rates`."""
    weights = problem.schedule.weights
    for task, bound in enumerate(stable_rates(problem).tolist()):
        steps = (weights[:, problem.of_task(task)] != 0).any(1)
        rate = float(problem.schedule.lr[steps].max())
        if rate > bound:
            warnings.warn(
                f"lr of task {task} is {rate:.4g}, past {bound:.4g}: the most that gradient "
                "descent bears on the tangent kernel at the start, "
                f"2 (1 + momentum) / (curvature x largest eigenvalue). Training may oscillate or "
                "diverge; take a smaller lr",
                UnstableRateWarning,
                stacklevel=3,
            )
