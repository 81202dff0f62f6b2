"""Units that do little, nothing, or nothing but what a linear unit does.

The functions take activations h (n, ..., units) of n samples, with any axes for positions between
samples and units: space for convolutions (move their channels to the end), tokens for transformers.
All are counted alike, as more samples.
"""

import math
from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Bool, Float
from torch import Tensor

Activations = Float[Tensor, "n *positions units"]
Shares = Float[Tensor, " units"]

_PART = 1 << 18

THRESHOLD = 0.025
"""Up to which score a unit is dormant: of Sokar et al.'s values, that of their experiments."""


def magnitudes(activations: Activations) -> Shares:
    """Mean size E|h_i| of each unit over samples and positions."""
    h = _rows(activations)
    return torch.linalg.vector_norm(h, 1, dim=(0, 1)) / (h.shape[0] * h.shape[1])


def dormancy(activations: Activations) -> Shares:
    """Score of each unit: its mean size over that of its layer.

        score_i = E|h_i| / (mean_k E|h_k| + 1e-9)

    The mean E runs over samples and positions, of sizes, so before any averaging over space. 0 for
    a dead unit, 1 for one of mean size; the scores of a layer have mean 1. Sokar et al., "The
    dormant neuron phenomenon", 2023, equation 1; the 1e-9 is that of their code.

    >>> dormancy(torch.tensor([[1.0, 0.0, -2.0], [1.0, 0.0, 4.0]])).tolist()
    [0.75, 0.0, 2.25]
    """
    return relative(magnitudes(activations))


def relative(sizes: Shares) -> Shares:
    """`dormancy` from the `magnitudes` of the units."""
    return sizes / (sizes.mean() + 1e-9)


def dormant_units(activations: Activations, threshold: float = THRESHOLD) -> Bool[Tensor, " units"]:
    """Which units have a score of at most `threshold`: `dormancy`.

    Relative to the layer: it sees no layer that sinks as a whole, and a unit can become dormant
    because others grow.

    Raises:
        ValueError: a threshold below 0.
    """
    return dormancy(activations) <= checked_threshold(threshold)


def nonzero_shares(activations: Activations) -> Shares:
    """Share of samples and positions at which each unit is not 0."""
    return unit_shares(activations, partial(torch.ne, other=0))


def dead_units(activations: Activations, share: float = 0.0) -> Bool[Tensor, " units"]:
    """Which units are 0 on all samples and positions, or but for at most a `share` of them.

    Dohare et al. (2024) count a share below .01 as dead. A unit that is dead on this batch may be
    alive on another: with n samples one that fires on a share p is taken for dead with
    probability (1 - p)^n. Of a tanh, a GELU or a SiLU none is ever exactly 0.

    Raises:
        ValueError: a share outside [0, 1).
    """
    return nonzero_shares(activations) <= checked_dead_share(share)


def shares_within(activations: Activations, low: float, high: float) -> Shares:
    """Share of samples and positions at which each unit lies strictly between two values."""
    if math.isinf(high):
        return unit_shares(activations, partial(torch.gt, other=low))
    return unit_shares(activations, lambda h, out: out.copy_((h > low) & (h < high)))


def linearised_units(
    activations: Activations, share: float = 1.0, low: float = 0.0, high: float = math.inf
) -> Bool[Tensor, " units"]:
    """Which units are linear on at least a `share` of the samples: alive, but no nonlinearity.

    For a ReLU, those with a positive pre-activation, which is to say a positive output, on all
    samples ("zombies"); no count of dead or dormant units sees them (Lyle et al., 2024). Between
    `low` and `high` the nonlinearity is the identity, up to a factor.

    Raises:
        ValueError: a share outside (0, 1].

    >>> linearised_units(torch.tensor([[1.0, 0.0, 2.0], [3.0, 1.0, 0.5]])).tolist()
    [True, False, True]
    """
    return shares_within(activations, low, high) >= checked_share(share)


def unit_shares(activations: Activations, holds: Callable[..., Tensor]) -> Shares:
    """Share of samples and positions at which something holds for each unit.

    Args:
        activations: see above.
        holds: called as ``holds(h, out=out)`` with a part of them, to write 1 where it holds, else
            0, into a float tensor of the same shape.
    """
    h = _rows(activations)
    _, positions, units = h.shape
    # In parts that stay in a core's cache, and with no boolean tensor, whose sum is slow: a tenth
    # of the time of (h > 0).float().mean((0, 1)) for the maps of a convolution.
    part = len(h) if h.is_cuda else max(1, _PART // max(1, positions * units))
    room, found = torch.empty_like(h[:part]), h.new_zeros(units)
    for rows in h.split(part):
        out = room[: len(rows)]
        holds(rows, out=out)
        found += out.sum(dim=(0, 1))
    return found / (len(h) * positions)


def checked_threshold(threshold: float) -> float:
    """A threshold of `dormant_units`.

    Raises:
        ValueError: below 0.
    """
    if not threshold >= 0:
        raise ValueError(f"threshold must be 0 or more, got {threshold}")
    return threshold


def checked_dead_share(share: float) -> float:
    """A share of `dead_units`.

    Raises:
        ValueError: outside [0, 1).
    """
    if not 0 <= share < 1:
        raise ValueError(f"share of a dead unit must lie in [0, 1), got {share}")
    return share


def checked_share(share: float) -> float:
    """A share of `linearised_units`.

    Raises:
        ValueError: outside (0, 1].
    """
    if not 0 < share <= 1:
        raise ValueError(f"share of a linearised unit must lie in (0, 1], got {share}")
    return share


def _rows(activations: Tensor) -> Tensor:
    """(n, positions, units), a view where it can be; in float32 at least, for its sums."""
    h = activations.reshape(len(activations), -1, activations.shape[-1])
    return h.float() if h.dtype in (torch.float16, torch.bfloat16) else h
