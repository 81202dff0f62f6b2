"""Where training left the finite numbers."""

import cmath

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
        # The sum is fast and not finite if a value is not; it may also overflow, so look again.
        total = values.sum(dtype=torch.promote_types(values.dtype, torch.float32)).item()
        if not cmath.isfinite(total) and not bool(torch.isfinite(values).all()):
            return name
    return None
