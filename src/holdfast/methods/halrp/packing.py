"""A matrix in the fewest bytes that give it back bit for bit."""

from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from holdfast.methods.halrp.int8 import Quantised, quantised

Kind = Literal["int8", "bfloat16", "float32", "float64", "float16"]
Layout = Literal["dense", "mask", "gaps"]
"""``dense``: all entries; ``mask``: a bit for each entry, and those that are not 0; ``gaps``: the
distance of each of those from the one before, in 1, 2 or 4 bytes, and they."""

_DTYPES = {
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "float32": torch.float32,
    "float64": torch.float64,
}


class Packed(NamedTuple):
    """A matrix as bytes.

    Args:
        kind: of its values.
        layout: see `Layout`.
        kept: number of the values that are there.
        width: of a gap, in bytes; 0 in other layouts.
        data: scales of ``int8``, then where values are, then values.
    """

    kind: Kind
    layout: Layout
    kept: int
    width: int
    data: bytes


def pack(matrix: Float[Tensor, "rows columns"], axis: int) -> Packed:
    """The narrowest kind of values that loses nothing, and the shortest layout of them.

    Args:
        matrix: U, or V.
        axis: that ranks are numbered along: 1 of U, 0 of V.
    """
    matrix = matrix.detach().cpu().contiguous()
    kind, values, scales = _narrowest(matrix, axis)
    there: Any = (matrix.flatten() != 0).numpy()
    full = raw_bytes(values)
    size, count = values.element_size(), int(there.sum())
    gaps = np.diff(np.flatnonzero(there), prepend=-1)
    width = next(w for w in (1, 2, 4) if count == 0 or gaps.max() < 256**w)
    lengths: dict[Layout, int] = {
        "dense": len(full),
        "mask": -(-len(there) // 8) + count * size,
        "gaps": count * (width + size),
    }
    layout = min(lengths, key=lambda name: lengths[name])
    if layout == "dense":
        return Packed(kind, layout, len(there), 0, scales + full)
    kept = np.frombuffer(full, np.uint8).reshape(-1, size)[there].tobytes()
    if layout == "mask":
        return Packed(kind, layout, count, 0, scales + np.packbits(there).tobytes() + kept)
    return Packed(kind, layout, count, width, scales + gaps.astype(f"<u{width}").tobytes() + kept)


def unpack(
    packed: Packed, shape: tuple[int, int], dtype: torch.dtype, axis: int
) -> Float[Tensor, "rows columns"]:
    """The inverse of `pack`."""
    held = np.frombuffer(packed.data, np.uint8)
    scales = 2 * shape[axis] if packed.kind == "int8" else 0
    kind = torch.int8 if packed.kind == "int8" else _DTYPES[packed.kind]
    entries, body = shape[0] * shape[1], held[scales:]
    if packed.layout == "dense":
        there, values = np.ones(entries, bool), body
    elif packed.layout == "mask":
        cut = -(-entries // 8)
        there, values = np.unpackbits(body[:cut], count=entries).astype(bool), body[cut:]
    else:
        cut = packed.kept * packed.width
        gaps = np.frombuffer(body[:cut].tobytes(), f"<u{packed.width}").astype(np.int64)
        there, values = np.zeros(entries, bool), body[cut:]
        there[np.cumsum(gaps) - 1] = True
    full = np.zeros((entries, kind.itemsize), np.uint8)
    full[there] = values.reshape(-1, kind.itemsize)
    found = from_raw_bytes(full.tobytes(), kind, shape)
    if packed.kind != "int8":
        return found.to(dtype)
    scale = from_raw_bytes(held[:scales].tobytes(), torch.bfloat16, (shape[axis],))
    return Quantised(found, scale).values(axis, dtype)


def _narrowest(matrix: Tensor, axis: int) -> tuple[Kind, Tensor, bytes]:
    found = quantised(matrix, axis)
    if torch.equal(found.values(axis, matrix.dtype), matrix):
        return "int8", found.levels, raw_bytes(found.scale)
    for kind in ("bfloat16", "float32"):
        narrow = matrix.to(_DTYPES[kind])
        if narrow.element_size() <= matrix.element_size() and torch.equal(
            narrow.to(matrix.dtype), matrix
        ):
            return kind, narrow, b""
    own: Any = str(matrix.dtype).removeprefix("torch.")
    return own, matrix, b""


def raw_bytes(tensor: Tensor) -> bytes:
    """The bytes of a tensor's values in order."""
    flat: Any = tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()
    return bytes(flat.tobytes())


def from_raw_bytes(data: bytes, dtype: torch.dtype, shape: tuple[int, ...]) -> Tensor:
    """The inverse of `raw_bytes`."""
    if not data:
        return torch.empty(shape, dtype=dtype)
    return torch.frombuffer(bytearray(data), dtype=dtype).reshape(shape)
