"""A record for a checkpoint: its matrices and long lists as tensors, quick to write."""

from collections.abc import Mapping, Sequence
from itertools import chain
from types import NoneType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from holdfast.records.record import Record
from holdfast.records.strict_json import plain

_MATRICES = ("accuracy", "loss")
_LONG = ("curve", "evaluations")
_COLUMNS = "columns"


def packed(record: Record) -> dict[str, Any]:
    """As `Record.to_dict`, its matrices tensors and its lists of alike entries tensors a key.

    A run of many tasks writes its record after each of them: as dicts and lists of numbers that
    took longer than a short task's training.
    """
    tree = record.to_dict(without=(*_MATRICES, *_LONG))
    for name in _MATRICES:
        tree[name] = torch.from_numpy(getattr(record, name).copy())
    for name in _LONG:
        entries = getattr(record, name)
        found = columns(entries)
        tree[name] = plain(entries, name) if found is None else {_COLUMNS: found}
    return tree


def unpacked(tree: Mapping[str, Any]) -> Record:
    """The inverse of `packed`; also reads what `Record.to_dict` gives.

    Raises:
        ValueError: see `Record.from_dict`.
    """
    data = dict(tree)
    for name in _MATRICES:
        if isinstance(data.get(name), Tensor):
            data[name] = data[name].tolist()
    for name in _LONG:
        if isinstance(data.get(name), Mapping):
            data[name] = entries_of(data[name][_COLUMNS])
    return Record.from_dict(data)


def columns(entries: Sequence[Mapping[str, Any]]) -> dict[str, Tensor] | None:
    """Entries of the same keys as a tensor a key; None where they are not alike.

    Integers are int64; numbers, or lists of as many, float64, in which None is NaN.

    >>> columns([{"step": 1, "loss": 0.5}, {"step": 2, "loss": None}])
    {'step': tensor([1, 2]), 'loss': tensor([0.5000,    nan], dtype=torch.float64)}
    """
    if not entries or not entries[0] or any(e.keys() != entries[0].keys() for e in entries):
        return None
    made = {key: _column([entry[key] for entry in entries]) for key in entries[0]}
    found = {key: column for key, column in made.items() if column is not None}
    return found if len(found) == len(made) else None


def entries_of(made: Mapping[str, Tensor]) -> list[dict[str, Any]]:
    """The inverse of `columns`; NaN is None again."""
    values = [_known(column) for column in made.values()]
    return [dict(zip(made, row, strict=True)) for row in zip(*values, strict=True)]


def _column(values: list[Any]) -> Tensor | None:
    kinds = set(map(type, values))
    if kinds == {int}:
        return torch.tensor(values)
    if kinds == {list}:
        alike = len({len(value) for value in values}) == 1
        kinds = set(map(type, chain.from_iterable(values))) if alike else {list}
    if kinds and kinds <= {float, NoneType}:
        return torch.from_numpy(np.array(values, dtype=np.float64))
    return None


def _known(column: Tensor) -> list[Any]:
    if not column.is_floating_point() or not (unknown := column.isnan()).any():
        return column.tolist()
    found = column.numpy().astype(object)
    found[unknown.numpy()] = None
    listed: list[Any] = found.tolist()
    return listed
