"""Standard errors from independent ensembles."""

from jaxtyping import Float
from torch import Tensor

from holdfast.theory.problem import Problem


def jackknife(
    problem: Problem, outputs: Float[Tensor, "groups times points outputs"]
) -> Float[Tensor, "times tasks"]:
    """Standard error of the losses of the mean output, from means that leave one group out."""
    groups = len(outputs)
    without = (outputs.sum(0) - outputs) / (groups - 1)
    return problem.losses(without).std(0, correction=0) * (groups - 1) ** 0.5
