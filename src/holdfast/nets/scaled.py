"""Layers whose weight is multiplied by a plain number on the way: w = multiplier * raw weight.

The number is an attribute of the module and no part of its state: a parameter keeps raw entries of
order one, and how much it counts is told by the module it lives in. Which number, and why, is the
business of `holdfast.richness`.
"""

import math
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear

Role = Literal["input", "hidden", "readout", "vector", "offset"]
"""What a parameter is to a net that is made wider: a matrix from an input of fixed size, between
two widths, or to outputs of fixed number; a vector of one width; the bias of a readout."""


@dataclass(frozen=True)
class Scaling:
    """How a layer scales with the width, and with what it moves.

    Args:
        parametrization: ``mup``, ``ntp`` or ``sp``.
        roles: of the layer's own parameters, by name.
        std: of the raw entries of its weight at the start; `None` draws as the layer itself does.
        gain: by which the weight is multiplied beyond 1 / sqrt(fan-in).
        fan_in: number of terms in the sum behind one output; `None` for what is no sum.
        gamma: the output of the net is divided by it.
        ratio: width of the net over its base width, N / N_0.
        base: N_0.
        branch: factor of the residual branch the layer is in; 1 elsewhere.
    """

    parametrization: str
    roles: dict[str, Role]
    std: float | None = None
    gain: float = 1.0
    fan_in: int | None = None
    gamma: float = 1.0
    ratio: float = 1.0
    base: int = 64
    branch: float = 1.0


@dataclass(frozen=True)
class Readout:
    """How the rows of a head start and count.

    Args:
        multiplier: of the weight.
        std: of the raw weight at the start, with biases of 0; `None` draws both uniform in
            +-1/sqrt(width), as `torch.nn.Linear` does.
        scaling: of the head's layer, where it has one.
    """

    multiplier: float = 1.0
    std: float | None = None
    scaling: Scaling | None = field(default=None, repr=False)

    def draw(
        self, rows: int, width: int, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor]:
        """Raw weight (rows, width) and bias (rows,) of new rows."""
        weight = torch.empty(rows, width)
        if self.std is not None:
            return weight.normal_(generator=generator) * self.std, torch.zeros(rows)
        bound = 1 / math.sqrt(width)
        weight.uniform_(-bound, bound, generator=generator)
        return weight, torch.empty(rows).uniform_(-bound, bound, generator=generator)


class Scaled(nn.Module):
    """What scaled layers share: `multiplier`, and raw weights drawn anew by their `scaling`."""

    multiplier: float
    scaling: Scaling

    def reset_parameters(self) -> None:
        """Draw from torch's global generator."""
        if self.scaling.std is None:
            super().reset_parameters()  # type: ignore[misc]
        else:
            draw(self)

    def extra_repr(self) -> str:
        """That of the layer, and the multiplier."""
        return f"{super().extra_repr()}, multiplier={self.multiplier:.4g}"


class ScaledLinear(Scaled, nn.Linear):
    """y = multiplier W x + b."""

    def forward(self, input: Tensor) -> Tensor:
        """(..., in_features) -> (..., out_features)."""
        return linear(input, self.weight, self.bias, self.multiplier)


class ScaledConv1d(Scaled, nn.Conv1d):
    """A convolution with multiplier W."""

    def forward(self, input: Tensor) -> Tensor:
        """As `torch.nn.Conv1d`."""
        return self._conv_forward(input, self.weight * self.multiplier, self.bias)


class ScaledConv2d(Scaled, nn.Conv2d):
    """A convolution with multiplier W."""

    def forward(self, input: Tensor) -> Tensor:
        """As `torch.nn.Conv2d`."""
        return self._conv_forward(input, self.weight * self.multiplier, self.bias)


class ScaledConv3d(Scaled, nn.Conv3d):
    """A convolution with multiplier W."""

    def forward(self, input: Tensor) -> Tensor:
        """As `torch.nn.Conv3d`."""
        return self._conv_forward(input, self.weight * self.multiplier, self.bias)


class ScaledEmbedding(Scaled, nn.Embedding):
    """Rows of multiplier W."""

    def forward(self, input: Tensor) -> Tensor:
        """As `torch.nn.Embedding`."""
        rows = super().forward(input)
        return rows if self.multiplier == 1.0 else rows * self.multiplier


class ScaledProjection(Scaled, NonDynamicallyQuantizableLinear):
    """A linear layer whose weight others read instead of calling it.

    So does `torch.nn.MultiheadAttention` with its last layer, and in evaluation
    `torch.nn.TransformerEncoderLayer` with both of its linear layers. The attribute ``weight`` is
    therefore the scaled one; the raw one is a parameter of that name.
    """

    @property
    def weight(self) -> Any:
        """(out, in), scaled."""
        return cast(Tensor, self._parameters["weight"]) * self.multiplier

    @weight.setter
    def weight(self, value: Any) -> None:
        self.register_parameter("weight", value)


class ScaledMultiheadAttention(Scaled, nn.MultiheadAttention):
    """Attention with scaled projections, for queries, keys and values of one width.

    Its attributes ``in_proj_weight`` and ``in_proj_bias`` are the scaled ones; the raw ones are
    parameters of these names. Logits are multiplied by `logit_factor`, in that queries are.
    """

    logit_factor: float = 1.0

    @property
    def in_proj_weight(self) -> Any:
        """(3 width, width), scaled."""
        raw = self._parameters["in_proj_weight"]
        return None if raw is None else self._scale_queries(raw * self.multiplier)

    @in_proj_weight.setter
    def in_proj_weight(self, value: nn.Parameter | None) -> None:
        self.register_parameter("in_proj_weight", value)

    @property
    def in_proj_bias(self) -> Any:
        """(3 width,), that of queries scaled."""
        raw = self._parameters["in_proj_bias"]
        return None if raw is None else self._scale_queries(raw)

    @in_proj_bias.setter
    def in_proj_bias(self, value: nn.Parameter | None) -> None:
        self.register_parameter("in_proj_bias", value)

    def _scale_queries(self, stacked: Tensor) -> Tensor:
        if self.logit_factor == 1.0:
            return stacked
        width = self.embed_dim
        return torch.cat([stacked[:width] * self.logit_factor, stacked[width:]])


SCALED: dict[type[nn.Module], type[Scaled]] = {
    nn.Linear: ScaledLinear,
    nn.Conv1d: ScaledConv1d,
    nn.Conv2d: ScaledConv2d,
    nn.Conv3d: ScaledConv3d,
    nn.Embedding: ScaledEmbedding,
    NonDynamicallyQuantizableLinear: ScaledProjection,
    nn.MultiheadAttention: ScaledMultiheadAttention,
}
"""The scaled form of each layer type."""


def linear(x: Tensor, weight: Tensor, bias: Tensor | None, multiplier: float = 1.0) -> Tensor:
    """Multiplier times W x, plus b."""
    if multiplier == 1.0:
        return functional.linear(x, weight, bias)
    # A compiler fuses the product, and must not be told how many rows there are.
    if torch.compiler.is_compiling() or x.numel() >= weight.shape[1] ** 2:
        return functional.linear(x, weight * multiplier, bias)
    # Fewer rows than inputs: the output has fewer entries than the weight.
    y = functional.linear(x, weight)
    if bias is None:
        return y * multiplier
    # Under autocast the product has another dtype, which the sum is to keep.
    bias = bias if bias.dtype == y.dtype else bias.to(y.dtype)
    return torch.add(bias, y, alpha=multiplier)


def scale(layer: nn.Module, multiplier: float, scaling: Scaling, read: bool = False) -> None:
    """Make a layer its scaled form, in place: the object, its parameters and hooks stay.

    Args:
        layer: of a type in `SCALED`, or scaled already.
        multiplier: of its weight.
        scaling: see `Scaling`.
        read: whether another module reads the weight of this linear layer; see `ScaledProjection`.

    Raises:
        TypeError: the type of the layer has no scaled form (see `SCALED`).
    """
    kind = type(layer)
    if not isinstance(layer, Scaled):
        if kind not in SCALED:
            raise TypeError(f"{kind.__name__} has no scaled form; there are {list(SCALED)}")
        layer.__class__ = ScaledProjection if read else SCALED[kind]
    layer.multiplier, layer.scaling = float(multiplier), scaling  # type: ignore[assignment]


@torch.no_grad()
def draw(module: nn.Module) -> None:
    """Draw the own parameters of a module with `scaling.std` anew: matrices normal, biases 0."""
    scaling: Scaling = module.scaling  # type: ignore[assignment]
    assert scaling.std is not None
    for name, parameter in module.named_parameters(recurse=False):
        if scaling.roles[name] in ("vector", "offset"):
            parameter.zero_()
        else:
            parameter.normal_().mul_(scaling.std)
    if isinstance(module, nn.Embedding):
        module._fill_padding_idx_with_zero()
