"""Input normalisations that pretrained nets were trained with, by name."""

from dataclasses import replace
from typing import Literal, get_args

import torch

from holdfast.data.normalize import Normalize
from holdfast.data.split import Dataset

Standard = Literal["auto", "none", "imagenet"]

_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def normalized(dataset: Dataset, standard: Standard | Normalize) -> Dataset:
    """The dataset with another normalisation of its inputs; no sample is touched.

    Args:
        dataset: any.
        standard: ``imagenet``: the means (0.485, 0.456, 0.406) and standard deviations (0.229,
            0.224, 0.225) of red, green and blue that torchvision, and most nets pretrained on
            ImageNet, take images in [0, 1] by; here in the units of the samples, 255 times as much
            for uint8. ``none``: inputs as they are. ``auto``: as the dataset has it. Or a
            `Normalize`.

    Raises:
        ValueError: an unknown name, or ``imagenet`` for what are no images of three channels in
            uint8 or in floats from 0 to 1.

    >>> import torch
    >>> from holdfast.data import Split
    >>> images = Split(torch.zeros(2, 3, 4, 4, dtype=torch.uint8), torch.tensor([0, 1]))
    >>> normalized(Dataset(images, images), "imagenet").normalize.mean
    (123.675, 116.28, 103.53)
    """
    if isinstance(standard, Normalize):
        return replace(dataset, normalize=standard)
    if standard not in get_args(Standard):
        allowed = ", ".join(get_args(Standard))
        raise ValueError(f"normalize must be one of {allowed} or a Normalize, got {standard!r}")
    if standard == "auto":
        return dataset
    if standard == "none":
        return replace(dataset, normalize=None)
    x = dataset.train.x
    levels = x.dtype == torch.uint8
    if len(dataset.input_shape) != 3 or dataset.input_shape[0] != 3:
        raise ValueError(
            f"normalize='imagenet' is for images (3, height, width); {dataset.name!r} holds "
            f"samples of shape {dataset.input_shape}"
        )
    if not levels and not (x.is_floating_point() and 0 <= float(x.min()) <= float(x.max()) <= 1):
        raise ValueError(
            f"normalize='imagenet' is for uint8 images or floats from 0 to 1; {dataset.name!r} "
            f"holds {x.dtype} from {x.min().item():g} to {x.max().item():g}"
        )
    top = 255 if levels else 1
    mean, std = (tuple(round(top * v, 9) for v in values) for values in _IMAGENET)
    return replace(dataset, normalize=Normalize(mean, std))
