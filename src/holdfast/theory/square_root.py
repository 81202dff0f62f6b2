"""The factor of a covariance."""

import torch
from jaxtyping import Float
from torch import Tensor


def lower_factor(covariance: Float[Tensor, "n n"]) -> Float[Tensor, "n n"]:
    """A lower triangular F with F F^T the covariance, which may be singular.

    Cholesky's where it is definite, so that further rows do not change those before them; else by
    eigenvectors, whose values below 0 are taken for 0, made triangular.

    >>> lower_factor(torch.tensor([[4.0, 2.0], [2.0, 2.0]]))
    tensor([[2., 0.],
            [1., 1.]])
    """
    factor, failed = torch.linalg.cholesky_ex(covariance)
    if not int(failed):
        return factor
    values, vectors = torch.linalg.eigh(covariance)
    triangular = torch.linalg.qr((vectors * values.clamp_min(0).sqrt()).T).R.T
    return torch.where(triangular.diagonal() < 0, -triangular, triangular)
