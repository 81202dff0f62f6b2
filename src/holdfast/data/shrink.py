"""Smaller images, each pixel the mean of a square of pixels."""

from dataclasses import replace
from typing import Literal

import torch
from jaxtyping import Shaped
from torch import Tensor
from torch.nn import functional

from holdfast.data.normalize import Normalize
from holdfast.data.parts import SPLITS
from holdfast.data.split import Dataset

_AT_ONCE = 2**22
"""Pixels that are floats at one time."""


def shrunk(
    dataset: Dataset, factor: int, normalize: Normalize | Literal["auto"] | None = "auto"
) -> Dataset:
    """The dataset with images whose sides are `factor` times shorter, in every split.

    A new pixel is the mean of factor x factor old ones of its channel; uint8 images stay uint8,
    means rounded to the nearest level and ties to the even one. Labels, names and groups stay.

    Args:
        dataset: of images (n, channels, height, width), uint8 or float.
        factor: that divides height and width; 1 changes nothing.
        normalize: ``"auto"`` standardises by the smaller images of the train split where the
            dataset had a normalisation, since means vary less than pixels do.

    Raises:
        TypeError: `factor` is no integer.
        ValueError: `factor` is not positive or does not divide both sides, or the samples are no
            images.

    >>> from holdfast.data.embedded import digits
    >>> shrunk(digits(), 2)
    Dataset('digits', 10 classes, train 1438, test 359, sample (1, 4, 4))
    """
    if not isinstance(factor, int) or isinstance(factor, bool):
        raise TypeError(f"factor must be an integer, got {factor!r}")
    if factor < 1:
        raise ValueError(f"factor must be positive, got {factor}")
    if factor == 1 and normalize == "auto":
        return dataset
    _check(dataset, factor)
    splits = {name: getattr(dataset, name) for name in SPLITS}
    smaller = {
        name: replace(split, x=_means(split.x, factor)) for name, split in splits.items() if split
    }
    if normalize == "auto":
        old, x = dataset.normalize, smaller["train"].x
        normalize = old and Normalize.of(x, per_channel=len(old.mean) > 1)
    return replace(dataset, **smaller, normalize=normalize)


def _check(dataset: Dataset, factor: int) -> None:
    x, shape = dataset.train.x, dataset.input_shape
    if len(shape) != 3 or not (x.dtype == torch.uint8 or x.is_floating_point()):
        raise ValueError(
            f"{dataset.name!r} holds samples of shape {shape} and {x.dtype}; only images "
            "(channels, height, width) of uint8 or floats can be shrunk"
        )
    height, width = shape[1:]
    if height % factor or width % factor:
        fit = [f for f in range(2, min(height, width) + 1) if not height % f and not width % f]
        raise ValueError(
            f"{dataset.name!r} holds images of {height} x {width} pixels, which cannot be shrunk "
            f"by {factor}; {', '.join(map(str, fit)) or 'no factor but 1'} will do"
        )


def _means(x: Shaped[Tensor, "n c h w"], factor: int) -> Shaped[Tensor, "n c _h _w"]:
    n, channels, height, width = x.shape
    out = x.new_empty(n, channels, height // factor, width // factor)
    rows = max(1, _AT_ONCE // x[0].numel())
    for part, smaller in zip(x.split(rows), out.split(rows), strict=True):
        if x.dtype == torch.uint8:
            smaller.copy_(functional.avg_pool2d(part.float(), factor).round_())
        else:
            smaller.copy_(functional.avg_pool2d(part, factor))
    return out
