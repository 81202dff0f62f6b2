"""How the sharpest directions of the loss differ between two moments."""

from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn

from holdfast.curvature.samples import Samples, checked_outputs, forward_of, unpacked
from holdfast.probes.as_found import Mode
from holdfast.probes.differentiable import Loss, mean_loss
from holdfast.probes.hessian import hessian_of
from holdfast.probes.lanczos import Eigenpairs, top_eigenpairs
from holdfast.seeds import generator

Surface = Literal["labels", "perturbation"]


def top_curvature(
    model: nn.Module,
    samples: Samples,
    count: int = 5,
    *,
    of: Surface = "labels",
    loss: Loss | None = None,
    mode: Mode = "eval",
    tolerance: float = 1e-3,
    most: int = 100,
    seed: int = 0,
) -> Eigenpairs:
    """The largest eigenvalues of a Hessian with their eigenvectors, to be compared later.

    - ``labels``: of the mean loss on the samples, say those of a new task with its labels;
    - ``perturbation``: of 1/2 mean_n |f - sg(f) + e|^2, f the outputs, sg(f) the same held fixed
      and e standard normal, the same for all moments: H = J^T J / n + sum e d2f / n. No labels are
      needed, and the level of the loss, which alone flattens a fitted softmax, does not show.

    Args:
        model: see `sharpness`. Its parameters that require a gradient span the space.
        samples: a `Batch`, or inputs and labels; of ``perturbation`` the labels are not looked at.
        count: of the eigenvalues, fewer than there are parameters.
        of: the surface, see above.
        loss: see `sharpness`; of ``labels``.
        mode: see `sharpness`.
        tolerance: relative to the largest, of the residuals (`top_eigenpairs`).
        most: products with the Hessian, at most.
        seed: of e and of the vector that the iteration starts with.

    Raises:
        ValueError: a count below 1, an unknown surface; else as `sharpness`.

    ``perturbation``: Lyle et al., 2023. Subspaces: Gur-Ari et al., 2018.
    """
    if count < 1:
        raise ValueError(f"count must be 1 or more, got {count}")
    if of not in get_args(Surface):
        raise ValueError(f"of must be labels or perturbation, got {of!r}")

    def value() -> Tensor:
        if of == "labels":
            return mean_loss(model, samples, loss)
        x, _, task = unpacked(samples)
        f = checked_outputs(forward_of(model)(x, task), x)
        draws = torch.randn(f.shape, generator=generator(seed, "perturbation")).to(f)
        # Outputs of -inf mark columns that cannot be.
        error = (f - f.detach() + draws).masked_fill(f.isneginf(), 0.0)
        return error.square().sum(dim=1).mean() / 2

    with hessian_of(model, value, mode) as hessian:
        start = hessian.drawn(seed, "curvature")
        return top_eigenpairs(hessian.product, start, count, tolerance, most)


class CurvatureShift(NamedTuple):
    """The change of the largest eigenvalues and of the space of their vectors.

    Args:
        relative: |lambda' - lambda| / |lambda| of the vectors of eigenvalues; 0 for no change.
        overlap: |U'^T U|_F^2 / k of the spaces of k eigenvectors: 1 if they are the same, k / size
            if they have nothing to do with each other. NaN where the parameters are others.
    """

    relative: float
    overlap: float


def curvature_shift(before: Eigenpairs, after: Eigenpairs) -> CurvatureShift:
    """Compare the largest eigenvalues at two moments, of one surface in one space.

    Raises:
        ValueError: their numbers differ.

    >>> axes = torch.eye(3, dtype=torch.float64)
    >>> one = Eigenpairs(torch.tensor([4.0, 3.0]).double(), axes[:2])
    >>> other = Eigenpairs(torch.tensor([8.0, 6.0]).double(), axes[1:])
    >>> curvature_shift(one, other)
    CurvatureShift(relative=1.0, overlap=0.5)
    """
    if len(before.values) != len(after.values):
        raise ValueError(
            "before and after must have as many eigenvalues, got "
            f"{len(before.values)} and {len(after.values)}"
        )
    change = after.values.cpu() - before.values.cpu()
    relative = (change.norm() / before.values.cpu().norm()).item()
    if before.vectors.shape != after.vectors.shape:
        return CurvatureShift(relative, float("nan"))
    products = after.vectors @ before.vectors.to(after.vectors).T
    return CurvatureShift(relative, products.square().sum().item() / len(before.values))
