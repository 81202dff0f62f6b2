"""New rows from least squares and from discriminant analysis."""

from dataclasses import replace
from math import isfinite

import torch
from torch import Tensor

from holdfast.starts.calibrate import Calibration, calibrate
from holdfast.starts.lda import lda_rows
from holdfast.starts.moments import Moments
from holdfast.starts.ridge import Ridge
from holdfast.starts.rows import Rows, Wanted, list_few
from holdfast.starts.scales import logit_spread, scale_beside_old, scale_of_temperature

HUGE_GAUGE = 1e4
NO_SCALE = "neither features nor old rows to fit a scale to: left at 1"


def least_squares(wanted: Wanted) -> Rows:
    """The new rows of least squares over old and new classes, as they are."""
    known = wanted.known_old
    solved, notes = wanted.solve(wanted.moments(known + wanted.new_classes))
    if len(known) < len(wanted.old_classes):
        notes.append(f"{_missing(wanted)}: least squares over the other classes")
    return _rows(solved.weight[len(known) :], "least_squares", solved, notes)


def least_squares_new(wanted: Wanted) -> Rows:
    """Least squares over the new classes alone, as if there were no others."""
    solved, notes = wanted.solve(wanted.moments(wanted.new_classes))
    return _rows(solved.weight, "least_squares_new", solved, notes)


def calibrated(wanted: Wanted) -> Rows:
    """Least squares over old and new classes, its new rows in scale and gauge of the old rows.

    Under squared error the targets say what scale and gauge are, and nothing is left to calibrate:
    all rows are solved instead.
    """
    if wanted.loss == "mse":
        note = "squared error knows its scale and gauge: all rows by least squares instead"
        return _noted(least_squares_all_rows(wanted), note)
    known = wanted.known_old
    if not known:
        return _without_old(wanted)
    moments = wanted.moments(known + wanted.new_classes)
    old = wanted.old_rows(known)

    def finish(rows: Tensor, gram: Tensor) -> Tensor:
        found = _fitted(rows, old, gram)
        new = rows[len(old) :]
        return torch.cat([old, new if found is None else found.scale * new + found.gauge])

    solved, notes = wanted.solve(moments, finish)
    mine, new = solved.weight[: len(old)], solved.weight[len(old) :]
    found = _fitted(solved.weight, old, moments.gram)
    scale = None if found is None else found.scale
    if scale is None:
        scale, note = _other_scale(wanted, moments, solved, old)
        notes.append(note)
    if scale is None:
        return _rows(new, "least_squares", solved, notes)
    gauge = (old - scale * mine).mean(0)
    rows = scale * new + gauge
    notes += _huge_gauge(gauge, torch.cat([old, rows]), moments)
    if len(known) < len(wanted.old_classes):
        notes.append(f"{_missing(wanted)}: calibrated to the other old rows")
    return _rows(rows, "calibrated", solved, notes, scale)


def least_squares_all_rows(wanted: Wanted) -> Rows:
    """Least squares over old and new classes, old rows replaced too; scaled under cross-entropy.

    The scale is that of the least cross-entropy of the features given, each as if left out of the
    solution; without any, that of `calibrate`.
    """
    if len(wanted.known_old) < len(wanted.old_classes):
        return _noted(least_squares(wanted), f"{_missing(wanted)}: old rows stay as they are")
    moments = wanted.moments(wanted.old_classes + wanted.new_classes)
    solved, notes = wanted.solve(moments)
    scale = None
    if wanted.loss == "cross_entropy":
        scale = scale_of_temperature(wanted, moments, solved)
        if scale is None:
            found = _fitted(solved.weight, wanted.old_rows(wanted.old_classes), moments.gram)
            scale = None if found is None else found.scale
        if scale is None:
            notes.append(NO_SCALE)
    weight = (scale or 1.0) * solved.weight
    count = len(wanted.old_classes)
    rows = _rows(weight[count:], "least_squares_all_rows", solved, notes, scale)
    return replace(rows, old=weight[:count])


def lda(wanted: Wanted) -> Rows:
    """New rows of shrinkage discriminant analysis over old and new classes, calibrated.

    Scale and gauge are those of the old rows, as for least squares: discriminants are logarithms of
    probabilities only as far as the classes are Gaussian, and old rows know nothing of these.
    """
    if wanted.bias == "none":
        raise ValueError("discriminant analysis needs a bias, and the head has none")
    known = wanted.known_old
    moments = wanted.moments(known + wanted.new_classes)
    solved, shrinkage = lda_rows(moments, wanted.shrinkage)
    notes = [f"scatter shrunk by {shrinkage:.3g}"]
    new = solved.weight[len(known) :]
    if len(known) < len(wanted.old_classes):
        notes.append(f"{_missing(wanted)}: not calibrated to these")
    if not known:
        return _rows(new, "lda", solved, notes)
    old = wanted.old_rows(known)
    found = _fitted(solved.weight, old, moments.gram)
    if found is None:
        notes.append("no scale can be fitted to the old rows: left at 1")
    scale = 1.0 if found is None else found.scale
    gauge = (old - scale * solved.weight[: len(old)]).mean(0)
    return _rows(scale * new + gauge, "lda", solved, notes, None if found is None else scale)


def _fitted(rows: Tensor, old: Tensor, gram: Tensor) -> Calibration | None:
    """The calibration to the old rows, whose classes come first; `None` if it is of no use."""
    found = calibrate(rows, old, range(len(old)), gram)
    return found if isfinite(found.scale) and found.scale > 0 else None


def _without_old(wanted: Wanted) -> Rows:
    """Least squares over the new classes, where nothing is known of the old ones.

    If there are old rows, the new ones are scaled until their logits differ, on the new samples, as
    much as those of the old rows do there, and have the mean of the old rows. If there are none,
    the head is new, and the scale that of the least cross-entropy of the features given.
    """
    moments = wanted.moments(wanted.new_classes)
    solved, notes = wanted.solve(moments)
    scale, gauge = None, torch.zeros_like(solved.weight[0])
    if wanted.old_classes:
        old = wanted.old_rows(wanted.old_classes)
        theirs, mine = logit_spread(old, moments.gram), logit_spread(solved.weight, moments.gram)
        if theirs > 0 and mine > 0:
            scale = theirs / mine
            gauge = old.mean(0) - scale * solved.weight.mean(0)
            notes.append(
                f"{_missing(wanted)}: least squares over the new ones, whose logits were made to "
                "differ as much as the old ones do on the same samples; old classes may suffer"
            )
        else:
            notes.append(f"{_missing(wanted)}: plain least squares over the new ones")
    else:
        scale = scale_of_temperature(wanted, moments, solved)
        if scale is None:
            notes.append(NO_SCALE)
    new = (scale or 1.0) * solved.weight + gauge
    return _rows(new, "least_squares", solved, notes, scale)


def _other_scale(
    wanted: Wanted, moments: Moments, solved: Ridge, old: Tensor
) -> tuple[float | None, str]:
    """A scale where the old rows do not give one, and how it came about, in words."""
    found = calibrate(solved.weight, old, range(len(old)), moments.gram).scale
    why = (
        "one old class with statistics gives no scale"
        if len(old) == 1
        else f"the scale fitted to the old rows, {found:.3g}, is not positive: they do not follow "
        "the classes that the statistics hold"
    )
    scale = scale_beside_old(wanted, moments, solved, old)
    if scale is not None:
        return scale, f"{why}; fitted to the cross-entropy of the features given"
    mine = solved.weight[: len(old)]
    if len(old) == 1:
        norms = [float((row @ moments.gram * row).sum()) ** 0.5 for row in (old, mine)]
        if min(norms) > 0:
            return norms[0] / norms[1], f"{why}; the ratio of the norms of its rows taken"
    return None, f"{why}; plain least squares"


def _huge_gauge(gauge: Tensor, head: Tensor, moments: Moments) -> list[str]:
    spread = logit_spread(head, moments.gram)
    common = float(gauge @ moments.gram @ gauge) ** 0.5
    if common <= HUGE_GAUGE * spread:
        return []
    return [
        f"all logits share a common part of {common:.1e}, beside differences of {spread:.1e}: "
        "float32 rounds these away; subtract the mean row from the head first"
    ]


def _missing(wanted: Wanted) -> str:
    without = [c for c in wanted.old_classes if c not in wanted.known_old]
    return f"no statistics of the old classes {list_few(without)}"


def _rows(
    new: Tensor, start: str, solved: Ridge, notes: list[str], scale: float | None = None
) -> Rows:
    return Rows(new, None, start, scale, solved.ridge, solved.condition, tuple(notes))


def _noted(rows: Rows, note: str) -> Rows:
    return replace(rows, notes=(note, *rows.notes))
