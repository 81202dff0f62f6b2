"""The largest eigenvalue of a matrix that is known by its products alone."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

Product = Callable[[Tensor], Tensor]
"""v -> A v, of the shape of v."""


def largest_eigenvalue(
    product: Product, start: Float[Tensor, "..."], tolerance: float = 1e-3, most: int = 40
) -> float:
    """Largest eigenvalue of a symmetric matrix, by the Lanczos iteration.

    After k products the largest Ritz value theta of the Krylov space of `start` is at most the
    eigenvalue; the iteration ends when the residual |A v - theta v| of its vector is at most
    `tolerance` times theta, which bounds the distance to an eigenvalue (its error is of the order
    of the square, over the gap). The basis is orthogonalised whole, in float64: memory of one
    vector a product.

    Args:
        product: v -> A v.
        start: a vector with a part along the eigenvector sought; a random one has.
        tolerance: see above.
        most: products made at most, where the last estimate is given, a lower bound.

    Returns:
        NaN where a product is not finite; 0 for a `start` of 0.

    Golub & Van Loan, 2013, section 10.1.

    >>> values = torch.tensor([3.0, 1.0, -5.0])
    >>> round(largest_eigenvalue(lambda v: values * v, torch.ones(3)), 6)
    3.0
    """
    size = start.numel()
    vector = start.double().flatten() / start.double().norm()
    if not vector.isfinite().all():
        return 0.0
    basis, ritz = vector.unsqueeze(0), 0.0
    diagonal: list[float] = []
    beside: list[float] = []
    for _ in range(min(most, size)):
        image = product(basis[-1].view_as(start).to(start.dtype)).double().flatten()
        if not image.isfinite().all():
            return float("nan")
        diagonal.append(torch.dot(basis[-1], image).item())
        for _ in range(2):  # once leaves rounding errors along what was found
            image = image - basis.T @ (basis @ image)
        length = image.norm().item()
        values, vectors = torch.linalg.eigh(_tridiagonal(diagonal, beside))
        ritz = values[-1].item()
        residual = length * abs(vectors[-1, -1].item())
        if residual <= tolerance * abs(ritz) or length == 0.0:
            break
        beside.append(length)
        basis = torch.cat([basis, image.unsqueeze(0) / length])
    return ritz


def _tridiagonal(diagonal: list[float], beside: list[float]) -> Tensor:
    matrix = torch.diag(torch.tensor(diagonal, dtype=torch.float64))
    off = torch.tensor(beside, dtype=torch.float64)
    return matrix + torch.diag(off, 1) + torch.diag(off, -1) if beside else matrix
