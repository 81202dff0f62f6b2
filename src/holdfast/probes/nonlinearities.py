"""The nonlinearities that are recognised in a forward pass, and what is known of them."""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional


class Nonlinearity(NamedTuple):
    """What is known of a nonlinearity from its outputs.

    kind: its name.
    linear: the open intervals of outputs within each of which it is linear and not constant.
    bounds: which its outputs approach, where it passes no gradient.
    nonnegative: whether no output is below 0.
    signed: whether an output is above 0 just where the input is.
    """

    kind: str
    linear: tuple[tuple[float, float], ...] = ()
    bounds: tuple[float, float] | None = None
    nonnegative: bool = False
    signed: bool = True


OUTPUT = Nonlinearity("output")
"""The output of a module that was asked for, of which nothing is known."""

_ABOVE, _BELOW = (0.0, math.inf), (-math.inf, 0.0)
_KINDS = (
    Nonlinearity("relu", (_ABOVE,), nonnegative=True),
    Nonlinearity("relu6", ((0.0, 6.0),), nonnegative=True),
    *(Nonlinearity(kind, (_ABOVE, _BELOW)) for kind in ("leaky_relu", "rrelu", "prelu")),
    *(Nonlinearity(kind, bounds=(-1.0, 1.0)) for kind in ("tanh", "softsign")),
    Nonlinearity("hardtanh"),  # its bounds are options
    Nonlinearity("sigmoid", (), (0.0, 1.0), nonnegative=True, signed=False),
    Nonlinearity("hardsigmoid", ((0.0, 1.0),), (0.0, 1.0), nonnegative=True, signed=False),
    Nonlinearity("softplus", nonnegative=True, signed=False),
    Nonlinearity("logsigmoid", signed=False),
    *map(Nonlinearity, ("gelu", "silu", "mish", "hardswish", "elu", "celu", "selu")),
)
_KNOWN = {
    getattr(place, name): known
    for known in _KINDS
    for place in (functional, torch, Tensor)
    for name in (known.kind, f"{known.kind}_")  # in place
    if hasattr(place, name)
}
_CONVOLUTIONS = frozenset(
    getattr(functional, f"{kind}{d}d") for kind in ("conv", "conv_transpose") for d in (1, 2, 3)
)
_LINEAR = frozenset({
    functional.linear, functional.bilinear, Tensor.__matmul__, torch.matmul, Tensor.matmul,
    torch.mm, Tensor.mm, torch.bmm, Tensor.bmm, torch.addmm, torch.baddbmm, torch.einsum,
})  # fmt: skip


def nonlinearity(
    function: Callable[..., Any], options: Mapping[str, Any] | None = None
) -> Nonlinearity | None:
    """What is known of a function of torch; `None` for one that is no nonlinearity.

    Args:
        function: as a `torch.overrides.TorchFunctionMode` sees it.
        options: its keyword arguments, as seen there.

    >>> nonlinearity(torch.tanh)
    Nonlinearity(kind='tanh', linear=(), bounds=(-1.0, 1.0), nonnegative=False, signed=True)
    """
    known = _KNOWN.get(function)
    if known is None or known.kind != "hardtanh":
        return known
    options = options or {}
    bounds = float(options.get("min_val", -1.0)), float(options.get("max_val", 1.0))
    if bounds[0] == 0:  # a ReLU with a ceiling, such as nn.ReLU6: at 0 it is off
        return known._replace(linear=(bounds,), nonnegative=True)
    return known._replace(linear=(bounds,), bounds=bounds, signed=bounds[0] < 0 < bounds[1])


def unit_axis(function: Callable[..., Any]) -> int | None:
    """The axis along which a linear map puts its units: 1 for convolutions, else the last.

    `None` for a function that is no linear map.
    """
    if function in _CONVOLUTIONS:
        return 1
    return -1 if function in _LINEAR else None
