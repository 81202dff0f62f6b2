"""Eigenvalues of a matrix that is known by its products alone."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float, Float64
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
    if not start.any():
        return 0.0
    return top_eigenpairs(product, start, 1, tolerance, most).values[0].item()


class Eigenpairs(NamedTuple):
    """The largest eigenvalues of a symmetric matrix with their eigenvectors.

    Args:
        values: (k,) from the largest down.
        vectors: (k, size) of length 1, of the flattened space.
    """

    values: Float64[Tensor, " k"]
    vectors: Float64[Tensor, "k size"]


def top_eigenpairs(
    product: Product,
    start: Float[Tensor, "..."],
    count: int,
    tolerance: float = 1e-3,
    most: int = 100,
) -> Eigenpairs:
    """The `count` largest eigenvalues of a symmetric matrix, by the Lanczos iteration.

    As `largest_eigenvalue`; it ends when the residuals of all `count` are at most `tolerance`
    times the largest modulus among them. An eigenvalue that occurs twice is found once, as one
    start does not see the plane of its vectors.

    Args:
        product: v -> A v.
        start: a random vector, not 0.
        count: of the eigenvalues; fewer are found where the Krylov space of `start` is smaller.
        tolerance: see above.
        most: products made at most.

    Returns:
        NaN for all where a product is not finite.
    """
    values, vectors = (
        torch.zeros(0, dtype=torch.float64),
        start.new_zeros(0, start.numel()).double(),
    )
    for space in krylov(product, start, most):
        if not space.matrix.isfinite().all():
            missing = torch.full((count,), torch.nan, dtype=torch.float64)
            return Eigenpairs(missing, vectors.new_full((count, start.numel()), torch.nan))
        all_values, all_vectors = torch.linalg.eigh(space.matrix)
        values, small = all_values[-count:].flip(0), all_vectors[:, -count:].flip(1)
        residuals = space.length * small[-1].abs()
        enough = len(values) == count and residuals.max() <= tolerance * values.abs().max()
        if enough or space.length == 0.0:
            break
    vectors = small.T.to(space.basis) @ space.basis
    return Eigenpairs(values, vectors)


def spectral_nodes(
    product: Product, start: Float[Tensor, "..."], steps: int
) -> tuple[Float64[Tensor, " k"], Float64[Tensor, " k"]]:
    """Nodes theta and weights w with start^T f(A) start = sum_k w_k f(theta_k), about.

    The Gauss quadrature of the spectrum as `start` sees it: exact for polynomials f of degree below
    2 `steps`, and for any f when steps are as many as the eigenvalues (fewer are made where the
    Krylov space ends). NaN where a product is not finite.

    Golub & Meurant, 2010, chapter 6.
    """
    *_, space = krylov(product, start, steps)
    if not space.matrix.isfinite().all():
        missing = torch.full((1,), torch.nan, dtype=torch.float64)
        return missing, missing
    nodes, vectors = torch.linalg.eigh(space.matrix)
    return nodes, vectors[0].square() * start.double().square().sum().item()


class Krylov(NamedTuple):
    """The Krylov space of a start after k products.

    Args:
        basis: (k, size), orthonormal.
        matrix: (k, k) tridiagonal, A in this basis; on the CPU. NaN where a product is not finite.
        length: of the part of the last product outside the space; 0 where there is none.
    """

    basis: Float64[Tensor, "k size"]
    matrix: Float64[Tensor, "k k"]
    length: float


def krylov(product: Product, start: Float[Tensor, "..."], most: int) -> Iterator[Krylov]:
    """The growing Krylov space of a symmetric matrix, after each of at most `most` products.

    It ends where a product adds nothing to it beyond rounding, or is not finite.
    """
    vector = start.double().flatten()
    basis = (vector / vector.norm()).unsqueeze(0)
    diagonal: list[float] = []
    beside: list[float] = []
    for _ in range(min(most, start.numel())):
        image = product(basis[-1].view_as(start).to(start.dtype)).double().flatten()
        if not image.isfinite().all():
            yield Krylov(basis, torch.full((1, 1), torch.nan, dtype=torch.float64), 0.0)
            return
        reach = image.norm().item()
        diagonal.append(torch.dot(basis[-1], image).item())
        for _ in range(2):  # once leaves rounding errors along what was found
            image = image - basis.T @ (basis @ image)
        length = image.norm().item()
        # What is left of a product within the space is rounding, of no direction of its own.
        length = length if length > 1e-14 * reach else 0.0
        yield Krylov(basis, _tridiagonal(diagonal, beside), length)
        if length == 0.0:
            return
        beside.append(length)
        basis = torch.cat([basis, image.unsqueeze(0) / length])


def _tridiagonal(diagonal: list[float], beside: list[float]) -> Tensor:
    matrix = torch.diag(torch.tensor(diagonal, dtype=torch.float64))
    off = torch.tensor(beside, dtype=torch.float64)
    return matrix + torch.diag(off, 1) + torch.diag(off, -1) if beside else matrix
