"""Transforms applied one after another."""

from dataclasses import dataclass

import torch
from torch import Tensor

from holdfast.streams.stream import Transform


@dataclass(frozen=True)
class Compose:
    """Transforms of a raw batch in turn; uint8 samples become float32 before the first.

    >>> Compose((torch.neg, torch.exp))(torch.zeros(2, dtype=torch.uint8))
    tensor([1., 1.])
    """

    parts: tuple[Transform, ...]

    @classmethod
    def of(cls, *parts: Transform | None) -> "Compose":
        """Those of the parts that are there, in the order given."""
        return cls(tuple(part for part in parts if part is not None))

    def __call__(self, x: Tensor) -> Tensor:
        """Transform a batch (n, ...), on its own device."""
        x = x.to(torch.float32) if x.dtype == torch.uint8 else x
        for part in self.parts:
            x = part(x)
        return x
