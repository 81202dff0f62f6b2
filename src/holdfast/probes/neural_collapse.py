"""Neural collapse: how near features and head are to one rigid picture of the classes.

With n_c features h of each of C classes: class means mu_c, mu_G their mean, M the matrix (d, C) of
the centred means mu_c - mu_G, Sigma_W the mean over classes of the covariance within each,
Sigma_B = M M^T / C, all classes counting alike whatever their n_c; W (C, d) and b the head. At full
collapse Sigma_W = 0, the centred means form a simplex (equal lengths, all angles alike and as wide
as they can be), W is M^T up to a factor, and the head decides as the nearest class mean does.

Two families of numbers go by the names NC1 to NC4. Both are here, in float64 and named apart.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

Features = Float[Tensor, "n d"]
Labels = Int[Tensor, " n"]
Rows = Float[Tensor, "classes d"]
Offsets = Float[Tensor, " classes"]

NAMES = ("nc1", "nc2", "nc3", "nc4")
CLASSICAL_NAMES = (
    *("within_to_between", "equinorm_means", "equinorm_rows"),
    *("equiangular_means", "equiangular_rows", "max_angle_means", "max_angle_rows"),
    *("self_duality", "disagreement"),
)


def neural_collapse(
    features: Features, labels: Labels, weight: Rows, bias: Offsets | None = None
) -> dict[str, float]:
    r"""NC1 to NC4 as Harun, Gallardo & Kanan measure them.

    With T = (I - 11^T / C) / sqrt(C - 1), the Gram matrix of a simplex, of norm 1:

    - ``nc1``: tr(Sigma_W Sigma_B^+) / C, the variability within classes;
    - ``nc2``: \|W W^T / \|W W^T\|_F - T\|_F, how far the rows of the head are from a simplex;
    - ``nc3``: \|W M / \|W M\|_F - T\|_F, how far the head is from the class means;
    - ``nc4``: \|W mu_G + b\|_2, the logits of the mean feature, which the bias is to cancel.

    All are 0 at full collapse. ``nc1`` to ``nc3`` do not see the scale of features or head, nor a
    rotation of both; ``nc4`` is in units of logits. "Controlling neural collapse enhances
    out-of-distribution detection and transfer learning" (2025), from Zhu et al., "A geometric
    analysis of neural collapse with unconstrained features" (2021).

    Args:
        features: penultimate activations.
        labels: the row of the head that each belongs to, in 0 .. C-1, every one of them there.
        weight: of the head, with all factors in it: logits are W h + b.
        bias: none counts as 0.

    Returns:
        NaN throughout where a value is not finite or all class means are the same.

    Raises:
        ValueError: fewer than two classes, a row without features, labels beyond the rows, or
            shapes that do not fit.

    >>> rows = torch.eye(3) - 1 / 3
    >>> found = neural_collapse(2 * rows, torch.arange(3), rows)
    >>> [round(value, 6) for value in found.values()]
    [0.0, 0.0, 0.0, 0.0]
    """
    classes = _classes(features, labels, weight, bias)
    if classes is None:
        return dict.fromkeys(NAMES, math.nan)
    w, count = classes.weight, len(classes.weight)
    eye = torch.eye(count, dtype=w.dtype, device=w.device)
    simplex = (eye - 1 / count) / math.sqrt(count - 1)
    values = (
        classes.variability(),
        (_unit(w @ w.T) - simplex).norm(),
        (_unit(w @ classes.centred) - simplex).norm(),
        (w @ classes.mean + classes.bias).norm(),
    )
    return dict(zip(NAMES, map(float, values), strict=True))


def classical_neural_collapse(
    features: Features, labels: Labels, weight: Rows, bias: Offsets | None = None
) -> dict[str, float]:
    r"""NC1 to NC4 as Papyan, Han & Donoho (2020) measure them.

    - NC1 ``within_to_between``: tr(Sigma_W Sigma_B^+) / C, the same as ``nc1``;
    - NC2 of the centred means (``_means``) and of the rows of the head (``_rows``): ``equinorm``,
      standard deviation of the lengths over their mean; ``equiangular``, standard deviation of the
      cosines between any two; ``max_angle``, mean of \|cosine + 1 / (C - 1)\|;
    - NC3 ``self_duality``: \|W^T / \|W\|_F - M / \|M\|_F\|_F (the paper plots its square);
    - NC4 ``disagreement``: share of the features whose largest logit is not that of the nearest
      class mean.

    All are 0 at full collapse. None but ``disagreement``, in which the bias counts beside W h, sees
    the scale of features or head. Standard deviations divide by the number of values.

    Arguments, unknown values and errors as in `neural_collapse`.
    """
    classes = _classes(features, labels, weight, bias)
    if classes is None:
        return dict.fromkeys(CLASSICAL_NAMES, math.nan)
    w, centred = classes.weight, classes.centred
    nearest = torch.cdist(
        classes.features - classes.mean, centred.T, compute_mode="donot_use_mm_for_euclid_dist"
    ).argmin(dim=1)
    decided = (classes.features @ w.T + classes.bias).argmax(dim=1)
    shapes = zip(_shape(centred.T), _shape(w), strict=True)
    values = (
        classes.variability(),
        *(value for means_and_rows in shapes for value in means_and_rows),
        (_unit(w.T) - _unit(centred)).norm(),
        (nearest != decided).double().mean(),
    )
    return dict(zip(CLASSICAL_NAMES, map(float, values), strict=True))


class _Classes(NamedTuple):
    """Samples (n, d), their deviations from class means, these (d, C) centred, mu_G, W and b."""

    features: Tensor
    within: Tensor
    centred: Tensor
    mean: Tensor
    weight: Tensor
    bias: Tensor

    def variability(self) -> Tensor:
        """tr(Sigma_W Sigma_B^+) / C = sum_k u_k^T Sigma_W u_k / s_k^2 with M = U S V^T.

        No (d, d) matrix is made: `within` holds the deviations of a class over sqrt(n_c), so that
        Sigma_W is its Gram matrix over C.
        """
        count = self.centred.shape[1]
        u, s, _ = torch.linalg.svd(self.centred, full_matrices=False)
        # Centred, C means span at most C - 1 directions; rounding fills the last one.
        kept = (torch.arange(len(s), device=s.device) < count - 1) & (s > _EPS * s[0])
        along = (self.within @ u[:, kept]).square().sum(dim=0) / count
        return (along / s[kept].square()).sum()


_EPS = 1e-12


def _classes(
    features: Tensor, labels: Tensor, weight: Tensor, bias: Tensor | None
) -> _Classes | None:
    """None where a value is not finite, or there is but one class mean.

    Raises:
        ValueError: see `neural_collapse`.
    """
    count = len(weight)
    if count < 2:
        raise ValueError(f"weight must have a row for each of two classes or more, got {count}")
    fits = features.ndim == 2 and len(features) == len(labels)
    if not fits or features.shape[1] != weight.shape[1]:
        raise ValueError(
            f"features, labels and weight must fit: (n, d), (n,) and (classes, d); got "
            f"{tuple(features.shape)}, {tuple(labels.shape)} and {tuple(weight.shape)}"
        )
    if bias is not None and len(bias) != count:
        raise ValueError(f"bias must have {count} entries, as weight has rows; got {len(bias)}")
    strangers = sorted({int(c) for c in labels.unique()} - set(range(count)))
    if strangers:
        raise ValueError(f"labels must be rows of weight, 0 to {count - 1}; got {strangers[:5]}")
    sizes = torch.bincount(labels, minlength=count)
    empty = (sizes == 0).nonzero().flatten().tolist()
    if empty:
        raise ValueError(
            f"rows {empty[:5]} of weight have no features; give the rows of the classes that are "
            "there, and labels numbered as these"
        )
    h, w = features.double(), weight.double()
    b = w.new_zeros(count) if bias is None else bias.double()
    if not all(bool(torch.isfinite(values).all()) for values in (h, w, b)):
        return None
    n = sizes.to(h)[:, None]
    means = h.new_zeros(count, h.shape[1]).index_add_(0, labels, h) / n
    mean = means.mean(dim=0)
    centred = means - mean
    if not centred.norm() > _EPS * means.norm():
        return None
    within = (h - means[labels]) / n.sqrt()[labels]
    return _Classes(h, within, centred.T, mean, w, b)


def _shape(vectors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Spread of the lengths, spread of the cosines, distance of the cosines from -1 / (C - 1)."""
    lengths = vectors.norm(dim=1)
    unit = vectors / lengths[:, None]
    count = len(vectors)
    apart = ~torch.eye(count, dtype=torch.bool, device=vectors.device)
    cosines = (unit @ unit.T)[apart]
    spread = lengths.std(correction=0) / lengths.mean()
    return spread, cosines.std(correction=0), (cosines + 1 / (count - 1)).abs().mean()


def _unit(matrix: Tensor) -> Tensor:
    return matrix / matrix.norm()
