"""Tensors of tasks in one file, U and V in the fewest bytes."""

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from holdfast.methods.halrp.packing import Packed, from_raw_bytes, pack, raw_bytes, unpack

_AXES = {"U": 1, "V": 0}
"""Axis that ranks are numbered along."""


class Contents(NamedTuple):
    """Tensors in bytes.

    Args:
        parts: bytes of each tensor, by name.
        names: bytes of names, shapes and kinds.
        content: of the file.
    """

    parts: dict[str, int]
    names: int
    content: bytes


def pack_state(state: Mapping[str, Tensor], form: str) -> Contents:
    """The file of a state: U and V packed (see `pack`) and texts deflated.

    One block of all values and one of names, shapes and kinds, deflated: a tensor of its own in the
    file would take a hundred bytes for its name.

    Args:
        state: tensors, by the names that `torch.nn.Module.state_dict` of an `Adapted` gives them.
        form: of the file, a name without spaces.
    """
    index, blocks, parts = list[list[Any]](), list[bytes](), dict[str, int]()
    for name, value in state.items():
        entry: list[Any] = [name, str(value.dtype).removeprefix("torch."), list(value.shape)]
        axis = _axis(name)
        if axis is not None:
            made = pack(value, axis)
            entry += [made.kind, made.layout, made.kept, made.width, len(made.data)]
            block = made.data
        elif name.endswith("_extra_state"):
            block = zlib.compress(raw_bytes(value), 9)
            entry += ["deflated", len(block)]
        else:
            block = raw_bytes(value)
        index.append(entry)
        blocks.append(block)
        parts[name] = len(block)
    names = zlib.compress(json.dumps(index, separators=(",", ":")).encode(), 9)
    data = b"".join(blocks)
    tensors = {
        "index": from_raw_bytes(names, torch.uint8, (len(names),)),
        "data": from_raw_bytes(data, torch.uint8, (len(data),)),
    }
    checksum = f"{zlib.crc32(data, zlib.crc32(names)):08x}"
    # One entry: the order of several would be another each time.
    return Contents(parts, len(names), save(tensors, {"format": f"{form} {checksum}"}))


def read_state(path: Path, form: str, what: str) -> dict[str, Tensor]:
    """The inverse of `pack_state`, on the CPU, bit for bit. Nothing is unpickled.

    Args:
        path: of the file.
        form: that it must have.
        what: it should hold, in messages.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is cut short, damaged, or holds something else.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no {what} at {path}")
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            found, _, checksum = (file.metadata() or {}).get("format", "").partition(" ")
            if found != form:
                raise ValueError(
                    f"{path} holds no {what} of this version: its format is {found!r}, expected "
                    f"{form!r}"
                )
            names, data = (raw_bytes(file.get_tensor(k)) for k in ("index", "data"))
    except SafetensorError as error:
        raise ValueError(f"{path} is cut short or holds no {what}: {error}") from error
    if f"{zlib.crc32(data, zlib.crc32(names)):08x}" != checksum:
        raise ValueError(f"{path} is damaged: what it holds does not match its checksum")
    state, at = dict[str, Tensor](), 0
    for name, kind, shape, *how in json.loads(zlib.decompress(names)):
        dtype: torch.dtype = getattr(torch, kind)
        count = how[-1] if how else dtype.itemsize * torch.Size(shape).numel()
        block, at = data[at : at + count], at + count
        axis = _axis(name)
        if axis is not None:
            state[name] = unpack(
                Packed(how[0], how[1], how[2], how[3], block), (shape[0], shape[1]), dtype, axis
            )
        else:
            state[name] = from_raw_bytes(
                zlib.decompress(block) if how else block, dtype, tuple(shape)
            )
    return state


def _axis(name: str) -> int | None:
    return _AXES.get(name.rpartition(".")[2]) if ".tasks." in name else None
