"""The temperature of least-squares scores when no sample is there to fit it to."""

import torch
from jaxtyping import Float64
from torch import Tensor

from holdfast.starts.lda import within_scatter
from holdfast.starts.moments import Moments
from holdfast.starts.temperature import fit_scale

_DRAWS = (512, 8192)
_SCORES = 4_000_000
"""Scores held at a time: with many classes fewer points are drawn."""
_SMALLEST_SCALE = 1e-3
_JITTER = 1e-9


def expected_temperature(
    rows: Float64[Tensor, "classes inputs"],
    moments: Moments,
    leverage: float,
    generator: torch.Generator,
) -> float:
    """The T at which softmax(s / T) of scores s = rows [h, 1] is expected to be best.

    The expectation of the cross-entropy is over h ~ N(mu_c, Sigma_W), each class as often as its
    weight says, at up to 8,192 drawn points. Samples that were solved with are nearer to their
    targets y than those to come: a leave-one-out score is (s - h_ii y) / (1 - h_ii), h_ii the
    leverage. As in generalised cross-validation its mean is taken for the leverage of each:

        s <- (s - kappa y) / (1 - kappa),    kappa = df / N.

    Args:
        rows: in the order of the classes of the moments, the intercept last.
        moments: of the features that the rows are for.
        leverage: kappa, below 1.
        generator: that the points are drawn from, on the CPU.

    Returns:
        T between 1e-4 and 1e3.
    """
    device, p = rows.device, moments.weights
    count = min(max(_SCORES // len(rows), _DRAWS[0]), _DRAWS[1])
    # Classes in the shares p without chance: the quantiles of p at evenly spaced places.
    places = (torch.arange(count, dtype=torch.float64, device=device) + 0.5) / count
    y = torch.searchsorted(p.cumsum(0), places).clamp_(max=len(rows) - 1)
    noise = torch.randn(count, moments.width, generator=generator, dtype=torch.float64).to(device)
    scatter, means = within_scatter(moments)
    scores = (means @ rows[:, :-1].T + rows[:, -1])[y]
    scores += noise @ (rows[:, :-1] @ _root(scatter)).T
    scores[torch.arange(count, device=device), y] -= leverage
    return 1 / max(fit_scale(scores / (1 - leverage), y), _SMALLEST_SCALE)


def _root(covariance: Float64[Tensor, "d d"]) -> Float64[Tensor, "d d"]:
    """L with L L^T the covariance, which rounding may have left a little below 0."""
    lifted = covariance.clone()
    lifted.diagonal().add_(_JITTER * float(covariance.diagonal().mean().clamp_min(0)))
    factor, failed = torch.linalg.cholesky_ex(lifted)
    # Singular where there is little more than a sample a class: the spread of each feature then.
    return covariance.diagonal().clamp_min(0).sqrt().diag() if failed else factor
