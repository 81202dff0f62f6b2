"""Linear discriminant analysis with a shrunken scatter, from moments."""

from jaxtyping import Float64
from torch import Tensor

from holdfast.starts.moments import Moments
from holdfast.starts.ridge import Ridge, solve_scatter


def within_scatter(moments: Moments) -> tuple[Float64[Tensor, "d d"], Float64[Tensor, "classes d"]]:
    """Weighted covariance within classes, E[h h^T] - sum_c p_c mu_c mu_c^T, and the means mu_c."""
    means = moments.cross[:, :-1] / moments.weights.unsqueeze(1)
    between = (means * moments.weights.unsqueeze(1)).T @ means
    scatter = moments.gram[:-1, :-1] - between
    return (scatter + scatter.T) / 2, means


def oas_shrinkage(scatter: Float64[Tensor, "d d"], samples: int) -> float:
    """Coefficient of the oracle-approximating shrinkage towards a multiple of the identity.

        rho = min(1, (tr(S^2)/d^2 + m^2) / ((n + 1)(tr(S^2)/d^2 - m^2/d))),    m = tr(S)/d

    Chen, Wiesel, Eldar & Hero, 2010, equation 23, without its terms 2/d, as scikit-learn has it.

    Args:
        scatter: covariance S, (d, d).
        samples: n.
    """
    d = len(scatter)
    alpha = scatter.square().mean()
    square = (scatter.diagonal().mean()) ** 2
    spread = (samples + 1) * (alpha - square / d)
    return 1.0 if spread <= 0 else min(1.0, float((alpha + square) / spread))


def lda_rows(moments: Moments, shrinkage: float | None = None) -> tuple[Ridge, float]:
    """Rows of the Bayes classifier of Gaussian classes with one covariance, and the shrinkage.

        S = (1 - rho) Sigma_W + rho tr(Sigma_W)/d I,    w_c = S^-1 mu_c,
        b_c = -1/2 mu_c^T S^-1 mu_c + log p_c

    Args:
        moments: means over samples.
        shrinkage: rho in [0, 1]; `None`: `oas_shrinkage`.

    Returns:
        The rows, the ridge of `Ridge` being what was added to (1 - rho) Sigma_W, and rho.

    Raises:
        ValueError: a shrinkage outside [0, 1]; features that do not vary within classes.
    """
    if shrinkage is not None and not 0 <= shrinkage <= 1:
        raise ValueError(f"shrinkage must lie in [0, 1], got {shrinkage}")
    scatter, means = within_scatter(moments)
    level = float(scatter.diagonal().mean())
    # What is left of the rounding of h h^T where all samples of each class are alike.
    if not level > 1e-13 * float(moments.gram[:-1, :-1].diagonal().mean()):
        raise ValueError(
            "features do not vary within classes (a sample a class, or all alike): discriminant "
            "analysis has no scatter to divide by; take a least-squares start"
        )
    rho = oas_shrinkage(scatter, moments.samples) if shrinkage is None else shrinkage
    return solve_scatter((1 - rho) * scatter, rho * level, means, moments.weights), rho
