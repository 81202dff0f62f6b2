"""How raw samples become network inputs: cast and standardised on the device."""

from dataclasses import dataclass

import torch
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
    def of(cls, x: Tensor, per_channel: bool = True) -> "Normalize":
        """The normalisation that gives `x` mean 0 and variance 1 (a constant channel keeps std 1).

        Args:
            x: (n, channels, ...) samples.
            per_channel: one mean and std a channel, or one for all.
        """
        groups = x.transpose(0, 1).flatten(1) if per_channel and x.ndim > 2 else x.reshape(1, -1)
        mean, std = [], []
        for channel in groups:
            values = channel.double()
            spread = values.std(correction=0).item()
            mean.append(values.mean().item())
            std.append(spread if spread > 0 else 1.0)
        return cls(tuple(mean), tuple(std))

    def __call__(self, x: Tensor) -> Tensor:
        """Standardise a batch (n, channels, ...), on its own device."""
        shape = (1, -1, *(1 for _ in x.shape[2:])) if x.ndim > 1 else (-1,)
        mean = torch.tensor(self.mean, device=x.device).view(shape)
        std = torch.tensor(self.std, device=x.device).view(shape)
        return (
            x.to(torch.float32).sub_(mean).div_(std)
            if x.dtype != torch.float32
            else (x.sub(mean).div_(std))
        )
