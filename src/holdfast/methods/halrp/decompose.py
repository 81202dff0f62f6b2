"""From a free weight to a scaled base and what is left of it."""

from typing import Literal, NamedTuple, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from holdfast.methods.halrp.kinds import Shape

Scaling = Literal["alternating", "one_pass", "official", "none"]
"""How r and s are fitted: ``alternating`` least squares to convergence, ``one_pass`` of it (r, then
s given r), ``official``: as the authors' code does by a mistake of broadcasting, ``none``: ones."""

_FLOOR = 1e-20
_EXACT = 1024
"""Matrices whose smaller side is longer get a randomised decomposition."""


def check_scaling(scaling: str) -> None:
    """Refuse an unknown method.

    Raises:
        ValueError: naming the methods there are.
    """
    if scaling not in get_args(Scaling):
        raise ValueError(f"scaling must be one of {get_args(Scaling)}, got {scaling!r}")


def scaling_vectors(
    free: Tensor,
    base: Tensor,
    shape: Shape,
    method: Scaling = "alternating",
    sweeps: int = 10,
) -> tuple[Float[Tensor, " out"], Float[Tensor, " into"]]:
    """The r and s that bring diag(r) W_0 diag(s) near to a free weight W.

        r_o = <W[o], W_0[o] s> / |W_0[o] s|^2,      s_i = <W[:, i], r W_0[:, i]> / |r W_0[:, i]|^2

    with inner products over the kernel window too; each is the least-squares optimum given the
    other, so that the residual D obeys <D[:, i], r W_0[:, i]> = 0. Rows and columns of W_0 that
    are 0 get 1. ``official`` reproduces the formula that the authors' code computes,
    s_i = (sum r / sum r^2) <W_0[:, i], W[:, i]> / |W_0[:, i]|^2.

    Args:
        free: weight of one layer.
        base: W_0.
        shape: of the layer.
        method: see `Scaling`.
        sweeps: of ``alternating``, at most; it ends when nothing moves by 1e-8.

    Returns:
        r (out,) and s (into * groups,), in float64.

    Raises:
        ValueError: an unknown method.
    """
    check_scaling(method)
    groups, each = shape.groups, shape.out // shape.groups
    w = free.detach().double().reshape(groups, each, shape.into, -1)
    w0 = base.detach().double().reshape(groups, each, shape.into, -1)
    cross, square = (w * w0).sum(3), (w0 * w0).sum(3)
    r = torch.ones(groups, each, dtype=torch.float64, device=w.device)
    s = torch.ones(groups, shape.into, dtype=torch.float64, device=w.device)
    if method == "none":
        return r.flatten(), s.flatten()
    for _ in range(sweeps if method == "alternating" else 1):
        before = r, s
        r = _ratio(torch.einsum("goi,gi->go", cross, s), torch.einsum("goi,gi->go", square, s * s))
        if method == "official":
            share = r.sum(1, keepdim=True) / (r * r).sum(1, keepdim=True).clamp(min=_FLOOR)
            s = share * _ratio(cross.sum(1), square.sum(1))
            break
        s = _ratio(torch.einsum("goi,go->gi", cross, r), torch.einsum("goi,go->gi", square, r * r))
        moved = max((r - before[0]).abs().max().item(), (s - before[1]).abs().max().item())
        if moved < 1e-8:
            break
    return r.flatten(), s.flatten()


def _ratio(above: Tensor, below: Tensor) -> Tensor:
    return torch.where(below > _FLOOR, above / below.clamp(min=_FLOOR), torch.ones_like(above))


class Decomposition(NamedTuple):
    """A free weight as diag(r) W_0 diag(s) + M, and M by its singular triplets.

    Args:
        r, s: see `scaling_vectors`.
        left: (rows, k) singular vectors of M.
        values: (k,) singular values, descending; all of M's, or its largest.
        right: (k, columns).
        mass: |M|_F^2, of all values whether they are among `values` or not.
        lost: squared Frobenius norm of the part of the residual that the mode cannot hold (what
            varies over the window under ``constant``).
    """

    r: Tensor
    s: Tensor
    left: Tensor
    values: Tensor
    right: Tensor
    mass: float
    lost: float


def decompose(
    free: Tensor,
    base: Tensor,
    shape: Shape,
    scaling: Scaling = "alternating",
    most: int | None = None,
    generator: torch.Generator | None = None,
) -> Decomposition:
    """The decomposition of one layer's free weight.

    By the exact singular value decomposition where the smaller side of M has at most 1,024
    entries or more than a quarter of the triplets are wanted, else by a randomised one (Halko,
    Martinsson, Tropp, 2011; two power iterations, 10 columns beside the `most` asked for).

    Args:
        free: weight of one layer.
        base: W_0.
        shape: of the layer.
        scaling: method of `scaling_vectors`.
        most: triplets that are wanted; all by default.
        generator: of the randomised decomposition, on the CPU; needed where it is used.

    Raises:
        ValueError: the weights are not finite or of different shapes, or no generator is given
            where one is needed.
    """
    if free.shape != base.shape:
        raise ValueError(f"free and base must have one shape, got {free.shape} and {base.shape}")
    if not bool(free.isfinite().all() and base.isfinite().all()):
        raise ValueError("free and base must be finite: has the warm-up diverged?")
    r, s = scaling_vectors(free, base, shape, scaling)
    residual = free.detach().double() - shape.scaled(base.detach().double(), r, s)
    matrix = shape.matrix(residual)
    mass = matrix.square().sum().item()
    lost = 0.0
    if shape.multiplicity > 1:
        lost = max(residual.square().sum().item() - shape.multiplicity * mass, 0.0)
    side = min(matrix.shape)
    wanted = side if most is None else min(most, side)
    if side > _EXACT and wanted < side // 4:
        if generator is None:
            raise ValueError(
                f"generator must be given for the randomised decomposition of a matrix "
                f"{tuple(matrix.shape)}; most=None decomposes it exactly"
            )
        left, values, right = _randomised(matrix, wanted, generator)
    else:
        left, values, right = _exact(matrix)
    return Decomposition(r, s, left, values, right, mass, lost)


def _exact(matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """By the eigenvectors of M M^T on the smaller side, several times faster than the SVD.

    Values are |u_i^T M| rather than roots of eigenvalues, which lose half of the digits: they are
    right to about 1e-16 of the largest, and the sum of all triplets is M to rounding, since the
    u_i are orthonormal whatever they belong to.
    """
    flipped = matrix.shape[0] > matrix.shape[1]
    wide = matrix.T if flipped else matrix
    vectors = torch.linalg.eigh(wide @ wide.T).eigenvectors.flip(1)
    other = vectors.T @ wide
    values = other.norm(dim=1)
    values, order = values.sort(descending=True)
    other = torch.where(values[:, None] > 0, other[order] / values[:, None], 0)
    vectors = vectors[:, order]
    return (other.T, values, vectors.T) if flipped else (vectors, values, other)


def _randomised(
    matrix: Tensor, wanted: int, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    q = min(wanted + 10, *matrix.shape)
    sketch = torch.randn(matrix.shape[1], q, generator=generator, dtype=torch.float64)
    basis = torch.linalg.qr(matrix @ sketch.to(matrix.device)).Q
    for _ in range(2):
        basis = torch.linalg.qr(matrix @ torch.linalg.qr(matrix.T @ basis).Q).Q
    left, values, right = torch.linalg.svd(basis.T @ matrix, full_matrices=False)
    return (basis @ left)[:, :wanted], values[:wanted], right[:wanted]
