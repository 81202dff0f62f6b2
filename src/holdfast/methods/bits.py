"""Binary masks at a bit an entry."""

import torch
from jaxtyping import Bool, UInt8
from torch import Tensor


def pack(mask: Bool[Tensor, " n"]) -> UInt8[Tensor, " bytes"]:
    """Eight entries a byte, the first in the lowest bit; what is left of the last byte is 0."""
    padded = torch.cat([mask, mask.new_zeros(-len(mask) % 8)]).view(-1, 8)
    values = 2 ** torch.arange(8, dtype=torch.uint8, device=mask.device)
    return (padded * values).sum(1, dtype=torch.uint8)


def unpack(packed: UInt8[Tensor, " bytes"], n: int) -> Bool[Tensor, " n"]:
    """The inverse of `pack`, for a mask of n entries."""
    places = torch.arange(8, dtype=torch.uint8, device=packed.device)
    return ((packed[:, None] >> places) & 1).flatten()[:n].bool()
