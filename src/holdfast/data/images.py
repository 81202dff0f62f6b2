"""Encoded image files (PNG, WebP, JPEG) as one uint8 tensor."""

from collections.abc import Sequence
from io import BytesIO

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from holdfast.data.optional import need

_GREY = {"1", "L", "LA", "La"}
_DEEP = {"I", "F", "I;16", "I;16B", "I;16L", "I;16N"}


def decode(
    rows: Sequence[bytes | None], where: str, edge: int | None = None, invert: bool = False
) -> UInt8[Tensor, "n channels height width"]:
    """Decode images of one size, grey ones to one channel and all others to RGB.

    Where a set mixes both, grey images become RGB. An alpha channel is dropped.

    Threads do not help: the decoders spend their time under the interpreter's lock (measured at
    32 x 32 and 28 x 28, where two threads are slower than one).

    Args:
        rows: the bytes of each image file.
        where: what the rows are, for errors.
        edge: make the images grey and squares of this many pixels, by averaging areas.
        invert: ink becomes bright: 255 - value.

    Raises:
        ValueError: no rows, a row is empty or no image, is deeper than 8 bits a channel, or
            differs from the first in size.
        ImportError: Pillow is not installed.
    """
    if not rows:
        raise ValueError(f"{where} holds no images")
    need("PIL.Image", f"decoding the images of {where}")
    try:
        stacked = _stack(rows, where, edge, channels=1)
    except _ColourError:
        stacked = _stack(rows, where, edge, channels=3)
    if invert:
        np.subtract(255, stacked, out=stacked)
    return torch.from_numpy(stacked)


def pixels(row: object, where: str, edge: int | None = None) -> np.ndarray:
    """One image, as the bytes of a file or as a PIL image: uint8 (height, width[, 3]).

    Raises:
        ValueError: it is empty, no image, or deeper than 8 bits a channel.
    """
    from PIL import Image

    if row is None:
        raise ValueError(f"{where} is empty: the image file must be part of the table")
    try:
        # What is neither bytes nor an image fails here and is told of below.
        image = row if isinstance(row, Image.Image) else Image.open(BytesIO(row))  # type: ignore[arg-type]
        if image.mode in _DEEP:
            raise ValueError(f"{where} has mode {image.mode!r}; images must have 8 bits a channel")
        mode = "L" if image.mode in _GREY or edge is not None else "RGB"
        if image.mode != mode:
            image = image.convert(mode)
        if edge is not None and image.size != (edge, edge):
            image = image.resize((edge, edge), Image.Resampling.BOX)
        return np.asarray(image)
    except OSError as error:
        raise ValueError(f"{where} is no readable image: {error}") from error


class _ColourError(Exception):
    """A colour image where one channel was expected."""


def _stack(rows: Sequence[bytes | None], where: str, edge: int | None, channels: int) -> np.ndarray:
    height, width = pixels(rows[0], f"row 0 of {where}", edge).shape[:2]
    stacked = np.empty((len(rows), channels, height, width), dtype=np.uint8)
    for i, row in enumerate(rows):
        image = pixels(row, f"row {i} of {where}", edge)
        if image.shape[:2] != (height, width):
            raise ValueError(
                f"row {i} of {where} is {image.shape[0]} x {image.shape[1]} pixels, row 0 is "
                f"{height} x {width}; images must be of one size"
            )
        if image.ndim == 3 and channels == 1:
            raise _ColourError
        stacked[i] = image if image.ndim == 2 else image.transpose(2, 0, 1)
    return stacked
