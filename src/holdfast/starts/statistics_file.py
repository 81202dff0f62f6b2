"""Statistics in one safetensors file: tensors beside JSON, replaced in one stroke."""

import json
from pathlib import Path
from typing import Any
from zlib import crc32

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from holdfast.records.files import write_atomic

FORMAT = "holdfast-feature-statistics-1"
_APART = "apart/"


def write_state(path: Path, state: dict[str, Any]) -> None:
    """Write the state of `FeatureStatistics`; the file is whole or as it was before.

    Raises:
        OSError: the file could not be written.
    """
    tensors = {f"{_APART}{c}": t for c, t in state["apart"].items()}
    tensors |= {name: value for name, value in state.items() if isinstance(value, Tensor)}
    tensors = {name: t.cpu().contiguous() for name, t in tensors.items()}
    plain = {k: v for k, v in state.items() if k != "apart" and not isinstance(v, Tensor)}
    text = json.dumps(plain, allow_nan=False)
    metadata = {"format": FORMAT, "values": text, "checksum": _checksum(text, tensors)}
    write_atomic(path, save(tensors, metadata))


def read_state(path: Path) -> dict[str, Any]:
    """Read what `write_state` wrote, on the CPU. Nothing is unpickled.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is cut short, damaged, or holds something else.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no statistics at {path}")
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise ValueError(
                    f"{path} holds no feature statistics of this version: its format is "
                    f"{metadata.get('format')!r}, expected {FORMAT!r}"
                )
            # Copied out of the mapped file: left alone when the file is replaced.
            tensors = {k: file.get_tensor(k).clone() for k in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{path} is cut short or holds no feature statistics: {error}") from error
    if _checksum(metadata.get("values", ""), tensors) != metadata.get("checksum"):
        raise ValueError(
            f"{path} is damaged: what it holds does not match its checksum; put back a copy of it, "
            "or collect the statistics again"
        )
    apart = {k.removeprefix(_APART): t for k, t in tensors.items() if k.startswith(_APART)}
    single = {k: t for k, t in tensors.items() if not k.startswith(_APART)}
    return {**json.loads(metadata["values"]), **single, "apart": apart}


def _checksum(text: str, tensors: dict[str, Tensor]) -> str:
    """CRC-32 of the values and of name, kind, shape and bytes of each tensor, in hexadecimal."""
    found = crc32(text.encode())
    for name, tensor in sorted(tensors.items()):
        found = crc32(repr((name, str(tensor.dtype), tuple(tensor.shape))).encode(), found)
        held: Any = tensor.flatten().view(torch.uint8).numpy()
        found = crc32(held, found)
    return f"{found:08x}"
