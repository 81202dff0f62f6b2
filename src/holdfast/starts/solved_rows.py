"""New rows from least squares and from discriminant analysis."""

from math import isfinite

import torch
from torch import Tensor

from holdfast.starts.calibrate import calibrate
from holdfast.starts.lda import lda_rows
from holdfast.starts.moments import Moments
from holdfast.starts.ridge import Ridge, leverages
from holdfast.starts.ridge_choice import Finish
from holdfast.starts.rows import Rows, Wanted, list_few
from holdfast.starts.temperature import LARGEST, fit_scale

HUGE_GAUGE = 1e4


def least_squares(wanted: Wanted) -> Rows:
    """The new rows of least squares over old and new classes, as they are."""
    classes = wanted.known_old + wanted.new_classes
    moments = wanted.moments(classes)
    old = wanted.old_rows(wanted.known_old)
    beside: Finish | None = None
    if len(old):
        beside = lambda rows, gram: torch.cat([old, rows[len(old) :]])  # noqa: E731
    solved, notes = wanted.solve(moments, beside)
    notes += wanted.few_samples()
    return _rows(wanted, solved.weight[len(old) :], "least_squares", solved, notes)


def least_squares_new(wanted: Wanted) -> Rows:
    """Least squares over the new classes alone, as if there were no others."""
    solved, notes = wanted.solve(wanted.moments(wanted.new_classes))
    notes += wanted.few_samples()
    return _rows(wanted, solved.weight, "least_squares_new", solved, notes)


def calibrated(wanted: Wanted) -> Rows:
    """Least squares over old and new classes, its new rows in scale and gauge of the old rows.

    Under squared error the targets say what scale and gauge are, and nothing is left to calibrate:
    all rows are solved instead.
    """
    if wanted.loss == "mse":
        note = "squared error knows its scale and gauge: all rows by least squares instead"
        return _with_notes(least_squares_all_rows(wanted), [note])
    if not wanted.known_old:
        return _without_old(wanted)
    known = wanted.known_old
    moments = wanted.moments(known + wanted.new_classes)
    old = wanted.old_rows(known)
    positions = list(range(len(known)))

    def finish(rows: Tensor, gram: Tensor) -> Tensor:
        found = calibrate(rows, old, positions, gram)
        usable = isfinite(found.scale) and found.scale > 0
        new = rows[len(old) :]
        return torch.cat([old, found.scale * new + found.gauge if usable else new])

    solved, notes = wanted.solve(moments, finish)
    notes += wanted.few_samples()
    found = calibrate(solved.weight, old, positions, moments.gram)
    scale, why = found.scale, ""
    if not (isfinite(scale) and scale > 0):
        why = (
            "with one old class no scale can be read off the old rows"
            if len(known) == 1
            else f"the scale fitted to the old rows, {scale:.3g}, is not positive: they do not "
            "follow the classes that the statistics hold"
        )
        scale, how = _other_scale(wanted, moments, solved, old)
        notes.append(f"{why}; {how}")
    new, mine = solved.weight[len(old) :], solved.weight[: len(old)]
    if not isfinite(scale):
        return _rows(wanted, new, "least_squares", solved, notes)
    gauge = (old - scale * mine).mean(0)
    notes += _huge_gauge(gauge, old, moments)
    if len(known) < len(wanted.old_classes):
        without = [c for c in wanted.old_classes if c not in known]
        notes.append(f"no statistics of old classes {list_few(without)}: calibrated to the others")
    return _rows(wanted, scale * new + gauge, "calibrated", solved, notes, scale)


def least_squares_all_rows(wanted: Wanted) -> Rows:
    """Least squares over old and new classes, old rows replaced too; scaled under cross-entropy.

    The scale is that of the least cross-entropy of the features given, as if each were left out of
    the solution; without any, that of `calibrate`.
    """
    without = [c for c in wanted.old_classes if c not in wanted.known_old]
    if without:
        note = f"no statistics of the old classes {list_few(without)}: old rows stay as they are"
        return _with_notes(least_squares(wanted), [note])
    moments = wanted.moments(wanted.old_classes + wanted.new_classes)
    solved, notes = wanted.solve(moments)
    notes += wanted.few_samples()
    scale = None
    if wanted.loss == "cross_entropy":
        scale, note = _temperature(wanted, moments, solved)
        if scale is None:
            old = wanted.old_rows(wanted.old_classes)
            found = calibrate(solved.weight, old, range(len(old)), moments.gram).scale
            scale = found if isfinite(found) and found > 0 else None
        if scale is None or note:
            notes.append(note or "neither features nor old rows to fit a scale to: left at 1")
    weight = solved.weight if scale is None else scale * solved.weight
    count = len(wanted.old_classes)
    return Rows(
        weight[count:],
        weight[:count],
        "least_squares_all_rows",
        scale,
        solved.ridge,
        solved.condition,
        tuple(notes),
    )


def lda(wanted: Wanted) -> Rows:
    """New rows of shrinkage discriminant analysis over old and new classes, in the old rows' gauge.

    ``new_j = w_j + mean_k (w_old,k - w_k)``: discriminants are log-probabilities, at a scale of
    their own, which is kept.
    """
    if wanted.bias == "none":
        raise ValueError(
            "discriminant analysis needs a bias; the head has none: take another start"
        )
    known = wanted.known_old
    moments = wanted.moments(known + wanted.new_classes)
    solved, shrinkage = lda_rows(moments, wanted.shrinkage)
    notes = [*wanted.few_samples(), f"scatter shrunk by {shrinkage:.3g}"]
    new = solved.weight[len(known) :]
    if known:
        new = new + (wanted.old_rows(known) - solved.weight[: len(known)]).mean(0)
    elif wanted.old_classes:
        notes.append("no statistics of old classes: the gauge of the old rows is not fitted")
    return _rows(wanted, new, "lda", solved, notes)


def _without_old(wanted: Wanted) -> Rows:
    """Least squares of the new classes, at the scale that suits the features given."""
    moments = wanted.moments(wanted.new_classes)
    solved, notes = wanted.solve(moments)
    notes += wanted.few_samples()
    scale, note = _temperature(wanted, moments, solved)
    if wanted.old_classes:
        notes.append("no statistics of old classes to calibrate with: plain least squares")
    if note:
        notes.append(note)
    elif scale is None:
        notes.append("no features were given to fit a scale to: left at 1")
    new = solved.weight if scale is None else scale * solved.weight
    return _rows(wanted, new, "least_squares", solved, notes, scale)


def _temperature(wanted: Wanted, moments: Moments, solved: Ridge) -> tuple[float | None, str]:
    """The scale of least cross-entropy of samples left out one by one, and a word of caution."""
    left_out = _left_out(wanted, moments, solved)
    if left_out is None:
        return None, ""
    scores, columns = left_out
    scale = fit_scale(scores, columns)
    if scale == 0:
        return None, "least-squares scores do not tell the classes of the features apart"
    if scale == LARGEST:
        return scale, f"the features given are separated: no finite scale is best, {LARGEST:g} used"
    return scale, ""


def _other_scale(wanted: Wanted, moments: Moments, solved: Ridge, old: Tensor) -> tuple[float, str]:
    """A scale where the old rows give none: by cross-entropy, by norms, or NaN; and in words."""
    left_out = _left_out(wanted, moments, solved)
    if left_out is not None:
        scores, columns = left_out
        sample = wanted.sample(moments)
        assert sample is not None
        inputs = torch.cat([sample.features, torch.ones_like(sample.features[:, :1])], 1)
        logits = inputs @ old.T
        common = logits.mean(1, keepdim=True).expand(-1, len(wanted.new_classes))
        ahead = scores[:, len(old) :] - scores[:, : len(old)].mean(1, keepdim=True)
        moving = torch.cat([torch.zeros_like(logits), ahead], 1)
        scale = fit_scale(moving, columns, torch.cat([logits, common], 1))
        if scale > 0:
            return scale, "fitted to the cross-entropy of the features given"
    mine = solved.weight[: len(old)]
    if len(old) == 1:
        norms = [float((row @ moments.gram * row).sum()) ** 0.5 for row in (old, mine)]
        if min(norms) > 0:
            return norms[0] / norms[1], "taken as the ratio of the norms of old logits and scores"
    return float("nan"), "plain least squares instead"


def _left_out(wanted: Wanted, moments: Moments, solved: Ridge) -> tuple[Tensor, Tensor] | None:
    """Leave-one-out scores of the features given, and their columns."""
    sample = wanted.sample(moments)
    if sample is None:
        return None
    h = leverages(moments, solved.ridge, sample.features, bias=wanted.bias) * sample.weights
    inputs = torch.cat([sample.features, torch.ones_like(sample.features[:, :1])], 1)
    residuals = sample.targets() - inputs @ solved.weight.T
    left = (1 - h).clamp_min(1e-12).unsqueeze(1)
    return sample.targets() - residuals / left, sample.columns


def _huge_gauge(gauge: Tensor, old: Tensor, moments: Moments) -> list[str]:
    centred = old - old.mean(0)
    spread = float((centred @ moments.gram * centred).sum(1).mean()) ** 0.5
    common = float(gauge @ moments.gram @ gauge) ** 0.5
    if common <= HUGE_GAUGE * spread:
        return []
    return [
        f"the old logits share a common part of {common:.1e}, beside differences of {spread:.1e}: "
        "float32 rounds these away; subtract the mean row from the head first"
    ]


def _rows(
    wanted: Wanted,
    new: Tensor,
    start: str,
    solved: Ridge,
    notes: list[str],
    scale: float | None = None,
) -> Rows:
    return Rows(new, None, start, scale, solved.ridge, solved.condition, tuple(notes))


def _with_notes(rows: Rows, notes: list[str]) -> Rows:
    return Rows(
        rows.new,
        rows.old,
        rows.start,
        rows.scale,
        rows.ridge,
        rows.condition,
        (*notes, *rows.notes),
    )
