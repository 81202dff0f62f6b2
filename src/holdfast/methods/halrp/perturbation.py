"""What a task has in place of a layer's weight and bias."""

from collections.abc import Mapping

from torch import Tensor, nn

from holdfast.methods.halrp.kinds import Shape


class Perturbation(nn.Module):
    """One task's change of one layer: W_t = diag(r) W_0 diag(s) + U V, and a bias of its own.

    Args:
        shape: of the layer.
        rank: columns of U and rows of V; 0 leaves r and s alone.
        bias: where the task's bias starts; `None` leaves the layer's own, if any.
        like: dtype and device.
        scaled: whether there are r and s; else they are empty and stand for 1.
        factor: of U V; `None` for 1.

    r and s start at 1, U and V at 0.
    """

    def __init__(
        self,
        shape: Shape,
        rank: int,
        bias: Tensor | None,
        like: Tensor,
        scaled: bool = True,
        factor: float | None = None,
    ) -> None:
        super().__init__()
        self.r = nn.Parameter(like.new_ones(shape.out if scaled else 0))
        self.s = nn.Parameter(like.new_ones(shape.into * shape.groups if scaled else 0))
        self.U = nn.Parameter(like.new_zeros(shape.rows, rank))
        self.V = nn.Parameter(like.new_zeros(rank, shape.columns))
        self.bias = None if bias is None else nn.Parameter(bias.detach().clone())
        self.factor: Tensor | None
        self.register_buffer("factor", None if factor is None else like.new_tensor(factor))

    @classmethod
    def like_state(
        cls, state: Mapping[str, Tensor], shape: Shape, bias: Tensor | None, like: Tensor
    ) -> "Perturbation":
        """One with the parts that a state has, as `state_dict` gives it, not yet filled.

        Raises:
            ValueError: the state is none of such a layer's.
        """
        rank = len(state["V"]) if "V" in state else -1
        if not 0 <= rank <= shape.largest_rank:
            raise ValueError(f"state has no V of a rank that fits the layer: {list(state)}")
        own = bias if "bias" in state else None
        scaled = "r" not in state or len(state["r"]) > 0
        return cls(shape, rank, own, like, scaled, 1.0 if "factor" in state else None)

    @property
    def scaled(self) -> bool:
        """Whether there are r and s."""
        return len(self.r) > 0

    @property
    def rank(self) -> int:
        """Of the low-rank part."""
        return self.V.shape[0]

    def weight(self, shape: Shape, base: Tensor) -> Tensor:
        """W_t."""
        weight = shape.scaled(base, self.r, self.s) if self.scaled else base
        if not self.rank:
            return weight
        low = self.U @ self.V
        return weight + shape.weight(low if self.factor is None else low * self.factor, base)

    def extra_repr(self) -> str:
        """The rank."""
        return f"rank={self.rank}"


class Free(nn.Module):
    """One task's layer while it warms up: a weight and a bias that may become anything.

    Args:
        weight, bias: where they start.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.detach().clone())
        self.bias = None if bias is None else nn.Parameter(bias.detach().clone())
