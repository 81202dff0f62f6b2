"""Tensors on disk under a JSON header, written aside and renamed; nothing is unpickled."""

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor


def write_tensors(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Write a file, and the folders above it; two processes that do so at once do no harm.

    Raises:
        OSError, SafetensorError: it cannot be written. Nothing is left of it then.
    """
    aside = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(dict(tensors), aside, metadata={"holdfast": json.dumps(header)})
        aside.replace(path)
    except (OSError, SafetensorError):
        with suppress(OSError):
            aside.unlink(missing_ok=True)
        raise


def read_tensors(path: Path) -> tuple[dict[str, Tensor], Any]:
    """Tensors and header of a file that `write_tensors` wrote.

    Raises:
        FileNotFoundError: there is none.
        OSError, SafetensorError, ValueError, KeyError: it is cut short or another file.
    """
    with safe_open(path, framework="pt") as opened:
        header = json.loads((opened.metadata() or {})["holdfast"])
        return {k: opened.get_tensor(k) for k in opened.keys()}, header  # noqa: SIM118 (no dict)
