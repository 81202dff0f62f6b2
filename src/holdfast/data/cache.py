"""Decoded datasets, kept on disk so that images are decoded once.

One file a dataset, named by the content it was decoded from: safetensors with a JSON header,
nothing is unpickled. It is written aside and renamed, so two processes that decode at once do no
harm, and read by memory mapping. A file that is cut short, altered or foreign is decoded anew.
Where the cache cannot be written (a full or read-only disk) the data are returned all the same,
and the log says so.
"""

import logging
import os
import zlib
from collections.abc import Callable, Iterable
from hashlib import blake2b, file_digest
from pathlib import Path

from safetensors import SafetensorError
from torch import Tensor

from holdfast.data.normalize import Normalize
from holdfast.data.parts import SPLITS, Parts
from holdfast.data.tensor_file import read_tensors, write_tensors

_FORMAT = "1"
"""To be raised whenever decoding changes what it gives."""

_log = logging.getLogger(__name__)


def folder() -> Path:
    """Where decoded datasets lie.

    ``$HOLDFAST_CACHE``, else ``$XDG_CACHE_HOME/holdfast``, else ``~/.cache/holdfast``.
    """
    own = os.environ.get("HOLDFAST_CACHE")
    if own:
        return Path(own)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "holdfast"


def key(files: Iterable[Path], recipe: str) -> str:
    """What a decoded dataset depends on: every byte of its files and how they are read.

    All bytes are hashed at every load (BLAKE2b, about 1 GB/s): sizes and times of files change
    when they are copied and may stay when they are rewritten.
    """
    digest = blake2b(f"{_FORMAT}\n{recipe}\n".encode(), digest_size=16)
    for file in files:
        with file.open("rb") as opened:
            digest.update(file_digest(opened, "blake2b").digest())
    return digest.hexdigest()


def remembered(name: str, key: str, build: Callable[[], Parts]) -> Parts:
    """The parts kept under `key`, or those that `build` makes, which are then kept."""
    path = folder() / f"{Path(name).name}-{key}.safetensors"
    parts = _load(path)
    if parts is None:
        parts = build()
        _save(path, parts)
    return parts


def _load(path: Path) -> Parts | None:
    try:
        tensors, header = read_tensors(path)
        for name, checksum in header["checksums"].items():
            if _checksum(tensors[name]) != checksum:
                raise ValueError(f"the checksum of {name} is wrong")
        moments = header["normalize"]
        return Parts(
            {s: tensors[f"{s}.x"] for s in SPLITS if f"{s}.x" in header["checksums"]},
            {s: tensors[f"{s}.y"] for s in SPLITS if f"{s}.y" in header["checksums"]},
            tuple(header["class_names"]),
            tuple(header["groups"]),
            tuple(header["group_names"]),
            moments and Normalize(tuple(moments["mean"]), tuple(moments["std"])),
        )
    except FileNotFoundError:
        return None
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        _log.warning("the decoded data in %s are damaged and made anew: %s", path, error)
        return None


def _save(path: Path, parts: Parts) -> None:
    tensors = {f"{s}.x": x.contiguous() for s, x in parts.x.items()}
    tensors |= {f"{s}.y": y.contiguous() for s, y in parts.y.items()}
    moments = parts.normalize
    header = {
        "class_names": parts.class_names,
        "groups": parts.groups,
        "group_names": parts.group_names,
        "normalize": moments and {"mean": moments.mean, "std": moments.std},
        "checksums": {name: _checksum(tensor) for name, tensor in tensors.items()},
    }
    try:
        write_tensors(path, tensors, header)
    except (OSError, SafetensorError) as error:
        _log.warning(
            "the decoded data could not be kept in %s and will be decoded again next time: %s; "
            "free some space or set HOLDFAST_CACHE to another folder",
            path.parent,
            error,
        )


def _checksum(tensor: Tensor) -> int:
    return zlib.crc32(tensor.numpy().data)
