"""Condition numbers of positive definite matrices."""

from typing import NamedTuple

import torch
from jaxtyping import Float64
from torch import Tensor

EXACT_UP_TO = 1024
ITERATIONS = 30


class Condition(NamedTuple):
    """A condition number, and whether it was computed from all eigenvalues or estimated."""

    value: float
    exact: bool


def condition(
    matrix: Float64[Tensor, "n n"], factor: Float64[Tensor, "n n"], exact_up_to: int = EXACT_UP_TO
) -> Condition:
    """Largest over smallest eigenvalue of a positive definite matrix.

    Up to `exact_up_to` rows from all eigenvalues. Beyond, where these take longer than the solution
    itself, from 30 power iterations and 30 inverse ones through the Cholesky factor, from a fixed
    start: Rayleigh quotients, which can only make the condition look smaller than it is.

    Args:
        matrix: symmetric and positive definite.
        factor: its lower Cholesky factor.
        exact_up_to: the largest number of rows whose eigenvalues are all computed.

    >>> matrix = torch.diag(torch.tensor([4.0, 1.0], dtype=torch.float64))
    >>> condition(matrix, matrix.sqrt())
    Condition(value=4.0, exact=True)
    """
    if len(matrix) <= exact_up_to:
        values = torch.linalg.eigvalsh(matrix)
        return Condition(float(values[-1] / values[0]) if values[0] > 0 else float("inf"), True)
    large = small = torch.linspace(1, 2, len(matrix), dtype=matrix.dtype, device=matrix.device)
    for _ in range(ITERATIONS):
        large = matrix @ (large / large.norm())
        small = torch.cholesky_solve((small / small.norm()).unsqueeze(1), factor).squeeze(1)
    large, small = large / large.norm(), small / small.norm()
    return Condition(float((large @ matrix @ large) / (small @ matrix @ small)), False)
