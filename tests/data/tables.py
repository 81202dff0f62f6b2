"""Small parquet folders made for a test."""

import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image


def encoded(pixels: np.ndarray, format: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(
        buffer, format=format, **({"lossless": True} if format == "WEBP" else {})
    )
    return buffer.getvalue()


def noise(n: int, *shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, *shape), dtype=np.uint8)


def image_column(pixels: np.ndarray, format: str = "PNG") -> list[dict]:
    return [{"bytes": encoded(p, format), "path": None} for p in pixels]


def table(columns: dict, names: dict[str, list[str]] | None = None) -> pa.Table:
    made = pa.table(columns)
    if names:
        features = {c: {"names": n, "_type": "ClassLabel"} for c, n in names.items()}
        info = json.dumps({"info": {"features": features}})
        made = made.replace_schema_metadata({"huggingface": info})
    return made


def write(folder: Path, names: dict[str, list[str]] | None = None, **splits: dict) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for split, columns in splits.items():
        pq.write_table(table(columns, names), folder / f"{split}.parquet")
    return folder
