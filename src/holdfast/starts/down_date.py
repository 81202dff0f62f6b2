"""Whether samples that are taken out of a Gram matrix can have been in it."""

import torch
from jaxtyping import Float64
from torch import Tensor

TOLERANCE = 1e-10
"""How far below 0, beside the largest diagonal element before, rounding may leave an eigenvalue."""


def check_removal(
    before: Float64[Tensor, "inputs inputs"], left: Float64[Tensor, "inputs inputs"], whose: str
) -> None:
    """A Gram matrix without some of its samples must still be one: no eigenvalue below 0.

    Tested by a Cholesky factorisation of left + `TOLERANCE` max_i before_ii.

    Raises:
        ValueError: it is none, naming `whose` it is.
    """
    lifted = left.clone()
    lifted.diagonal().add_(TOLERANCE * before.diagonal().max())
    if torch.linalg.cholesky_ex(lifted).info != 0:
        raise ValueError(
            f"these samples cannot have been among those taken in: without them the Gram matrix of "
            f"{whose} would have a negative eigenvalue; remove features as they were in update"
        )
