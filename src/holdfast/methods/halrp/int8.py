"""Matrices on int8's grid: levels times a scale for each rank."""

from typing import NamedTuple

import torch
from jaxtyping import BFloat16, Float, Int8
from torch import Tensor

_LEVELS = 127
_TINY = 1e-30
"""Ranks whose largest entry is below become 0: a scale of theirs would lose digits of its own."""


class Quantised(NamedTuple):
    """A matrix on int8's grid, levels x scale.

    Args:
        levels: from -127 to 127.
        scale: of each rank; 0 for one that is all 0.
    """

    levels: Int8[Tensor, "rows columns"]
    scale: BFloat16[Tensor, " k"]

    def values(self, axis: int, dtype: torch.dtype) -> Float[Tensor, "rows columns"]:
        """The matrix; exact in float32, since 7 bits times 8 fit."""
        scale = self.scale.to(dtype)
        return self.levels.to(dtype) * (scale[:, None] if axis == 0 else scale)


def quantised(matrix: Float[Tensor, "rows columns"], axis: int) -> Quantised:
    """The nearest levels of int8, symmetric about 0, with a scale for each rank.

        scale = bfloat16(max |x| / 127),   level = round(x / scale)

    The largest entry of a rank always has level +-127 (a bfloat16 is off by at most 1 / 256, and
    127 / 256 < 1 / 2), so what is on the grid already stays as it is, bit for bit. An entry moves
    by at most half of a scale.

    Args:
        matrix: U, or V.
        axis: that ranks are numbered along: 1 of U, 0 of V.
    """
    wide = matrix.detach().double()
    peak = wide.abs().amax(dim=1 - axis)
    scale = torch.where(peak > _TINY, peak / _LEVELS, 0.0).to(torch.bfloat16)
    step = scale.double().where(scale > 0, torch.inf)
    levels = (wide / (step[:, None] if axis == 0 else step)).round()
    return Quantised(levels.clamp(-_LEVELS, _LEVELS).to(torch.int8), scale)
