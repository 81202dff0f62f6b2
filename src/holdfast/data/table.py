"""Tables of samples (parquet files, hub datasets) as the parts of a dataset."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from holdfast.data import images, text
from holdfast.data.known import Layout
from holdfast.data.normalize import AS_FLOATS, Normalize
from holdfast.data.optional import need
from holdfast.data.parts import Parts

Names = tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Table:
    """A pyarrow table of one split, and the class names of those columns that have some."""

    rows: Any
    names: Mapping[str, Names]
    where: str


def read(tables: Mapping[str, Table], layout: Layout, encode: text.Encoder | None = None) -> Parts:
    """The parts of a dataset whose splits are the given tables.

    Images become uint8 (n, channels, height, width), sentences what `encode` makes of them
    (`text.bag_of_words` by default), lists of numbers vectors.

    Raises:
        TypeError: a column holds what cannot be read.
        ValueError: a label or an image is missing, a class belongs to two groups, or `encode` is
            given where there are no sentences.
    """
    for table in tables.values():
        _check_columns(table, layout)
    first = next(iter(tables.values()))
    if _is_float(first, layout.y):
        y = {n: _numbers(t, layout.y, torch.float32) for n, t in tables.items()}
        names: Names = ()
        kept = {n: np.arange(len(t.rows)) for n, t in tables.items()}
    else:
        codes = {n: _codes(t, layout.y) for n, t in tables.items()}
        names, y, kept = _number(codes, layout)
    x = {n: _samples(t, kept[n], layout, encode) for n, t in tables.items()}
    groups, group_names = _groups(tables, layout, kept, y, names)
    if layout.drawings:
        x, y = _pool(tables, kept, layout, x, y)
    is_image = x["train"].dtype == torch.uint8 and x["train"].ndim == 4
    halved = AS_FLOATS if x["train"].dtype == torch.float16 else None
    normalize = Normalize.of(x["train"]) if is_image else halved
    return Parts(x, y, names, groups, group_names, normalize)


def holds_text(schema: Any, column: str) -> bool:
    """Whether a column of a pyarrow schema holds strings."""
    types = need("pyarrow", "reading a table").types
    kind = schema.field(column).type
    return bool(types.is_string(kind) or types.is_large_string(kind))


def _check_columns(table: Table, layout: Layout) -> None:
    columns = table.rows.column_names
    for column in (layout.x, layout.y, layout.group, layout.drawing):
        if column is not None and column not in columns:
            raise ValueError(f"{table.where} has no column {column!r}; it has {columns}")
    if len(table.rows) == 0:
        raise ValueError(f"{table.where} holds no rows")


def _is_float(table: Table, column: str) -> bool:
    types = need("pyarrow", "reading a table").types
    kind = table.rows.schema.field(column).type
    if types.is_list(kind) or types.is_fixed_size_list(kind):
        kind = kind.value_type
    return bool(types.is_floating(kind))


def _codes(table: Table, column: str) -> tuple[np.ndarray, Names]:
    """(n,) positions among the names of a column of labels, and those names."""
    types = need("pyarrow", "reading a table").types
    values = table.rows[column]
    if values.null_count:
        raise ValueError(f"column {column!r} of {table.where} lacks {values.null_count} labels")
    if types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    readable = (types.is_integer, types.is_boolean, types.is_string, types.is_large_string)
    if not any(check(values.type) for check in readable):
        raise TypeError(f"column {column!r} of {table.where} holds {values.type}, no labels")
    codes = values.to_numpy()
    names = table.names.get(column, ())
    if names and codes.dtype.kind in "iu":
        wrong = (codes < 0) | (codes >= len(names))
        if wrong.any():
            raise ValueError(
                f"column {column!r} of {table.where} holds label {codes[wrong][0]}, which has no "
                f"name: labels lie in 0..{len(names) - 1}"
            )
        return codes.astype(np.int64), names
    distinct, codes = np.unique(codes, return_inverse=True)
    return codes.astype(np.int64), tuple(str(d) for d in distinct)


def _number(
    codes: Mapping[str, tuple[np.ndarray, Names]], layout: Layout
) -> tuple[Names, dict[str, Tensor], dict[str, np.ndarray]]:
    """One numbering of the classes for all splits: names, labels, and the rows that are kept."""
    names = _union(codes, layout)
    if layout.alphabetical:
        names.sort()
    names = [n for n in names if n not in layout.drop]
    position = {n: i for i, n in enumerate(names)}
    labels, kept = {}, {}
    for split, (rows, own) in codes.items():
        lookup = np.array([position.get(n, -1) for n in own], dtype=np.int64)
        numbered = lookup[rows]
        kept[split] = np.flatnonzero(numbered >= 0)
        labels[split] = torch.from_numpy(numbered[kept[split]])
    return tuple(names), labels, kept


def _union(codes: Mapping[str, tuple[np.ndarray, Names]], layout: Layout) -> list[str]:
    """The names of all splits, each once, those of the first split first."""
    if layout.drawings:
        # one list of names may cover all files; those a file uses shall come together
        return list(dict.fromkeys(own[c] for rows, own in codes.values() for c in np.unique(rows)))
    return list(dict.fromkeys(name for _, own in codes.values() for name in own))


def _groups(
    tables: Mapping[str, Table],
    layout: Layout,
    kept: Mapping[str, np.ndarray],
    y: Mapping[str, Tensor],
    names: Names,
) -> tuple[tuple[int, ...], Names]:
    """The group of each class, and the names of the groups."""
    if layout.group is None:
        return (), ()
    if not names:
        raise ValueError(f"group={layout.group!r} needs class labels, but the targets are floats")
    codes = {n: _codes(t, layout.group) for n, t in tables.items()}
    group_names = tuple(_union(codes, layout))
    position = {n: i for i, n in enumerate(group_names)}
    group = np.full(len(names), -1)
    for split, (rows, own) in codes.items():
        lookup = np.array([position.get(n, -1) for n in own])
        pairs = np.stack([y[split].numpy(), lookup[rows[kept[split]]]], axis=1)
        for label, g in np.unique(pairs, axis=0).tolist():
            if group[label] not in (-1, g):
                raise ValueError(
                    f"class {names[label]!r} belongs to two groups in column {layout.group!r}: "
                    f"{group_names[group[label]]!r} and {group_names[g]!r}"
                )
            group[label] = g
    if (group < 0).any():
        lacking = [names[i] for i in np.flatnonzero(group < 0)[:5]]
        raise ValueError(f"classes {lacking} have no samples, so their group is not known")
    return tuple(group.tolist()), group_names


def _samples(table: Table, kept: np.ndarray, layout: Layout, encode: text.Encoder | None) -> Tensor:
    arrow = need("pyarrow", "reading a table")
    column = table.rows[layout.x]
    where = f"column {layout.x!r} of {table.where}"
    if column.null_count:
        raise ValueError(f"{where} lacks {column.null_count} samples")
    if len(kept) < len(column):
        column = column.take(arrow.array(kept))
    kind = column.type
    if holds_text(table.rows.schema, layout.x):
        return text.encode(column.to_pylist(), encode or text.bag_of_words, where)
    if encode is not None:
        raise ValueError(f"encode is for sentences, but {where} holds {kind}")
    if arrow.types.is_struct(kind) and "bytes" in [f.name for f in kind.fields]:
        column = need("pyarrow.compute", "reading a table").struct_field(column, "bytes")
    if arrow.types.is_binary(column.type) or arrow.types.is_large_binary(column.type):
        return images.decode(column.to_pylist(), where, layout.edge, layout.invert)
    if arrow.types.is_list(kind) or arrow.types.is_fixed_size_list(kind):
        return _vectors(column, where)
    raise TypeError(f"{where} holds {kind}; images, sentences or lists of numbers can be read")


def _vectors(column: Any, where: str) -> Tensor:
    flat = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
    lengths = need("pyarrow.compute", "reading a table").list_value_length(column).unique()
    if len(lengths) != 1:
        raise ValueError(f"the lists of {where} differ in length: {sorted(lengths.to_pylist())}")
    if flat.dtype.kind not in "fiu":
        raise TypeError(f"{where} holds lists of {flat.dtype}; lists of numbers can be read")
    dtype = torch.float32 if flat.dtype.kind == "f" else torch.int64
    return torch.from_numpy(flat.copy()).to(dtype).reshape(len(column), -1)


def _numbers(table: Table, column: str, dtype: torch.dtype) -> Tensor:
    values = table.rows[column]
    if values.null_count:
        raise ValueError(f"column {column!r} of {table.where} lacks {values.null_count} targets")
    if hasattr(values.type, "value_type"):
        return _vectors(values, f"column {column!r} of {table.where}")
    return torch.from_numpy(values.to_numpy().copy()).to(dtype)[:, None]


def _pool(
    tables: Mapping[str, Table],
    kept: Mapping[str, np.ndarray],
    layout: Layout,
    x: Mapping[str, Tensor],
    y: Mapping[str, Tensor],
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """All files as one, split by the number of the drawing within its class."""
    samples, labels = torch.cat(list(x.values())), torch.cat(list(y.values()))
    if layout.drawing is None:
        order = torch.argsort(labels, stable=True)
        counts = torch.bincount(labels)
        start = torch.repeat_interleave(counts.cumsum(0) - counts, counts)
        number = torch.empty_like(labels)
        number[order] = torch.arange(len(labels)) - start
    else:
        columns = {n: _numbers(t, layout.drawing, torch.int64) for n, t in tables.items()}
        number = torch.cat([columns[n][torch.from_numpy(kept[n]), 0] for n in tables])
    parts = {"train": number < layout.drawings, "test": number >= layout.drawings}
    return (
        {n: samples[part] for n, part in parts.items()},
        {n: labels[part] for n, part in parts.items()},
    )
