"""Features kept on disk, so that an encoder sees each sample once.

A folder a set of features, ``features/<key>`` beneath the folder of `holdfast.data.cache`, with a
safetensors file for every 1,024 samples: written aside and renamed, read without unpickling. What
breaks off loses the chunk it was at, a damaged chunk is made anew alone, and two processes that
encode the same take over each other's chunks. Where nothing can be written the features are
returned all the same, and the log says so.
"""

import logging
import zlib
from collections.abc import Callable, Iterator
from hashlib import blake2b
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from torch import Tensor

from holdfast.data import cache
from holdfast.data.tensor_file import read_tensors, write_tensors

CHUNK = 1024
"""Samples of a file."""

_FORMAT = "1"
"""To be raised whenever what is kept under a key changes."""

Make = Callable[[int, int], Float[Tensor, "n width"]]
"""The features of the samples from a position up to another."""

_log = logging.getLogger(__name__)


def key(*digests: str) -> str:
    """The name of the features that follow from data, encoder and options."""
    return blake2b("\n".join((_FORMAT, *digests)).encode(), digest_size=16).hexdigest()


def chunks(n: int) -> Iterator[tuple[int, int]]:
    """Where the chunks of `n` samples begin and end."""
    return ((start, min(start + CHUNK, n)) for start in range(0, n, CHUNK))


def remembered(
    key: str, n: int, make: Make, about: str = "", done: Callable[[int], None] = lambda _: None
) -> Float[Tensor, "n width"]:
    """The `n` features kept under `key`; what is lacking is made and kept.

    Args:
        key: of `key`.
        n: number of samples.
        make: gives the features of samples start .. stop - 1, on the CPU.
        about: what they are, for a person who looks into the file.
        done: called with the number of samples of each chunk as it is there.
    """
    place = cache.folder() / "features" / key
    keeps, out = True, None
    for number, (start, stop) in enumerate(chunks(n)):
        path = place / f"{number:06d}.safetensors"
        whose = f"{key} {start}..{stop}"
        chunk = _load(path, whose)
        if chunk is None:
            chunk = make(start, stop).contiguous()
            keeps = keeps and _save(path, chunk, whose, about)
        if out is None:
            out = chunk.new_empty(n, *chunk.shape[1:])
        out[start:stop] = chunk
        done(stop - start)
    assert out is not None  # a split holds samples
    return out


def _load(path: Path, whose: str) -> Tensor | None:
    try:
        tensors, header = read_tensors(path)
        features = tensors["features"]
        if header["whose"] != whose:
            raise ValueError(f"they are those of {header['whose']}")
        if _checksum(features) != header["checksum"]:
            raise ValueError("the checksum is wrong")
        return features
    except FileNotFoundError:
        return None
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        _log.warning("the features in %s are damaged and made anew: %s", path, error)
        return None


def _save(path: Path, features: Tensor, whose: str, about: str) -> bool:
    """Whether they could be kept."""
    header = {"about": about, "whose": whose, "checksum": _checksum(features)}
    try:
        write_tensors(path, {"features": features}, header)
        return True
    except (OSError, SafetensorError) as error:
        _log.warning(
            "features could not be kept in %s and will be made again next time: %s; free some "
            "space or set HOLDFAST_CACHE to another folder",
            path.parent,
            error,
        )
        return False


def _checksum(features: Tensor) -> int:
    return zlib.crc32(features.view(torch.uint8).numpy().data)
