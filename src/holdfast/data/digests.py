"""What content is made of, in one short word: equal content, equal digest.

Made to tell apart, at about the speed memory is read, what differs by accident; it is no proof
against a person who wants two contents to agree.
"""

import zlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

_BLOCK = 2**20
"""Bytes that are reduced to 96 bits: a CRC-32 and the sum of their 64-bit words."""

_AT_ONCE = 2**29
"""Bytes of a file in memory at one time."""


def of_tensor(tensor: Tensor) -> str:
    """Digest of the values, shape and type of a tensor, wherever it lies."""
    values = tensor.detach().cpu().contiguous()
    flat = values.reshape(-1).view(torch.uint8).numpy()
    return _joined(f"{tuple(values.shape)} {values.dtype}", _blocks(flat))


def of_texts(texts: Iterable[str]) -> str:
    """Digest of sentences in their order."""
    encoded = [text.encode() for text in texts]
    lengths = np.array([len(e) for e in encoded], dtype=np.int64)
    return _joined("texts", lengths.tobytes(), b"".join(encoded))


def of_folder(folder: Path) -> str:
    """Digest of the files in a folder and those below it: their names and every byte.

    Hidden files and those a person alone reads (Markdown) are left out.
    """
    files = sorted(
        path
        for path in folder.rglob("*")
        if path.is_file()
        and path.suffix.lower() != ".md"
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    digests = (f"{path.relative_to(folder).as_posix()} {_of_file(path)}" for path in files)
    return of_texts(digests)


def of_module(module: nn.Module) -> str:
    """Digest of what a module computes: parameters, buffers, layers and their settings.

    Settings are the attributes of every layer that are numbers, text, truth values or tuples of
    these. The mode (train or eval) is left out, and so is the code of ``forward``.
    """
    layers = [
        f"{name} {type(layer).__module__}.{type(layer).__qualname__} {_settings(layer)}"
        for name, layer in module.named_modules()
    ]
    # those that are not saved with the state count too
    tensors = [*module.named_parameters(), *module.named_buffers()]
    return of_texts([*layers, *(f"{name} {of_tensor(value)}" for name, value in tensors)])


def _settings(layer: nn.Module) -> list[tuple[str, object]]:
    return sorted(
        (name, value)
        for name, value in vars(layer).items()
        if name != "training" and not name.startswith("_") and _is_plain(value)
    )


def _is_plain(value: object) -> bool:
    if isinstance(value, tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, (bool, int, float, str))


def _of_file(path: Path) -> str:
    parts = []
    with path.open("rb") as opened:
        while part := opened.read(_AT_ONCE):
            parts.append(_blocks(np.frombuffer(part, dtype=np.uint8)))
    return _joined("file", *parts)


def _blocks(flat: np.ndarray) -> bytes:
    with ThreadPoolExecutor() as pool:
        starts = range(0, len(flat), _BLOCK)
        return b"".join(pool.map(lambda i: _block(flat[i : i + _BLOCK]), starts))


def _block(part: np.ndarray) -> bytes:
    words = len(part) // 8 * 8
    total = int(part[:words].view(np.uint64).sum())
    return zlib.crc32(part.data).to_bytes(4, "little") + total.to_bytes(8, "little")


def _joined(head: str, *parts: bytes) -> str:
    digest = blake2b(head.encode(), digest_size=16)
    for part in parts:
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.hexdigest()
