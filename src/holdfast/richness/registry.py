"""What a parametrization must know of layers, of blocks with residual branches, of attention."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from torch import nn


@dataclass(frozen=True)
class Matrix:
    """A layer whose parameters are one weight, and vectors.

    Args:
        fan_in: number of terms in the sum behind one output; `None` for a table of rows, of which
            one is chosen: it counts with multiplier 1.
        fan_out: the layer's width.
        weight: name of the parameter.
        grows: whether the fan-in is larger in a wider net; that of a depthwise convolution is not.

    Raises:
        ValueError: a fan that is no positive integer.
    """

    fan_in: int | None
    fan_out: int
    weight: str = "weight"
    grows: bool = True

    def __post_init__(self) -> None:
        for name, fan in (("fan_in", self.fan_in or 1), ("fan_out", self.fan_out)):
            if self.fan_in == 0 or type(fan) is not int or fan < 1:
                raise ValueError(
                    f"{name} must be a positive integer, got {getattr(self, name)!r}: a rule gives "
                    "the number of terms in the sum behind one output, or None for a table"
                )


@dataclass(frozen=True)
class Vectors:
    """A layer whose parameters are vectors alone: gains, biases, learned tokens.

    They start as the layer itself draws them and move with the rate of vectors.

    Args:
        tokens: names of learned tokens and positions, tables of rows that are added to the stream:
            they start as the rows of an embedding do. The layer's other parameters then start at 0.
    """

    tokens: tuple[str, ...] = ()


@dataclass(frozen=True)
class Branches:
    """The residual branches of a block.

    Args:
        ends: names, within the block, of the modules whose outputs are added to the residual
            stream; each counts as one branch.
        inside: names of the modules whose parameters are in a branch; empty for the whole block.
        behind: by name of a layer, that of the module it is called after, where the order in which
            the block holds its modules is not that in which it calls them.
    """

    ends: tuple[str, ...]
    inside: tuple[str, ...] = field(default=())
    behind: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Attention:
    """Attention, whose logits are queries times keys times a factor.

    Args:
        head_dim: width d of a head.
        factor: name of the module's attribute that holds the factor, as a rule 1 / sqrt(d).
    """

    head_dim: int
    factor: str = "scaling"


Description = Matrix | Vectors
LayerRule = Callable[[Any], Description]
BranchRule = Callable[[Any], Branches]
AttentionRule = Callable[[Any], Attention]

_L = TypeVar("_L", bound=LayerRule)
_B = TypeVar("_B", bound=BranchRule)
_A = TypeVar("_A", bound=AttentionRule)
_layers: dict[type[nn.Module] | str, LayerRule] = {}
_blocks: dict[type[nn.Module] | str, BranchRule] = {}
_attentions: dict[type[nn.Module] | str, AttentionRule] = {}


def layer_rule(*kinds: type[nn.Module] | str) -> Callable[[_L], _L]:
    """Register the decorated function as the rule of these layer types.

    It is given a layer of such a type and says what its own parameters are: `Matrix` or `Vectors`.
    A matrix layer must be linear in its first argument, which is multiplied before the layer is
    called, unless it is one of those that `holdfast.nets.scaled` has a scaled form of.

    Args:
        kinds: classes, or their full names (``package.module.Class``) where importing them is too
            much to ask. A rule holds for the exact type; a new one replaces the old.
    """

    def register(function: _L) -> _L:
        for kind in kinds:
            _layers[kind] = function
        return function

    return register


def branch_rule(*kinds: type[nn.Module] | str) -> Callable[[_B], _B]:
    """Register the decorated function as what finds the `Branches` of blocks of these types."""

    def register(function: _B) -> _B:
        for kind in kinds:
            _blocks[kind] = function
        return function

    return register


def attention_rule(*kinds: type[nn.Module] | str) -> Callable[[_A], _A]:
    """Register the decorated function as what finds the `Attention` of modules of these types."""

    def register(function: _A) -> _A:
        for kind in kinds:
            _attentions[kind] = function
        return function

    return register


def describe_layer(layer: nn.Module) -> Description | None:
    """What the rule of this layer's type says, if there is one."""
    rule = _found(_layers, layer)
    return None if rule is None else rule(layer)


def find_branches(block: nn.Module) -> Branches | None:
    """The branches of this block, if its type has a rule."""
    rule = _found(_blocks, block)
    return None if rule is None else rule(block)


def find_attention(module: nn.Module) -> Attention | None:
    """The attention of this module, if its type has a rule."""
    rule = _found(_attentions, module)
    return None if rule is None else rule(module)


def _found(rules: dict[type[nn.Module] | str, Any], module: nn.Module) -> Any:
    kind = type(module)
    return rules.get(kind) or rules.get(f"{kind.__module__}.{kind.__qualname__}")
