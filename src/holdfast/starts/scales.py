"""The scale of least-squares rows where two old rows with statistics are not there to give it."""

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from holdfast.starts.moments import Moments
from holdfast.starts.ridge import Ridge, leverages
from holdfast.starts.rows import Wanted
from holdfast.starts.temperature import fit_scale


def logit_spread(
    rows: Float64[Tensor, "classes inputs"], gram: Float64[Tensor, "inputs inputs"]
) -> float:
    """Root mean square of logits less their mean over the classes: what softmax sees of them.

    sqrt(tr(W^T P W G) / C), P = I - 11^T/C and G the second moment of [h, 1].
    """
    centred = rows - rows.mean(0)
    return float((centred @ gram * centred).sum().clamp_min(0) / len(rows)) ** 0.5


def scale_of_temperature(wanted: Wanted, moments: Moments, solved: Ridge) -> float | None:
    """The scale of least cross-entropy of the features given; `None` where none can be fitted."""
    left_out = _left_out(wanted, moments, solved)
    return None if left_out is None else fit_scale(*left_out) or None


def scale_beside_old(
    wanted: Wanted, moments: Moments, solved: Ridge, old: Float64[Tensor, "known inputs"]
) -> float | None:
    """The scale a of least cross-entropy with old logits as they are, the gauge following a.

    The logits of new classes, a (s_j - mean_k s_k) + mean_k w_old,k h~, are linear in a.
    """
    left_out, sample = _left_out(wanted, moments, solved), wanted.sample(moments)
    if left_out is None or sample is None:
        return None
    scores, columns = left_out
    logits = torch.cat([sample.features, torch.ones_like(sample.features[:, :1])], 1) @ old.T
    common = logits.mean(1, keepdim=True).expand(-1, len(wanted.new_classes))
    ahead = scores[:, len(old) :] - scores[:, : len(old)].mean(1, keepdim=True)
    moving = torch.cat([torch.zeros_like(logits), ahead], 1)
    return fit_scale(moving, columns, torch.cat([logits, common], 1)) or None


def _left_out(
    wanted: Wanted, moments: Moments, solved: Ridge
) -> tuple[Float64[Tensor, "n classes"], Int64[Tensor, " n"]] | None:
    """Scores of the features given, each as if it had been left out, and their columns.

    Those of samples that were solved with are too good: a scale fitted to them would be too large.
    """
    sample = wanted.sample(moments)
    if sample is None:
        return None
    h = leverages(moments, solved.ridge, sample.features, bias=wanted.bias) * sample.weights
    inputs = torch.cat([sample.features, torch.ones_like(sample.features[:, :1])], 1)
    targets = sample.targets()
    left = (1 - h).clamp_min(1e-12).unsqueeze(1)  # 0 where a sample alone decides a direction
    return targets - (targets - inputs @ solved.weight.T) / left, sample.columns
