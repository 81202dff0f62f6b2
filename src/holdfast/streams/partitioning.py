"""A stream whose tasks are given parts of a dataset's classes."""

from collections.abc import Sequence

import torch

from holdfast.data.split import Dataset, Split
from holdfast.streams.holdout import hold_out
from holdfast.streams.stream import Scenario, Stream, Task


def partition(
    dataset: Dataset,
    parts: Sequence[Sequence[int]],
    scenario: Scenario = "class_incremental",
    names: Sequence[str] | None = None,
    validation: float = 0.0,
    seed: int = 0,
) -> Stream:
    """One task for each part, a list of class labels; no class is in two of them.

    In a domain-incremental stream the label of a sample becomes the place of its class within its
    part, so all parts must be of one size. Elsewhere labels stay as they are, and a task's logits
    follow the order of its part.

    Args:
        dataset: with class labels. Classes in no part are left out of the stream.
        parts: of the classes, each with at least one.
        scenario: what the learner is told, see `Stream`.
        names: one for each task; by default the class labels make it.
        validation: fraction of the training samples held out, see `hold_out`.
        seed: of what is held out.

    Raises:
        ValueError: a regression dataset, an empty part, a class in two parts or without samples,
            parts of unequal size in a domain-incremental stream, or too few names.
    """
    labels = [tuple(part) for part in parts]
    _check(dataset, labels, scenario)
    names = [_name(part) for part in labels] if names is None else names
    if len(names) != len(labels):
        raise ValueError(f"names must name {len(labels)} tasks, got {len(names)}")
    train, held = hold_out(dataset, validation, seed)
    _require_samples(labels, train=train, test=dataset.test, validation=held)
    relabel = scenario == "domain_incremental"
    tasks = [
        Task(
            name=name,
            train=_select(train, part, relabel),
            test=_select(dataset.test, part, relabel),
            validation=None if held is None else _select(held, part, relabel),
            classes=tuple(range(len(part))) if relabel else part,
            transform=dataset.normalize,
        )
        for name, part in zip(names, labels, strict=True)
    ]
    return Stream(tasks, scenario, dataset.name)


def _select(split: Split, part: tuple[int, ...], relabel: bool) -> Split:
    wanted = torch.tensor(part, device=split.y.device)
    chosen = split.take(torch.isin(split.y, wanted).to(split.x.device))
    if not relabel:
        return chosen
    return Split(chosen.x, (chosen.y[:, None] == wanted).to(torch.uint8).argmax(dim=1))


def _name(part: tuple[int, ...]) -> str:
    """Names a task among tasks that share no class, whatever its place."""
    if len(part) == 1:
        return f"class {part[0]}"
    if len(part) <= 4:
        return "classes " + ", ".join(map(str, part))
    if part == tuple(range(part[0], part[0] + len(part))):
        return f"classes {part[0]}..{part[-1]}"
    return f"classes {', '.join(map(str, part[:3]))}, ... ({len(part)})"


def _check(dataset: Dataset, parts: Sequence[tuple[int, ...]], scenario: Scenario) -> None:
    if dataset.is_regression:
        raise ValueError(f"{dataset.name!r} holds regression targets: there are no classes to part")
    if not parts or not all(parts):
        raise ValueError(f"parts must hold at least one class each, got {list(parts)}")
    seen: set[int] = set()
    for part in parts:
        repeated = sorted(seen & set(part)) or [c for c in set(part) if part.count(c) > 1]
        if repeated:
            raise ValueError(f"parts must share no class, {repeated[:5]} are there twice")
        seen |= set(part)
    sizes = {len(part) for part in parts}
    if scenario == "domain_incremental" and len(sizes) > 1:
        raise ValueError(
            f"a domain_incremental stream needs tasks of equally many classes, got {sorted(sizes)}"
        )


def _require_samples(parts: Sequence[tuple[int, ...]], **splits: Split | None) -> None:
    for kind, split in splits.items():
        missing = {c for part in parts for c in part} - set(split.classes if split else ())
        if split is not None and missing:
            raise ValueError(f"classes {sorted(missing)[:5]} have no {kind} samples")
