"""The axes of a study: what is varied, over which values, under which labels."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from holdfast.config import Config
from holdfast.signatures import nearest

VARIANTS = "variant"
"""Name of the axis of linked settings."""

_IMPORT_PATH = re.compile(r"[\w.]+:(\w+)")


Field = int | float | str
"""What the table says of a choice: a number on an axis of numbers, else a label."""


@dataclass(frozen=True)
class Choice:
    """One value of an axis.

    Args:
        label: short and readable, one of its kind within the axis.
        settings: what it sets: values by dotted key.
        value: what it is in the table.
    """

    label: str
    settings: Config
    value: Field


@dataclass(frozen=True)
class Axis:
    """A dotted key of a run's configuration, or several linked ones, and the choices for it.

    Raises:
        ValueError: no choices, or two of one label.
    """

    name: str
    choices: tuple[Choice, ...]

    def __post_init__(self) -> None:
        if not self.choices:
            raise ValueError(f"{self.name} has no values to vary over")
        labels = [choice.label for choice in self.choices]
        for label in labels:
            if labels.count(label) > 1:
                raise ValueError(
                    f"{self.name} has two values labelled {label!r}; give a mapping of labels "
                    "of your own to values"
                )

    @property
    def keys(self) -> set[str]:
        """The dotted keys that its choices set."""
        return {key for choice in self.choices for key in choice.settings}


def read_axes(grid: Any, variants: Any) -> tuple[Axis, ...]:
    """The axes of a grid, and one of linked settings where there are variants.

    Args:
        grid: dotted key -> list of values, or mapping of labels to values.
        variants: label -> mapping of dotted keys to values, set together.

    Raises:
        ValueError: something of another form, an axis without values or with two of one label, a
            key that two axes set, or the seed, which is no axis.
    """
    for name, given in (("grid", grid), ("variants", variants)):
        if not isinstance(given, Mapping):
            raise ValueError(f"{name} must be a mapping, got {given!r}")
    axes = [_grid_axis(key, values) for key, values in grid.items()]
    if variants:
        axes.append(_variant_axis(variants))
    seen: set[str] = set()
    for axis in axes:
        if "seed" in axis.keys:
            raise ValueError("seed cannot be varied by grid or variants; give the study's seeds")
        if shared := seen & axis.keys:
            raise ValueError(f"{sorted(shared)[0]} is set by two axes; vary it in one")
        seen |= axis.keys
    return tuple(axes)


def _grid_axis(key: str, values: Any) -> Axis:
    if isinstance(values, Mapping):
        labelled = {str(label): value for label, value in values.items()}
        return Axis(key, tuple(Choice(k, {key: v}, k) for k, v in labelled.items()))
    if not isinstance(values, Sequence) or isinstance(values, str):
        raise ValueError(
            f"grid.{key} must be a list of values, or a mapping of labels to values, got {values!r}"
        )
    numeric = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
    return Axis(key, tuple(Choice(label(v), {key: v}, v if numeric else label(v)) for v in values))


def _variant_axis(variants: Mapping[str, Any]) -> Axis:
    choices = []
    for name, settings in variants.items():
        if not isinstance(settings, Mapping):
            raise ValueError(
                f"variants.{name} must be a mapping of dotted keys to values, got {settings!r}"
            )
        choices.append(Choice(str(name), dict(settings), str(name)))
    return Axis(VARIANTS, tuple(choices))


def check_varied(argument: str, name: str, axes: Iterable[str]) -> None:
    """Refuse an analysis along an axis that its study does not have.

    Args:
        argument: of the analysis.
        name: of the axis that it names.
        axes: names of those of the study.

    Raises:
        ValueError: naming what there is.
    """
    there = list(axes)
    if name not in there:
        raise ValueError(
            f"analysis.{argument} names {name!r}, which the study does not vary"
            f"{nearest(name, there)}; it varies {', '.join(there) or 'nothing'}"
        )


def label(value: Any) -> str:
    """A short text for a value of a configuration.

    >>> label({"name": "replay", "memory": 200})
    'replay(memory=200)'
    >>> label("mypackage.methods:Mine"), label([100, 100]), label(None)
    ('Mine', '[100, 100]', 'none')
    """
    if isinstance(value, Mapping):
        options = ", ".join(f"{k}={label(v)}" for k, v in value.items() if k != "name")
        name = label(value["name"]) if "name" in value else ""
        return f"{name}({options})" if options or not name else name
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(label, value))}]"
    if isinstance(value, str):
        found = _IMPORT_PATH.fullmatch(value)
        return found[1] if found else value
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return str(value)
