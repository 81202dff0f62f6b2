"""The nonlinearities that are recognised in a forward pass, and what is known of them."""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

_ABOVE, _BELOW = (0.0, math.inf), (-math.inf, 0.0)


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


_RELU = Nonlinearity("relu", (_ABOVE,), nonnegative=True)
_LEAKY = (_ABOVE, _BELOW)
_ROWS: tuple[tuple[Nonlinearity, tuple[Callable[..., Any], ...]], ...] = (
    (_RELU, (functional.relu, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_)),
    (Nonlinearity("relu6", ((0.0, 6.0),), nonnegative=True), (functional.relu6,)),
    (Nonlinearity("leaky_relu", _LEAKY), (functional.leaky_relu, functional.leaky_relu_)),
    (Nonlinearity("rrelu", _LEAKY), (functional.rrelu, torch.rrelu, functional.rrelu_)),
    (Nonlinearity("prelu", _LEAKY), (functional.prelu, torch.prelu, Tensor.prelu)),
    (
        Nonlinearity("tanh", bounds=(-1.0, 1.0)),
        (functional.tanh, torch.tanh, torch.tanh_, Tensor.tanh, Tensor.tanh_),
    ),
    (
        Nonlinearity("sigmoid", bounds=(0.0, 1.0), nonnegative=True, signed=False),
        (functional.sigmoid, torch.sigmoid, torch.sigmoid_, Tensor.sigmoid, Tensor.sigmoid_),
    ),
    (
        Nonlinearity("hardsigmoid", ((0.0, 1.0),), (0.0, 1.0), True, False),
        (functional.hardsigmoid,),
    ),
    (Nonlinearity("softsign", bounds=(-1.0, 1.0)), (functional.softsign,)),
    (
        Nonlinearity("hardtanh"),
        (functional.hardtanh, functional.hardtanh_),
    ),  # its bounds are options
    (Nonlinearity("gelu"), (functional.gelu,)),
    (Nonlinearity("silu"), (functional.silu,)),
    (Nonlinearity("mish"), (functional.mish,)),
    (Nonlinearity("hardswish"), (functional.hardswish,)),
    (Nonlinearity("elu"), (functional.elu, functional.elu_)),
    (Nonlinearity("celu"), (functional.celu, torch.celu, functional.celu_)),
    (Nonlinearity("selu"), (functional.selu, torch.selu, functional.selu_)),
    (Nonlinearity("softplus", nonnegative=True, signed=False), (functional.softplus,)),
    (Nonlinearity("logsigmoid", signed=False), (functional.logsigmoid,)),
)
_KNOWN = {function: row for row, functions in _ROWS for function in functions}

OUTPUT = Nonlinearity("output")
"""The output of a module that was asked for, of which nothing is known."""

_CONVOLUTIONS = frozenset({
    functional.conv1d, functional.conv2d, functional.conv3d, functional.conv_transpose1d, functional.conv_transpose2d, functional.conv_transpose3d,
})  # fmt: skip
_LINEAR = frozenset({
    functional.linear, functional.bilinear, torch.matmul, Tensor.matmul, Tensor.__matmul__, torch.addmm, torch.mm,
    Tensor.mm, torch.bmm, Tensor.bmm, torch.baddbmm, torch.einsum,
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
    return known._replace(linear=(bounds,), bounds=bounds)


def unit_axis(function: Callable[..., Any]) -> int | None:
    """The axis along which a linear map puts its units: 1 for convolutions, else the last.

    `None` for a function that is no linear map.
    """
    if function in _CONVOLUTIONS:
        return 1
    return -1 if function in _LINEAR else None
