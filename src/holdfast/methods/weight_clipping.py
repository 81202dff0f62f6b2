"""Weights clipped to a bound that the fan-in of their layer sets."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from holdfast.methods.arguments import check_number
from holdfast.methods.method import Method
from holdfast.methods.weights import Weight, weights
from holdfast.nets.learner import Learner
from holdfast.streams.batches import Batch
from holdfast.streams.context import Context
from holdfast.streams.stream import Stream


class WeightClipping(Method):
    """Clip every weight w and bias b of a layer after each step.

        |w|, |b| <= kappa / sqrt(fan-in of the layer).

    torch draws linear layers and convolutions uniform within 1 / sqrt(fan-in), so that kappa is the
    bound in units of the start's. Norm layers, learned tokens and tables of embeddings are left
    alone: a bound by some fan-in would crush gains of 1. In a parametrized net
    (`holdfast.richness`) w is what the layer multiplies with, multiplier and all.

    Elsayed, Lan, Lyle & Mahmood, "Weight Clipping for Deep Continual and Reinforcement Learning",
    2024.

    Args:
        kappa: of the bound.
        clip_head: whether the heads are clipped too.
    """

    def __init__(self, *, kappa: float = 2.0, clip_head: bool = True) -> None:
        check_number("kappa", kappa, positive=True)
        self.kappa, self.clip_head = kappa, clip_head
        self._weights: list[Weight] | None = None

    def check(self, learner: Learner, stream: Stream) -> None:
        """Refuse layers whose fan-in is not known.

        Raises:
            ValueError: naming the layer.
        """
        self._found(learner)

    def begin_task(self, learner: Learner, context: Context) -> None:
        """Heads have grown, and what is trained may be something else now."""
        self._weights = None

    def after_step(self, learner: Learner, batch: Batch, context: Context) -> None:
        """Clip."""
        if self._weights is None:
            self._weights = self._found(learner)
        _clip(self._weights, self.kappa)

    def end_task(self, learner: Learner, context: Context) -> None:
        """Nothing of the learner is kept."""
        self._weights = None

    def _found(self, learner: Learner) -> list[Weight]:
        return weights(learner, () if self.clip_head else ("heads",))


def clip_weights(model: nn.Module, kappa: float = 2.0, skip: Sequence[str] = ()) -> None:
    """Clip the weights and biases of a model in place, as `WeightClipping` does after each step.

    For a training loop of one's own, behind ``optimizer.step()``.

    Args:
        model: any module.
        kappa: of the bound kappa / sqrt(fan-in).
        skip: paths of modules that are left as they are, the last layer, say.

    Raises:
        TypeError, ValueError: a `kappa` that is not positive, or see
            `holdfast.methods.weights.weights`; nothing has been changed then.

    >>> layer = nn.Linear(4, 1)
    >>> _ = nn.init.constant_(layer.weight, 3.0)
    >>> clip_weights(layer, kappa=2.0)
    >>> layer.weight.tolist()
    [[1.0, 1.0, 1.0, 1.0]]
    """
    check_number("kappa", kappa, positive=True)
    _clip(weights(model, skip), kappa)


@torch.no_grad()
def _clip(found: Sequence[Weight], kappa: float) -> None:
    clipped: list[Tensor] = []
    bounds: list[float] = []
    for weight in found:
        bound = kappa / math.sqrt(weight.fan_in)
        clipped += [weight.parameter, *weight.biases]
        bounds += [bound / abs(weight.multiplier), *(bound for _ in weight.biases)]
    if clipped:
        torch._foreach_clamp_max_(clipped, bounds)
        torch._foreach_clamp_min_(clipped, [-bound for bound in bounds])
