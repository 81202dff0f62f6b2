"""Where training left the finite numbers."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Diverged(Exception):  # noqa: N818
    """Training left the finite numbers.

    Args:
        step: updates made in the whole run until then.
        reason: what is no longer finite.
    """

    def __init__(self, step: int, reason: str) -> None:
        super().__init__(reason)
        self.step, self.reason = step, reason


def first_bad(losses: Float[Tensor, " steps"]) -> int | None:
    """The position of the first loss that is NaN or infinite."""
    bad = ~torch.isfinite(losses)
    return int(bad.nonzero()[0]) if bool(bad.any()) else None


def bad_parameter(module: nn.Module) -> str | None:
    """The name of a parameter that holds NaN or infinity."""
    for name, parameter in module.named_parameters():
        values = parameter.detach()
        values = torch.view_as_real(values) if values.is_complex() else values
        if values.numel() and not all(map(math.isfinite, values.aminmax())):
            return name
    return None
