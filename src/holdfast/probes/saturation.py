"""How many outputs of a bounded nonlinearity lie at a bound, where it passes no gradient."""

import torch
from jaxtyping import Float
from torch import Tensor

from holdfast.probes.units import Shares, unit_shares


def saturation(
    activations: Float[Tensor, "n *shape"], low: float = -1.0, high: float = 1.0, eps: float = 0.01
) -> float:
    """Share of activations within `eps` of a bound, eps in units of half the range.

        share of |2 (h - low) / (high - low) - 1| > 1 - eps

    For a tanh the share with |h| > 1 - eps; for a sigmoid (``low=0``) that with h < eps / 2 or
    h > 1 - eps / 2: the same share, as sigmoid(2 z) = (1 + tanh(z)) / 2. NaN of no activations.

    Args:
        activations: outputs of the nonlinearity, units last.
        low: its lower bound.
        high: its upper bound.
        eps: between 0 and 1.

    Raises:
        ValueError: an eps outside (0, 1), or bounds in the wrong order.

    >>> saturation(torch.tensor([[-1.0, 0.0], [0.5, 0.999]]))
    0.5
    """
    return saturated_shares(activations, low, high, checked_eps(eps)).mean().item()


def saturated_shares(
    activations: Float[Tensor, "n *shape"], low: float, high: float, eps: float
) -> Shares:
    """`saturation` of each unit.

    Raises:
        ValueError: bounds in the wrong order.
    """
    if not low < high:
        raise ValueError(f"low must be below high, got {low} and {high}")
    half = (high - low) / 2

    def holds(h: Tensor, out: Tensor) -> Tensor:
        return torch.gt((h - (low + half)).abs(), half * (1 - eps), out=out)

    return unit_shares(activations, holds)


def checked_eps(eps: float) -> float:
    """The eps of `saturation`.

    Raises:
        ValueError: outside (0, 1).
    """
    if not 0 < eps < 1:
        raise ValueError(f"eps must lie between 0 and 1, got {eps}")
    return eps
