"""The registry of closed rules for the diagonal Fisher, by type of layer."""

from collections.abc import Callable
from typing import Any, TypeVar

from torch import Tensor, nn

Rule = Callable[[Any, tuple[Any, ...], Tensor], dict[str, Tensor]]
"""(layer, inputs of its call, grads) -> squared gradients summed over samples, by parameter name.

`inputs` are the arguments of the layer's one call in the forward pass, the first dimension of the
first being the sample. `grads` (k, n, ...) holds the gradients of k scalars of each sample with
respect to the layer's output (n, ...). A parameter w gets

    sum_k sum_n (d scalar_kn / dw)^2,

the square taken of each sample's whole gradient, after the sum over positions of a sequence or
image. Names are relative to the layer; a parameter left out is dealt with by differentiation.
"""

_R = TypeVar("_R", bound=Rule)
_rules: dict[type[nn.Module], Rule] = {}


def rule(*layers: type[nn.Module]) -> Callable[[_R], _R]:
    """Register the decorated function as the `Rule` of these layer types.

    A rule holds for the exact type alone: a subclass may compute something else. A rule for a
    type that has one already replaces it.
    """

    def register(function: _R) -> _R:
        for layer in layers:
            _rules[layer] = function
        return function

    return register


def rule_for(layer: nn.Module) -> Rule | None:
    """The rule of this layer's type, if there is one."""
    return _rules.get(type(layer))
