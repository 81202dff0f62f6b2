"""Plain factors before and behind a module, where the module itself has no place for one."""

from dataclasses import dataclass
from typing import Any

from torch import nn


@dataclass(frozen=True)
class ScaleInput:
    """A hook that multiplies the first argument of a layer by the layer's ``multiplier``."""

    def __call__(self, layer: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """The arguments to go on with."""
        return (args[0] * layer.multiplier, *args[1:])


@dataclass(frozen=True)
class ScaleOutput:
    """A hook that multiplies what a module gives, of several outputs the first."""

    factor: float

    def __call__(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        """The output to go on with."""
        if isinstance(output, tuple):
            return (output[0] * self.factor, *output[1:])
        return output * self.factor
