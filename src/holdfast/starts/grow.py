"""New classes for a head in use, whose rows begin where the data says."""

from collections.abc import Sequence
from typing import get_args

import torch
from jaxtyping import Float64
from torch import Tensor, nn

from holdfast.nets.learner import Learner
from holdfast.seeds import generator
from holdfast.starts.arriving import batch, class_numbers
from holdfast.starts.drift import without_drifted
from holdfast.starts.fingerprint import fingerprint
from holdfast.starts.growth_report import GrowthReport, Scores, score
from holdfast.starts.heads import LinearHead, linear_head
from holdfast.starts.new_rows import STARTS, RowStart, new_rows
from holdfast.starts.ridge_choice import Criterion, Loss
from holdfast.starts.rows import Rows, list_few
from holdfast.starts.statistics import FeatureStatistics

_BLIND = ("random", "zeros", "mean_of_old")
"""Starts that look at no features."""

_NEW_ALONE = ("class_mean", "unit_class_mean", "least_squares_new")


@torch.no_grad()
def grow_head(
    head: nn.Module,
    statistics: FeatureStatistics | tuple[Tensor, Tensor] | None,
    new_classes: Sequence[int],
    *,
    start: RowStart = "calibrated",
    loss: Loss = "cross_entropy",
    ridge: float | Criterion = "auto",
    classes: Sequence[int | None] | None = None,
    sample: tuple[Tensor, Tensor] | None = None,
    test: tuple[Tensor, Tensor] | None = None,
    backbone: nn.Module | str | None = None,
    force: bool = False,
    tolerance: float = 2.0,
    seed: int = 0,
    task: int | None = None,
) -> GrowthReport:
    """Add classes to a linear head, in place, with rows computed from features.

    The head stays the same module with more rows, so whatever holds it sees them; old rows keep
    their bits, unless the start is one that replaces all (``least_squares_all_rows``). A call that
    fails changes nothing. Grow before a step, then hand the report's `replacements` to
    `grow_optimizer`, or make a new optimizer. A head inside ``DistributedDataParallel`` or FSDP is
    grown first and wrapped after.

    Args:
        head: a ``torch.nn.Linear``; a `GrowingHead`, `SharedHead`, `TaskHeads` or `Learner`; a
            ``*ForSequenceClassification`` or ``*ForImageClassification`` model of transformers,
            whose ``num_labels``, ``id2label`` and ``label2id`` follow; a timm model, whose
            ``num_classes`` follows. Of a layer given by itself nothing is known about weights it
            shares with others: these would not grow.
        statistics: of old and new classes' features, as the layer receives them (normalised, if it
            gets them so), or the features (n, width) themselves with their labels (n,). `None` for
            ``random``, ``zeros`` and ``mean_of_old``.
        new_classes: their labels. Spare rows are filled first, in this order.
        start: of `holdfast.starts.new_rows.STARTS`.
        loss: the loss that the head was and will be trained with.
        ridge: lambda on the scale of means, or how: ``auto``, ``gcv``, ``loo`` or ``held_out``.
            The last two need samples that are among those of the statistics, as `sample`.
        classes: the label of each row there is, `None` or -1 for a spare one. `None`: what a head
            of holdfast says itself, or else row numbers.
        sample: features of training samples of old classes, made again by the backbone as it is
            now, and their labels. Statistics that they contradict (see `movement`) are not used.
            Samples of another kind contradict them too, such as a test split collected otherwise.
        test: features and labels that the report scores the head on, and that nothing else sees.
            `None`: `sample`, or the features given in place of statistics.
        backbone: the net that makes the features now, or its `fingerprint`; statistics of another
            are refused. `None`: that of a `Learner`, or not looked at.
        force: use statistics of another backbone all the same.
        tolerance: points of old accuracy the head may lose before the report warns.
        seed: of what is drawn.
        task: position of the task whose head grows, for `TaskHeads`.

    Returns:
        What was done, and the loss and accuracy before the first step.

    Raises:
        TypeError: a head that is no linear layer (naming what is supported) or shares its weight;
            classes that are no integers.
        ValueError: classes the head has, ambiguous spare rows, features of another width or not
            finite, a new class without samples, an unknown start, a ridge below 0, statistics of
            another backbone.
    """
    _check_options(start, loss, tolerance)
    target = linear_head(head, classes, task)
    new = class_numbers(new_classes, "new_classes")
    places = target.places(new)
    old = {c: row for row, c in enumerate(target.labels) if c is not None}
    scored = _scored(statistics, sample, test, target, {*old, *new})
    present = head.backbone if backbone is None and isinstance(head, Learner) else backbone
    seen, notes = _evidence(statistics, sample, target, tuple(old), new, start, present, force)
    functions = target.rows()
    random = target.draw(len(new), generator(seed, "grow_head", "random"))
    found = Rows(random, None, "random")
    if start in _BLIND[1:] or (start not in _BLIND and seen is not None):
        among = statistics if isinstance(statistics, tuple) else None
        found = new_rows(
            seen,
            functions[torch.tensor(list(old.values()), dtype=torch.int64)],
            tuple(old),
            new,
            start=start,
            loss=loss,
            ridge=ridge,
            bias=target.bias is not None,
            features=sample if among is None and ridge in ("loo", "held_out") else among,
            generator=generator(seed, "grow_head", "choice"),
        )
        if found.start == "random":  # The head's own draw.
            found = Rows(random, None, "random", notes=found.notes)
    changed = dict(zip(places, found.new, strict=True))
    if found.old is not None:
        changed |= dict(zip(old.values(), found.old, strict=True))
    columns = old | dict(zip(new, places, strict=True))
    after = _with(target, functions, changed)
    before_score, after_score, random_score = Scores(), Scores(), Scores()
    if scored is not None:
        drawn = _with(target, functions, dict(zip(places, random, strict=True)))
        known = frozenset(old)
        before_score = Scores(score(functions, old, *scored, known, loss).old)
        after_score = score(after, columns, *scored, known, loss)
        random_score = score(drawn, columns, *scored, known, loss)
        notes += _fall(before_score, after_score, tolerance)
    replacements = target.write(changed, dict(zip(places, new, strict=True)))
    return GrowthReport(
        asked=start,
        start=found.start,
        loss=loss,
        scale=found.scale,
        ridge_asked=ridge,
        ridge=found.ridge,
        condition=found.condition,
        columns=columns,
        notes=(*notes, *found.notes),
        before=before_score,
        after=after_score,
        random=random_score,
        replacements=replacements,
    )


def _check_options(start: str, loss: str, tolerance: float) -> None:
    if start not in STARTS:
        raise ValueError(f"start must be one of {STARTS}, got {start!r}")
    if loss not in get_args(Loss):
        raise ValueError(f"loss must be one of {get_args(Loss)}, got {loss!r}")
    if not 0 <= tolerance <= 100:
        raise ValueError(f"tolerance must be points of accuracy in [0, 100], got {tolerance}")


def _evidence(
    statistics: FeatureStatistics | tuple[Tensor, Tensor] | None,
    sample: tuple[Tensor, Tensor] | None,
    target: LinearHead,
    old: tuple[int, ...],
    new: tuple[int, ...],
    start: str,
    present: nn.Module | str | None,
    force: bool,
) -> tuple[FeatureStatistics | None, list[str]]:
    """The statistics that a start may trust, and what there is to say about them."""
    notes: list[str] = []
    if isinstance(statistics, FeatureStatistics):
        seen: FeatureStatistics | None = statistics
        notes = _check_statistics(statistics, target, present, force)
    else:
        seen = None if statistics is None else _statistics_of(*statistics, new, start)
    if start in _BLIND:
        return seen, notes
    missing = [c for c in new if seen is None or c not in seen.classes]
    if missing:
        raise ValueError(
            f"start {start!r} needs samples of all new classes, there are none of "
            f"{list_few(missing)}"
        )
    if sample is None or not isinstance(statistics, FeatureStatistics):
        return seen, notes
    # Starts that look at new classes alone are not harmed by what the old ones were.
    trusted, why = without_drifted(statistics, sample, () if start in _NEW_ALONE else old, new)
    return trusted, notes + why


def _scored(
    statistics: FeatureStatistics | tuple[Tensor, Tensor] | None,
    sample: tuple[Tensor, Tensor] | None,
    test: tuple[Tensor, Tensor] | None,
    target: LinearHead,
    known: set[int],
) -> tuple[Tensor, Tensor] | None:
    """The samples that the head is scored on, all that was given checked."""
    given = {"test": test, "sample": sample}
    if isinstance(statistics, tuple):
        given["statistics"] = statistics
    found = [_checked(pair, name, target, known) for name, pair in given.items() if pair]
    return found[0] if found else None


def _checked(
    given: tuple[Tensor, Tensor], name: str, target: LinearHead, known: set[int]
) -> tuple[Tensor, Tensor]:
    try:
        found = batch(*given, target.width, 0, given[0].device)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    strangers = sorted(set(found.classes) - known)
    if strangers:
        raise ValueError(
            f"{name} holds samples of classes {list_few(strangers)}, which are neither in the head "
            "nor among new_classes"
        )
    return given[0], given[1]


def _statistics_of(
    features: Tensor, labels: Tensor, new: Sequence[int], start: str
) -> FeatureStatistics:
    """Class by class, so that balanced moments take no Gram a class."""
    seen = FeatureStatistics(features.shape[1], per_class=True, device=features.device)
    for c in labels.unique().tolist():
        own = labels.to(features.device) == c
        seen.update(features[own], labels.to(features.device)[own])
        if not (start == "least_squares_new" and c in new):
            seen.settle([c])
    return seen


def _check_statistics(
    seen: FeatureStatistics, target: LinearHead, present: nn.Module | str | None, force: bool
) -> list[str]:
    if seen.width != target.width:
        raise ValueError(
            f"statistics are of {seen.width} features, the head takes {target.width}; collect "
            "them where the head's layer is given its input"
        )
    now = fingerprint(present) if isinstance(present, nn.Module) else present
    if now is None or seen.backbone is None or now == seen.backbone:
        return []
    if not force:
        raise ValueError(
            f"statistics were collected with another backbone (print {seen.backbone}, now {now}): "
            "collect them again, or pass force=True, best with a sample of present features"
        )
    return ["statistics of another backbone were used, as forced"]


def _with(
    target: LinearHead, functions: Tensor, changed: dict[int, Float64[Tensor, " inputs"]]
) -> Float64[Tensor, "rows inputs"]:
    """All rows as the head will hold them, rounded to its type."""
    count = max([len(functions), *(row + 1 for row in changed)])
    full = functions.new_zeros(count, functions.shape[1])
    full[: len(functions)] = functions
    full[list(changed)] = target.held(torch.stack(list(changed.values())))
    if not bool(full.isfinite().all()):
        raise ValueError(
            f"the rows found do not fit the head's type {target.weight.dtype}; make it float32"
        )
    return full


def _fall(before: Scores, after: Scores, tolerance: float) -> list[str]:
    if before.old is None or after.old is None:
        return []
    fall = 100 * (before.old.accuracy - after.old.accuracy)
    if fall <= tolerance:
        return []
    return [
        f"old accuracy falls by {fall:.1f} points before the first step (tolerance {tolerance:g})"
    ]
