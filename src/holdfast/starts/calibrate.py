"""Least-squares rows brought to the scale and gauge of the rows of a trained head."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor


@dataclass(frozen=True)
class Calibration:
    """``row = scale * least_squares_row + gauge``.

    Args:
        scale: the scale a; NaN where it is not defined (fewer than two old rows, or least-squares
            rows of old classes that do not differ).
        gauge: (d+1,) the function that all old rows share, v; NaN with the scale.
        explained: share of the centred old logits' second moment that the scaled least-squares
            logits reproduce, 1 at best. NaN with the scale.
    """

    scale: float
    gauge: Float64[Tensor, " inputs"]
    explained: float


def calibrate(
    ls: Float64[Tensor, "classes inputs"],
    old: Float64[Tensor, "known inputs"],
    columns_of_old: Sequence[int],
    gram: Float64[Tensor, "inputs inputs"],
) -> Calibration:
    """Scale a and gauge v for which a * ls + v reproduces the old rows, as softmax sees them.

    Softmax is the same whatever function is added to all its logits, so rows trained with
    cross-entropy are known up to a common row only, and lie at a scale of their own, while
    least-squares scores lie in [0, 1]. With P = I - 11^T/K, which takes the mean over the K old
    classes away, the scale is that of least squares between centred logits,

        a = argmin_a E |P (a W_ls,old - W_old) h~|^2
          = tr(W_ls,old^T P W_old G) / tr(W_ls,old^T P W_ls,old G),    G = E[h~ h~^T],

    and the gauge the mean of what is left, v = mean_k (w_old,k - a w_ls,k). No samples are needed.

    Args:
        ls: (C, d+1) least-squares rows of all classes, bias last.
        old: (K, d+1) trained rows.
        columns_of_old: for each trained row, which of the C least-squares rows is of its class.
        gram: (d+1, d+1) second moment of [h, 1]; any multiple of it gives the same.

    Raises:
        ValueError: as many columns as old rows are needed, each once and among the C.

    >>> ls = torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.5, 0.5]], dtype=torch.float64)
    >>> trained = 8 * ls[:2] + torch.tensor([3.0, -1.0])
    >>> calibrate(ls, trained, [0, 1], torch.eye(2, dtype=torch.float64)).scale
    8.0
    """
    columns = list(columns_of_old)
    if len(columns) != len(old) or len(set(columns)) != len(columns):
        raise ValueError(
            f"columns_of_old must name one row for each of the {len(old)} old rows, got {columns}"
        )
    if any(not 0 <= c < len(ls) for c in columns):
        raise ValueError(f"columns_of_old must lie in [0, {len(ls)}), got {columns}")
    if not columns:
        return _undefined(ls)
    mine = ls[columns]
    centred_ls, centred_old = mine - mine.mean(0), old - old.mean(0)
    seen = centred_ls @ gram
    cross, own = float((seen * centred_old).sum()), float((seen * centred_ls).sum())
    target = float((centred_old @ gram * centred_old).sum())
    if len(columns) < 2 or own <= 0:
        return _undefined(ls)
    scale = cross / own
    gauge = (old - scale * mine).mean(0)
    return Calibration(scale, gauge, cross * scale / target if target > 0 else float("nan"))


def _undefined(ls: Tensor) -> Calibration:
    nan = float("nan")
    return Calibration(nan, torch.full_like(ls[0], nan), nan)
