"""Whether statistics may be added to each other."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Origin:
    """What must agree between statistics that are added.

    Args:
        width: number of features.
        per_class: whether classes are kept apart.
        backbone: print of the net that made the features; `None`: unknown.
        classes: those seen.
        settled: those of them that take no more samples.
    """

    width: int
    per_class: bool
    backbone: str | None
    classes: tuple[int, ...]
    settled: tuple[int, ...]


def common_backbone(origins: Sequence[Origin]) -> str | None:
    """The print of the backbone of all, `None` where one is unknown; without samples none counts.

    Raises:
        ValueError: widths or backbones differ, some keep classes apart and others do not, or a
            class that is settled in one is in another too.
    """
    widths = sorted({o.width for o in origins})
    if len(widths) > 1:
        raise ValueError(f"statistics of {widths} features cannot be added")
    if len({o.per_class for o in origins}) > 1:
        raise ValueError(
            "some of the statistics keep their classes apart and others do not; make all with the "
            "same per_class"
        )
    prints = {o.backbone for o in origins if o.classes} or {o.backbone for o in origins}
    known = sorted(p for p in prints if p is not None)
    if len(known) > 1:
        raise ValueError(
            f"the statistics are of features of different backbones (their prints are {known}); "
            "collect all with the same parameters"
        )
    settled = {c for o in origins for c in o.settled}
    twice = sorted(c for c in settled if sum(c in o.classes for o in origins) > 1)
    if twice:
        raise ValueError(
            f"classes {twice[:8]} are settled in one of the statistics and in another too; settle "
            "after adding"
        )
    return None if None in prints else known[0]
