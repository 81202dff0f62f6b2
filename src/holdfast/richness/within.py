"""Plain factors before and behind a module, where the module itself has no place for one."""

from dataclasses import dataclass
from typing import Any

from torch import nn


@dataclass(frozen=True)
class ScaleInput:
    """A hook that multiplies the first argument of a layer by the layer's ``multiplier``.

    The first that is given by name, where none is given by position.
    """

    def __call__(
        self, layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments to go on with."""
        if args:
            return (args[0] * layer.multiplier, *args[1:]), kwargs
        first = next(iter(kwargs))
        return args, {**kwargs, first: kwargs[first] * layer.multiplier}


@dataclass(frozen=True)
class ScaleOutput:
    """A hook that multiplies what a module gives, of several outputs the first."""

    factor: float

    def __call__(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        """The output to go on with."""
        if isinstance(output, tuple):
            return (output[0] * self.factor, *output[1:])
        return output * self.factor
