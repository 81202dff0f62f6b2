"""How raw samples become network inputs: cast and standardised on the device."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Shaped
from torch import Tensor


@dataclass(frozen=True)
class Normalize:
    """Channel-wise standardisation (x - mean) / std in the raw units of x, giving float32.

    Args:
        mean: one value a channel (dimension 1 of a batch), or a single value for all.
        std: likewise, positive.

    Raises:
        ValueError: the two differ in length or a `std` is not positive.

    >>> Normalize((1.0,), (2.0,))(torch.tensor([[5]], dtype=torch.uint8))
    tensor([[2.]])
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.std) or not self.mean:
            raise ValueError(f"mean and std must match in length, got {self.mean} and {self.std}")
        if not all(s > 0 for s in self.std):
            raise ValueError(f"std must be positive, got {self.std}")

    @classmethod
    def of(cls, x: Shaped[Tensor, "n ..."], per_channel: bool = True) -> "Normalize":
        """The normalisation that gives `x` mean 0 and variance 1 (a constant channel keeps std 1).

        Args:
            x: (n, channels, ...) samples; vectors (n, d) are taken together as one channel.
            per_channel: one mean and std a channel, or one for all.

        Raises:
            ValueError: `x` is empty.

        >>> Normalize.of(torch.tensor([[1.0, 3.0]]))
        Normalize(mean=(2.0,), std=(1.0,))
        """
        if x.numel() == 0:
            raise ValueError(f"x is empty (shape {tuple(x.shape)}): it has no mean")
        channels = x.unbind(1) if per_channel and x.ndim > 2 else (x,)
        moments = [_moments(channel) for channel in channels]
        return cls(tuple(m for m, _ in moments), tuple(s if s > 0 else 1.0 for _, s in moments))

    def __call__(self, x: Shaped[Tensor, "n ..."]) -> Float[Tensor, "n ..."]:
        """Standardise a batch (n, channels, ...), on its own device."""
        shape = (1, -1, *(1 for _ in x.shape[2:])) if x.ndim > 1 else (-1,)
        mean = torch.tensor(self.mean, device=x.device).view(shape)
        std = torch.tensor(self.std, device=x.device).view(shape)
        if x.dtype == torch.float32:
            return x.sub(mean).div_(std)
        return x.to(torch.float32).sub_(mean).div_(std)


AS_FLOATS = Normalize((0.0,), (1.0,))
"""Values as they are, in float32: for what is kept in float16."""


def _moments(values: Tensor) -> tuple[float, float]:
    """Mean and standard deviation (divisor n) in float64."""
    if values.dtype == torch.uint8:
        # exact, and without a copy eight times the size of the images
        counts = torch.bincount(values.flatten(), minlength=256).double()
        share = counts / counts.sum()
        level = torch.arange(256, dtype=torch.float64, device=values.device)
        mean = (share * level).sum()
        return mean.item(), (share * (level - mean) ** 2).sum().sqrt().item()
    values = values.double()
    return values.mean().item(), values.std(correction=0).item()
