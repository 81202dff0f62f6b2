"""Folders of parquet files in the layout of the Hugging Face hub."""

import json
from pathlib import Path
from typing import Any

from holdfast.data import cache, table
from holdfast.data.known import KNOWN, Layout, guess
from holdfast.data.optional import need
from holdfast.data.parts import SPLITS, Parts
from holdfast.data.text import Encoder


def files(folder: Path) -> dict[str, list[Path]]:
    """The parquet files of each split in a folder or its ``data`` folder.

    ``train.parquet``, or ``train-00000-of-00002.parquet`` and so on; likewise for the others.
    """
    found = {}
    for split in SPLITS:
        for place in (folder, folder / "data"):
            whole = place / f"{split}.parquet"
            shards = [whole] if whole.is_file() else sorted(place.glob(f"{split}-*-of-*.parquet"))
            if shards:
                found[split] = shards
                break
    return found


def lacking(folder: Path) -> str:
    """Why a folder is no dataset, or an empty string where it is one."""
    if not folder.is_dir():
        return "no such folder"
    missing = [f"{s}.parquet" for s in ("train", "test") if s not in files(folder)]
    return f"it lacks {' and '.join(missing)}" if missing else ""


def rows(folder: Path) -> dict[str, int]:
    """Number of rows of each split, from the footers of the files alone."""
    parquet = need("pyarrow.parquet", "reading parquet files")
    return {
        split: sum(parquet.read_metadata(file).num_rows for file in shards)
        for split, shards in files(folder).items()
    }


def read_folder(
    folder: Path,
    name: str,
    x: str | None = None,
    y: str | None = None,
    group: str | None = None,
    encode: Encoder | None = None,
) -> Parts:
    """The parts of the dataset in a folder; see `Dataset.from_parquet`."""
    why = lacking(folder)
    if why:
        raise FileNotFoundError(
            f"no dataset in {folder}: {why}; a dataset is a folder with train.parquet, "
            "test.parquet and perhaps validation.parquet"
        )
    shards = files(folder)
    schema = _schema(shards["train"][0])
    if name in KNOWN and (x, y, group) == (None, None, None):
        layout = KNOWN[name].folder
    else:
        layout = guess(schema.names, x, y, group)

    def build() -> Parts:
        tables = {split: _table(paths, layout) for split, paths in shards.items()}
        return table.read(tables, layout, encode)

    if layout.x not in schema.names or table.holds_text(schema, layout.x) or encode is not None:
        return build()
    listing = {split: len(paths) for split, paths in shards.items()}
    flat = [path for paths in shards.values() for path in paths]
    return cache.remembered(name, cache.key(flat, f"{layout} {listing}"), build)


def class_names(schema: Any) -> dict[str, tuple[str, ...]]:
    """Class names of the columns that have some, as `datasets` notes them in a schema."""
    noted = (schema.metadata or {}).get(b"huggingface")
    features = json.loads(noted).get("info", {}).get("features", {}) if noted else {}
    return {
        column: tuple(feature["names"])
        for column, feature in features.items()
        if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
    }


def _schema(file: Path) -> Any:
    parquet = need("pyarrow.parquet", "reading parquet files")
    arrow = need("pyarrow", "reading parquet files")
    try:
        return parquet.read_schema(file)
    except (arrow.ArrowException, OSError) as error:
        raise ValueError(f"{file} is no readable parquet file: {error}") from error


def _table(paths: list[Path], layout: Layout) -> table.Table:
    arrow = need("pyarrow", "reading parquet files")
    parquet = need("pyarrow.parquet", "reading parquet files")
    wanted = [c for c in (layout.x, layout.y, layout.group, layout.drawing) if c is not None]
    schema = _schema(paths[0])
    columns = [c for c in wanted if c in schema.names]
    try:
        read = arrow.concat_tables([parquet.read_table(path, columns=columns) for path in paths])
    except (arrow.ArrowException, OSError) as error:
        raise ValueError(f"{paths[0].parent} holds no readable parquet files: {error}") from error
    return table.Table(read, class_names(schema), str(paths[0]))
