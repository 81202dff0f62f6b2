"""Images flipped and shifted at random, a whole batch at once on its own device."""

import torch
from jaxtyping import Shaped
from torch import Tensor

SHIFT = 4
"""Pixels that an image is shifted by at most, each way."""


def check_augment(augment: str, input_shape: tuple[int, ...]) -> None:
    """Refuse samples that are no images, or too small.

    Raises:
        ValueError: naming the shape of a sample.
    """
    if augment == "none":
        return
    if len(input_shape) != 3 or min(input_shape[1:]) <= SHIFT:
        raise ValueError(
            f"training.augment {augment!r} needs images (channels, height, width) of more than "
            f"{SHIFT} pixels a side; samples of the stream have shape {input_shape}"
        )


def flip_shift(
    x: Shaped[Tensor, "n channels height width"], draws: torch.Generator, shift: int = SHIFT
) -> Shaped[Tensor, "n channels height width"]:
    """Each image mirrored left to right with probability 1/2, and moved by up to `shift` pixels.

    The displacements, rows and columns, are uniform in -shift .. shift; what comes in from outside
    is 0, which is the mean where images are normalised. It is the crop of a padded image that is
    usual for CIFAR (He et al., CVPR 2016), with a draw of its own for each sample.

    Args:
        x: a batch.
        draws: on the CPU, so that all devices draw alike.
        shift: in pixels.

    >>> x = torch.ones(1, 1, 2, 2)
    >>> flip_shift(x, torch.Generator().manual_seed(0), shift=0).equal(x)
    True
    """
    n, channels, height, width = x.shape
    moved = torch.randint(2 * shift + 1, (2, n, 1), generator=draws).to(x.device)
    flipped = (torch.rand(n, 1, generator=draws) < 0.5).to(x.device)
    rows = moved[0] + torch.arange(height, device=x.device)
    columns = torch.arange(width, device=x.device)
    columns = moved[1] + torch.where(flipped, columns.flip(0), columns)
    padded = torch.nn.functional.pad(x, (shift,) * 4)
    sample = torch.arange(n, device=x.device)[:, None, None, None]
    channel = torch.arange(channels, device=x.device)[None, :, None, None]
    return padded[sample, channel, rows[:, None, :, None], columns[:, None, None, :]]
