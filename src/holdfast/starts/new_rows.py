"""Rows for new classes of a linear head, by the name of their start."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor

from holdfast.seeds import generator as seeded_generator
from holdfast.starts.arriving import class_numbers
from holdfast.starts.given_rows import class_mean, mean_of_old, random, unit_class_mean, zeros
from holdfast.starts.moments import Weighting
from holdfast.starts.ridge import check_ridge
from holdfast.starts.ridge_choice import Criterion, Loss
from holdfast.starts.rows import Rows, Wanted, list_few
from holdfast.starts.solved_rows import (
    calibrated,
    lda,
    least_squares,
    least_squares_all_rows,
    least_squares_new,
)
from holdfast.starts.statistics import FeatureStatistics

RowStart = Literal[
    "random",
    "zeros",
    "mean_of_old",
    "class_mean",
    "unit_class_mean",
    "least_squares",
    "least_squares_new",
    "calibrated",
    "least_squares_all_rows",
    "lda",
]
STARTS: tuple[RowStart, ...] = get_args(RowStart)
"""Names of the starts of new rows, from the plainest."""

_BLIND: dict[str, Callable[[Wanted], Rows]] = {
    "random": random,
    "zeros": zeros,
    "mean_of_old": mean_of_old,
}
_SEEING: dict[str, Callable[[Wanted], Rows]] = {
    "class_mean": class_mean,
    "unit_class_mean": unit_class_mean,
    "least_squares": least_squares,
    "least_squares_new": least_squares_new,
    "calibrated": calibrated,
    "least_squares_all_rows": least_squares_all_rows,
    "lda": lda,
}


def new_rows(
    statistics: FeatureStatistics | None,
    old: Float[Tensor, "known inputs"],
    old_classes: Sequence[int],
    new_classes: Sequence[int],
    *,
    start: RowStart = "calibrated",
    loss: Loss = "cross_entropy",
    ridge: float | Criterion = "auto",
    weighting: Weighting | None = None,
    bias: bool = True,
    features: tuple[Float[Tensor, "n d"], Int[Tensor, " n"]] | None = None,
    shrinkage: float | None = None,
    generator: torch.Generator | None = None,
) -> Rows:
    """Rows with which a linear head begins on classes it has not seen.

    | start | new rows |
    |---|---|
    | ``random`` | as `torch.nn.Linear` draws them |
    | ``zeros`` | zero |
    | ``mean_of_old`` | the mean of the old rows |
    | ``class_mean`` | the mean feature of the class |
    | ``unit_class_mean`` | the mean of its features made unit vectors |
    | ``least_squares`` | of `solve_ridge` over old and new classes |
    | ``least_squares_new`` | of `solve_ridge` over the new classes alone |
    | ``calibrated`` | of `solve_ridge` over all, in scale and gauge of the old rows (`calibrate`) |
    | ``least_squares_all_rows`` | of `solve_ridge` over all, and old rows replaced by theirs |
    | ``lda`` | of shrinkage discriminant analysis, in the gauge of the old rows |

    Where a start cannot be done it falls back on the next plainer one, and `Rows.start` and
    `Rows.notes` say so. Nothing is changed: the rows are for the caller to write.

    Args:
        statistics: of the features of old and new classes; `None` for the first three, or where
            `features` are all there is.
        old: (K, d+1) the trained rows, biases last (zero in a head without); K may be 0.
        old_classes: (K,) their classes.
        new_classes: classes to make rows for; for all but the first three starts each has samples.
        start: a name of `STARTS`.
        loss: what the head will be trained with.
        ridge: lambda on the scale of means, or the criterion of `choose_ridge`; ``loo`` and
            ``held_out`` need `features`.
        weighting: of samples; `None`: each class alike where the statistics can tell them apart,
            else each sample.
        bias: whether the head has biases.
        features: samples (n, d) that are among those of the statistics, and their labels; to choose
            a ridge by, to fit a scale to where old rows give none, and for exact unit means.
        shrinkage: of ``lda``; `None`: estimated (`oas_shrinkage`).
        generator: for ``random``; `None`: one of seed 0.

    Raises:
        TypeError: classes that are no integers.
        ValueError: an unknown start or loss, classes that are named twice or are old and new,
            rows that do not fit the classes or the statistics, values that are not finite, a new
            class without samples, statistics that cannot be split as asked, a ridge below 0.
    """
    if start not in STARTS:
        raise ValueError(f"start must be one of {STARTS}, got {start!r}")
    if loss not in get_args(Loss):
        raise ValueError(f"loss must be one of {get_args(Loss)}, got {loss!r}")
    if weighting is not None and weighting not in get_args(Weighting):
        raise ValueError(
            f"weighting must be None or one of {get_args(Weighting)}, got {weighting!r}"
        )
    if isinstance(ridge, str):
        if ridge not in get_args(Criterion):
            raise ValueError(
                f"ridge must be a number or one of {get_args(Criterion)}, got {ridge!r}"
            )
        if ridge in ("loo", "held_out") and features is None and start in _SEEING:
            raise ValueError(f"ridge={ridge!r} needs features; give some, or take 'gcv'")
    else:
        check_ridge(ridge, "free")
    known = class_numbers(old_classes, "old_classes")
    fresh = class_numbers(new_classes, "new_classes")
    _check_classes(known, fresh, len(old))
    if not old.isfinite().all():
        raise ValueError("old holds values that are not finite: the head was lost before")
    if statistics is None and features is not None:
        statistics = FeatureStatistics(
            features[0].shape[1], per_class=True, device=features[0].device
        ).update(*features)
    if start in _SEEING:
        _check_statistics(statistics, start, old, fresh)
    wanted = Wanted(
        statistics=statistics,
        old=old.detach().double(),
        old_classes=known,
        new_classes=fresh,
        loss=loss,
        ridge=ridge,
        weighting=weighting,
        bias="penalised" if bias else "none",
        features=features,
        shrinkage=shrinkage,
        generator=generator or seeded_generator(0, "new_rows"),
    )
    rows = (_BLIND | _SEEING)[start](wanted)
    few = wanted.few_samples() if start in _SEEING else []
    return replace(
        rows,
        new=rows.new.to(old.device),
        old=None if rows.old is None else rows.old.to(old.device),
        notes=(*rows.notes, *few),
    )


def _check_classes(known: tuple[int, ...], fresh: tuple[int, ...], rows: int) -> None:
    if len(known) != rows:
        raise ValueError(f"old has {rows} rows, but old_classes names {len(known)}")
    if not fresh:
        raise ValueError("new_classes must name at least one class, got none")
    for name, classes in (("old_classes", known), ("new_classes", fresh)):
        if len(set(classes)) < len(classes):
            raise ValueError(f"{name} must name each class once, got {list_few(classes)}")
    both = sorted(set(known) & set(fresh))
    if both:
        raise ValueError(f"the head has rows for the classes {list_few(both)} already")


def _check_statistics(
    statistics: FeatureStatistics | None, start: str, old: Tensor, fresh: tuple[int, ...]
) -> None:
    if statistics is None:
        raise ValueError(
            f"start {start!r} needs statistics (holdfast.starts.collect) or features, got none of "
            f"them; {tuple(_BLIND)} do not"
        )
    if statistics.width != old.shape[1] - 1:
        raise ValueError(
            f"the statistics are of {statistics.width} features, the head has "
            f"{old.shape[1] - 1} inputs"
        )
    empty = [c for c in fresh if c not in statistics.classes]
    if empty:
        raise ValueError(
            f"the statistics hold no samples of the new classes {list_few(empty)}; collect some, "
            f"or start with one of {tuple(_BLIND)}"
        )
