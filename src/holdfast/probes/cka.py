"""How alike two sets of features of the same samples are, up to rotation and scale."""

from jaxtyping import Float
from torch import Tensor

Gram = Float[Tensor, "n n"]
"""Inner products of the samples' features, H H^T."""


def cka(a: Float[Tensor, "n d"], b: Float[Tensor, "n e"]) -> float:
    """Linear centred kernel alignment of two feature matrices of the same samples.

        <K, L>_F / (|K|_F |L|_F),    K = A A^T, L = B B^T, columns of A and B of mean 0.

    Lies in [0, 1]; 1 for features that are equal up to an orthogonal map, a factor and a shift;
    NaN where features do not differ between samples. For unrelated features of more dimensions
    than samples it is far from 0: compare values of one number of samples. Computed in float64,
    in memory of n^2. Kornblith et al., 2019.

    >>> import torch
    >>> round(cka(torch.eye(4), 3 * torch.eye(4).flip(1) + 1), 6)
    1.0
    """
    a, b = (f.double() - f.double().mean(dim=0) for f in (a, b))
    return kernel_alignment(a @ a.T, b @ b.T)


def gram_cka(k: Gram, m: Gram) -> float:
    """Linear centred kernel alignment from the Gram matrices of features: `cka` of these.

    The matrices are centred, C K C with C = 1 - 1/n; centred ones stay as they are.
    """
    return kernel_alignment(_centred(k), _centred(m))


def kernel_alignment(k: Gram, m: Gram) -> float:
    """Cosine <K, M>_F / (|K|_F |M|_F) of two kernel matrices, not centred.

    Lies in [0, 1] for kernels; 1 where they differ by a factor alone; NaN where one is 0.
    Computed in float64. Cristianini et al., 2001.

    >>> import torch
    >>> round(kernel_alignment(torch.eye(2), torch.ones(2, 2)), 6)  # 2 / (sqrt(2) 2)
    0.707107
    """
    return cosine(k, m)


def cosine(a: Float[Tensor, "*shape"], b: Float[Tensor, "*shape"]) -> float:
    """Cosine of the angle between two tensors of one shape, in float64; NaN where one is 0."""
    a, b = a.double() / a.double().norm(), b.double() / b.double().norm()
    # By the distance: exactly 1 for equal tensors, never above.
    return 1 - (a - b).square().sum().item() / 2


def _centred(k: Tensor) -> Tensor:
    k = k.double()
    return k - k.mean(dim=0) - k.mean(dim=1, keepdim=True) + k.mean()
