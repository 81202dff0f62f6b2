"""Ridge regression onto classes, from second moments or from samples."""

from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite
from typing import Literal, NamedTuple, get_args

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from holdfast.starts.condition import condition
from holdfast.starts.moments import Moments

BiasForm = Literal["penalised", "free", "none"]
ESCALATIONS = 8


@dataclass(frozen=True)
class Ridge:
    """The rows of a linear head, and how they were found.

    Args:
        weight: (C, d+1), a row a class, its bias last (zero without bias).
        ridge: the lambda that was used, on the scale of means: ``gram + lambda I``.
        asked: the lambda that was asked for; smaller than `ridge` if the matrix was singular.
        condition: condition number, in the 2-norm, of the matrix that was solved.
        condition_exact: whether `condition` comes from all eigenvalues, or is an estimate of the
            extreme ones (`holdfast.starts.condition`).
        escalations: how many times the ridge was raised tenfold.
    """

    weight: Float64[Tensor, "classes inputs"]
    ridge: float
    asked: float
    condition: float
    condition_exact: bool
    escalations: int


def solve_ridge(moments: Moments, ridge: float, *, bias: BiasForm = "penalised") -> Ridge:
    """Rows W and biases b that minimise a weighted squared error and a ridge.

        1/2 sum_i w_i |W h_i + b - y_i|^2 + lambda/2 (|W|_F^2 + [penalised] |b|^2)

    Solved without the bias, whose optimum given W is known. With mu the weighted mean of h, p the
    weights of the classes, M the columns mu_c, and

        s = 1/(1 + lambda)  penalised (the bias is a weight as any other, of an input 1)
        s = 1               free (no penalty on the bias)
        s = 0               none (no bias),

        W = (diag(p) M^T - s p mu^T) [sum_i w_i h_i h_i^T - s mu mu^T + lambda I]^-1,
        b = s (p - W mu).

    Balanced weights (p_c = 1/C) make s = 0 equation 3 of Harun & Kanan (2025), and the penalised
    form the one of Han et al. (2022) and Webb & Lowe (1990). For other weights 1/C would not be the
    optimum of any squared error; p is.

    By Cholesky factors. If the matrix is singular to working precision, the ridge is raised tenfold
    until it is not, to at least a thousand times the rounding error of the matrix, and `Ridge` says
    so.

    Args:
        moments: means over samples, `FeatureStatistics.moments`.
        ridge: lambda >= 0, on the scale of means. One on the scale of sums is N times as large.
        bias: the form of the bias.

    Raises:
        ValueError: a ridge below 0 or not finite, an unknown form, moments that are not finite, or
            a matrix that no ridge made positive definite.

    >>> import torch
    >>> from holdfast.starts import FeatureStatistics
    >>> seen = FeatureStatistics(1).update(torch.tensor([[-1.0], [1.0]]), torch.tensor([0, 1]))
    >>> solve_ridge(seen.moments(), 0.0).weight
    tensor([[-0.5000,  0.5000],
            [ 0.5000,  0.5000]], dtype=torch.float64)
    """
    check_ridge(ridge, bias)
    second, mean = moments.gram[:-1, :-1], moments.gram[:-1, -1]
    cross, p = moments.cross[:, :-1], moments.weights
    if not (moments.gram.isfinite().all() and moments.cross.isfinite().all()):
        raise ValueError("the moments hold values that are not finite")

    def system(used: float) -> Tensor:
        return _add_ridge(second - _share(used, bias) * mean.outer(mean), used)

    solved = _factor(system, ridge)
    s = _share(solved.ridge, bias)
    right = cross - s * p.outer(mean)
    rows = torch.cholesky_solve(right.T, solved.factor).T
    weight = torch.cat([rows, (s * (p - rows @ mean)).unsqueeze(1)], 1)
    return _ridge(weight, ridge, solved)


def solve_samples(
    features: Float[Tensor, "n d"],
    targets: Float[Tensor, "n classes"],
    ridge: float,
    *,
    weights: Float[Tensor, " n"] | None = None,
    bias: BiasForm = "penalised",
) -> Ridge:
    """The same from the samples themselves, in the smaller of two equal forms.

    With A the rows sqrt(w_i) [h_i, 1] and B the rows sqrt(w_i) y_i, the matrix has the order d of
    the features, or, for fewer samples than features (Woodbury), their number n:

        W = B^T A (A^T A + lambda I)^-1 = B^T (A A^T + lambda I)^-1 A.

    Args:
        features: (n, d).
        targets: (n, C), one-hot or any others.
        ridge: lambda >= 0 on the scale of means, as in `solve_ridge`.
        weights: (n,) of the samples, positive; taken over their sum. `None`: all equal.
        bias: the form of the bias.

    Raises:
        ValueError: as `solve_ridge`; weights that are not positive.
    """
    check_ridge(ridge, bias)
    h, y = features.double(), targets.double()
    w = torch.ones_like(h[:, 0]) if weights is None else weights.double()
    if len(h) == 0 or not bool((w > 0).all()):
        raise ValueError(f"samples need positive weights, and at least one sample; got {weights}")
    w = w / w.sum()
    mean, p = w @ h, w @ y
    if len(h) >= h.shape[1]:
        inputs = torch.cat([h, torch.ones_like(h[:, :1])], 1)
        weighted = (inputs * w.unsqueeze(1)).T
        moments = Moments(weighted @ inputs, (weighted @ y).T, p, tuple(range(y.shape[1])), len(h))
        return solve_ridge(moments, ridge, bias=bias)
    if not (h.isfinite().all() and y.isfinite().all()):
        raise ValueError("features or targets hold values that are not finite")
    ones = torch.ones_like(h[:, :1])
    if bias == "free":  # the optimum passes through the means
        inputs, aims = torch.cat([h - mean, 0 * ones], 1), y - p
    else:
        inputs, aims = torch.cat([h, ones if bias == "penalised" else 0 * ones], 1), y
    root = w.sqrt().unsqueeze(1)
    a, b = root * inputs, root * aims
    kernel = a @ a.T
    solved = _factor(lambda used: _add_ridge(kernel, used), ridge)
    weight = torch.cholesky_solve(b, solved.factor).T @ a
    if bias == "free":
        weight[:, -1] = p - weight[:, :-1] @ mean
    return _ridge(weight, ridge, solved)


def leverages(
    moments: Moments,
    ridge: float,
    features: Float64[Tensor, "n d"],
    *,
    bias: BiasForm = "penalised",
) -> Float64[Tensor, " n"]:
    """h~^T (G + lambda I)^-1 h~ of features: h_ii / w_i of a sample in the moments, its leverage.

    Without sample i, the others keeping their weights, its residual is (y_i - W h~_i)/(1 - h_ii).
    With s and the matrix S of `solve_ridge`: s + (h - s mu)^T S^-1 (h - s mu).
    """
    check_ridge(ridge, bias)
    second, mean = moments.gram[:-1, :-1], moments.gram[:-1, -1]
    s = _share(ridge, bias)
    solved = _factor(lambda used: _add_ridge(second - s * mean.outer(mean), used), ridge)
    apart = torch.linalg.solve_triangular(solved.factor, (features - s * mean).T, upper=False)
    return s + apart.square().sum(0)


def solve_scatter(
    scatter: Float64[Tensor, "d d"],
    ridge: float,
    means: Float64[Tensor, "classes d"],
    priors: Float64[Tensor, " classes"],
) -> Ridge:
    """Rows S^-1 mu_c with biases -1/2 mu_c^T S^-1 mu_c + log p_c, for S = scatter + ridge I."""
    solved = _factor(lambda used: _add_ridge(scatter, used), ridge)
    rows = torch.cholesky_solve(means.T, solved.factor).T
    bias = priors.log() - (rows * means).sum(1) / 2
    return _ridge(torch.cat([rows, bias.unsqueeze(1)], 1), ridge, solved)


def check_ridge(ridge: float, bias: str) -> None:
    """Refuse what no ridge regression has."""
    if not isfinite(ridge) or ridge < 0:
        raise ValueError(f"ridge must be a finite number >= 0, got {ridge}")
    if bias not in get_args(BiasForm):
        raise ValueError(f"bias must be one of {get_args(BiasForm)}, got {bias!r}")


class _Factored(NamedTuple):
    factor: Tensor
    matrix: Tensor
    ridge: float
    escalations: int


def _share(ridge: float, bias: BiasForm) -> float:
    """The s of `solve_ridge`: how much of the mean the bias takes up."""
    return {"penalised": 1 / (1 + ridge), "free": 1.0, "none": 0.0}[bias]


def _add_ridge(matrix: Tensor, ridge: float) -> Tensor:
    raised = matrix.clone()
    raised.diagonal().add_(ridge)
    return raised


def _factor(system: Callable[[float], Tensor], ridge: float) -> _Factored:
    used = ridge
    for escalations in range(ESCALATIONS + 1):
        matrix = system(used)
        factor, failed = torch.linalg.cholesky_ex(matrix)
        rounding = len(matrix) * torch.finfo(matrix.dtype).eps
        pivots = factor.diagonal().square()
        # A pivot within rounding of zero is noise: Cholesky passes such matrices by chance.
        if not failed.item() and bool(pivots.min() > rounding * pivots.max()):
            return _Factored(factor, matrix, used, escalations)
        # Rows are good to rounding times condition: leave them a few digits.
        used = max(10 * used, 1000 * rounding * float(matrix.diagonal().abs().max()))
    raise ValueError(
        f"the Gram matrix is not positive definite, even with a ridge of {used / 10:.1e}; the "
        "features may all be zero, or the statistics damaged"
    )


def _ridge(weight: Tensor, asked: float, solved: _Factored) -> Ridge:
    found = condition(solved.matrix, solved.factor)
    return Ridge(weight, solved.ridge, asked, found.value, found.exact, solved.escalations)
