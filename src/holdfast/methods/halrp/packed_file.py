"""A base and all its tasks in one file, U and V in the fewest bytes."""

import json
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from holdfast.methods.halrp.packing import Packed, from_raw_bytes, pack, raw_bytes, unpack
from holdfast.records.files import write_atomic

FORMAT = "holdfast-halrp-packed-1"
_AXES = {"U": 1, "V": 0}
"""Axis that ranks are numbered along."""


class Contents(NamedTuple):
    """What a model is in bytes.

    Args:
        parts: bytes of each of its tensors, by name.
        names: bytes of names, shapes and kinds.
        content: of the file.
    """

    parts: dict[str, int]
    names: int
    content: bytes


def packed(model: nn.Module) -> Contents:
    """The file of a model: `state_dict` with U and V packed (see `pack`) and texts deflated.

    One block of all values and one of names, shapes and kinds, deflated: a tensor of its own in the
    file would take a hundred bytes for its name.

    Args:
        model: an `Adapted`, or a learner with one; any other module is stored as it is.
    """
    index, blocks, parts = list[list[Any]](), list[bytes](), dict[str, int]()
    for name, value in model.state_dict().items():
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
    content = save(tensors, {"format": f"{FORMAT} {checksum}"})
    return Contents(parts, len(names), content)


def save_packed(model: nn.Module, path: str | Path) -> Path:
    """Write a base and all its tasks to one file, which `load_packed` reads bit for bit.

    The file is whole, or as it was before. What it takes is what `sizes` counts.

    Args:
        model: an `Adapted`, or a learner with one.
        path: of the file.

    Raises:
        OSError: it could not be written.
    """
    write_atomic(Path(path), packed(model).content)
    return Path(path)


def load_packed(model: nn.Module, path: str | Path) -> None:
    """Read what `save_packed` wrote into a model adapted alike: base, tasks and heads.

    Args:
        model: made and adapted as the one that was saved; the tasks it has are replaced.
        path: of the file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is cut short, damaged, or holds something else; or the model is another one.
    """
    state = _read(Path(path))
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(f"{path} holds another model than the one given: {error}") from error


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise FileNotFoundError(f"no packed tasks at {path}")
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            found, _, checksum = (file.metadata() or {}).get("format", "").partition(" ")
            if found != FORMAT:
                raise ValueError(
                    f"{path} holds no packed tasks of this version: its format is {found!r}, "
                    f"expected {FORMAT!r}"
                )
            names, data = (raw_bytes(file.get_tensor(k)) for k in ("index", "data"))
    except SafetensorError as error:
        raise ValueError(f"{path} is cut short or holds no packed tasks: {error}") from error
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
