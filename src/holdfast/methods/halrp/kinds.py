"""The kinds of layers that can be perturbed, and what of their weight is a matrix."""

from dataclasses import dataclass
from typing import Literal, cast, get_args

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.parameter import UninitializedParameter

from holdfast.nets.scaled import Scaled, ScaledProjection

ConvMode = Literal["constant", "flat", "separable"]
"""Which matrix of a kernel (out, in, kh, kw) has low rank: ``constant``: one (out, in) for every
place of the window; ``flat``: (out) x (in kh kw); ``separable``: (out kh) x (in kw)."""

Layer = nn.Linear | nn.Conv1d | nn.Conv2d
_TORCH = (nn.Linear, nn.Conv1d, nn.Conv2d)


def is_transposed(layer: nn.Module) -> bool:
    """Whether it is a `transformers` Conv1D, as in GPT-2: a linear layer with weight (in, out)."""
    kind = type(layer)
    return kind.__name__ == "Conv1D" and kind.__module__.startswith("transformers.")


def is_perturbed_kind(layer: nn.Module) -> bool:
    """Whether a layer is of a kind with a rule, whatever `obstacle` finds in this one."""
    return isinstance(layer, _TORCH) or is_transposed(layer)


def obstacle(layer: nn.Module) -> str | None:
    """Why this layer cannot be perturbed though its kind can; `None` if it can."""
    weight = layer._parameters.get("weight")
    if isinstance(weight, UninitializedParameter):
        return "is lazy and has no weight yet: call the model on a batch first"
    if weight is None:
        return "computes its weight (a torch parametrization, weight norm or pruning)"
    kind = type(layer)
    if not issubclass(kind, Scaled) and not is_transposed(layer):
        plain = next(k for k in _TORCH if issubclass(kind, k))
        if kind.forward is not plain.forward:
            return f"has a forward of its own ({kind.__name__})"
    shape = Shape.of(layer)
    if raw_weight(layer).shape[:2] != (shape.out, shape.into) or not weight.is_floating_point():
        return f"holds its weight packed ({weight.dtype}, {tuple(weight.shape)})"
    return None


def raw_weight(layer: nn.Module) -> Tensor:
    """The parameter itself as (out, in, ...), without the multiplier of a parametrization."""
    weight = cast(Tensor, layer._parameters["weight"])
    return weight.T if is_transposed(layer) else weight


def read_factor(layer: nn.Module) -> float:
    """By which what others read as ``layer.weight`` is the raw weight."""
    return multiplier(layer) if isinstance(layer, ScaledProjection) else 1.0


def check_conv_mode(conv: str) -> None:
    """Refuse an unknown mode.

    Raises:
        ValueError: naming the modes there are.
    """
    if conv not in get_args(ConvMode):
        raise ValueError(f"conv must be one of {get_args(ConvMode)}, got {conv!r}")


@dataclass(frozen=True)
class Shape:
    """The shape of a layer's weight, and of the matrix in it that gets low rank.

    Args:
        out: output features or channels.
        into: input features, or input channels of one group.
        kernel: (1, 1) of a linear layer, (1, k) of a one-dimensional convolution.
        groups: of a convolution; 1 else.
        conv: the mode, see `ConvMode`.
    """

    out: int
    into: int
    kernel: tuple[int, int]
    groups: int
    conv: ConvMode

    @classmethod
    def of(cls, layer: nn.Module, conv: ConvMode = "flat") -> "Shape":
        """That of a linear layer or a convolution.

        Raises:
            ValueError: another kind of layer.
        """
        if isinstance(layer, nn.Linear):
            return cls(layer.out_features, layer.in_features, (1, 1), 1, conv)
        if is_transposed(layer):
            into, out = cast(Tensor, layer.weight).shape
            return cls(out, into, (1, 1), 1, conv)
        if isinstance(layer, nn.Conv1d | nn.Conv2d):
            kernel = cast(tuple[int, int], (1, *layer.kernel_size)[-2:])
            return cls(
                layer.out_channels, layer.in_channels // layer.groups, kernel, layer.groups, conv
            )
        raise ValueError(
            f"layer must be one of {', '.join(k.__name__ for k in _TORCH)} or Conv1D of "
            f"transformers, got {type(layer).__name__}"
        )

    @property
    def rows(self) -> int:
        """Of the matrix."""
        return self.out * (self.kernel[0] if self.conv == "separable" else 1)

    @property
    def columns(self) -> int:
        """Of the matrix."""
        return (
            self.into
            * {
                "constant": 1,
                "flat": self.kernel[0] * self.kernel[1],
                "separable": self.kernel[1],
            }[self.conv]
        )

    @property
    def largest_rank(self) -> int:
        """The rank at which the matrix is free."""
        return min(self.rows, self.columns)

    @property
    def multiplicity(self) -> int:
        """Entries of the weight that one entry of the matrix stands for: kh kw if ``constant``."""
        return self.kernel[0] * self.kernel[1] if self.conv == "constant" else 1

    @property
    def cost_of_rank(self) -> int:
        """Parameters of one more rank: rows + columns."""
        return self.rows + self.columns

    def matrix(self, weight: Tensor) -> Float[Tensor, "rows columns"]:
        """The matrix nearest to a weight (in the Frobenius norm, among those this mode can be)."""
        grid = weight.reshape(self.out, self.into, *self.kernel)
        if self.conv == "constant":
            return grid.mean(dim=(2, 3))
        if self.conv == "separable":
            grid = grid.permute(0, 2, 1, 3)
        return grid.reshape(self.rows, self.columns)

    def weight(self, matrix: Float[Tensor, "rows columns"], like: Tensor) -> Tensor:
        """The weight that a matrix stands for, in the shape of `like`."""
        kh, kw = self.kernel
        if self.conv == "constant":
            return matrix[:, :, None, None].expand(-1, -1, kh, kw).reshape(like.shape)
        if self.conv == "separable":
            matrix = matrix.reshape(self.out, kh, self.into, kw).permute(0, 2, 1, 3)
        return matrix.reshape(like.shape)

    def scaled(self, weight: Tensor, r: Float[Tensor, " out"], s: Tensor) -> Tensor:
        """diag(r) W diag(s), with `s` of the input channels of all groups."""
        grid = weight.reshape(self.groups, self.out // self.groups, self.into, -1)
        grid = grid * s.reshape(self.groups, 1, self.into, 1)
        return (grid.reshape(self.out, -1) * r[:, None]).reshape(weight.shape)


def multiplier(layer: nn.Module) -> float:
    """By which a layer of a parametrization multiplies its weight; 1 elsewhere."""
    return float(getattr(layer, "multiplier", 1.0))


def apply_weight(layer: nn.Module, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """What the layer makes of `x` with another raw weight, (out, in, ...), and bias."""
    m = multiplier(layer)
    weight = weight if m == 1 else weight * m
    if isinstance(layer, nn.Conv1d | nn.Conv2d):
        return layer._conv_forward(x, weight, bias)
    return functional.linear(x, weight, bias)
