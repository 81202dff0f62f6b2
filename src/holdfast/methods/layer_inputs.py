"""The space that the inputs of a layer lie in."""

from typing import cast

import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn
from torch.nn import functional


class Inputs:
    """Inputs x of a layer, as far as sums of x x^T tell of them.

    The inputs themselves are kept while they are fewer than their dimensions, else the sum.
    """

    def __init__(self) -> None:
        self._rows: list[Tensor] = []
        self._products: Tensor | None = None

    def add(self, rows: Float[Tensor, "n d"]) -> None:
        """Count these inputs too."""
        self._rows.append(rows.detach().double())
        if self._products is not None or sum(map(len, self._rows)) > rows.shape[1]:
            found = sum((part.T @ part for part in self._rows), torch.zeros(()).to(self._rows[0]))
            self._products = found if self._products is None else self._products + found
            self._rows = []

    def outside(
        self, basis: Float64[Tensor, "d k"]
    ) -> tuple[float, Float64[Tensor, " m"], Float64[Tensor, "d m"]]:
        """How the inputs R (d, n) lie outside a span.

        Args:
            basis: M, orthonormal columns.

        Returns:
            |R|^2; the squared singular values of R - M M^T R, largest first; its left singular
            vectors.
        """
        if self._products is None:
            rows = torch.cat(self._rows)
            left = rows - (rows @ basis) @ basis.T
            _, values, vectors = torch.linalg.svd(left, full_matrices=False)
            return float(rows.square().sum()), values.square(), vectors.T
        left = self._products - basis @ (basis.T @ self._products)
        left = left - (left @ basis) @ basis.T
        values, vectors = torch.linalg.eigh((left + left.T) / 2)
        return float(self._products.trace()), values.clamp(min=0).flip(0), vectors.flip(1)


def extend(basis: Float[Tensor, "d k"], inputs: Inputs, share: float) -> Float[Tensor, "d more"]:
    """A basis with the fewest directions added that let it hold a share of the inputs' energy.

    With R the inputs, M the basis and s the singular values of R - M M^T R, the first j of its left
    singular vectors are appended, j the least for which

        |M M^T R|^2 + s_1^2 + ... + s_j^2 >= share |R|^2.

    The columns that are there stay as they are. Saha et al., 2021, equations 5 and 9.

    Args:
        basis: M, orthonormal columns, possibly none.
        inputs: R.
        share: up to 1, which is taken to hold up to 1e-12 of the energy.

    >>> inputs = Inputs()
    >>> inputs.add(torch.tensor([[3.0, 0.0, 0.0], [0.0, 1.0, 0.0]]))
    >>> [extend(torch.empty(3, 0), inputs, share).shape[1] for share in (0.9, 0.91)]
    [1, 2]
    """
    total, energies, vectors = inputs.outside(basis.double())
    wanted = total * (share - 1e-12)
    held = total - float(energies.sum())
    reached = held + energies.cumsum(0)
    new = 0 if held >= wanted else int((reached < wanted).sum()) + 1
    new = min(new, basis.shape[0] - basis.shape[1], len(energies))
    return torch.cat([basis, vectors[:, :new].to(basis)], dim=1)


def patches(layer: nn.Module, x: Tensor) -> Float[Tensor, "n inputs"]:
    """What the flattened weight of a layer is multiplied with: one row for each place it is put.

    Args:
        layer: `torch.nn.Linear`, `torch.nn.Conv1d` or `torch.nn.Conv2d` without groups.
        x: its input.
    """
    if isinstance(layer, nn.Conv1d | nn.Conv2d):
        mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
        x = functional.pad(x, layer._reversed_padding_repeated_twice, mode=mode)
        if isinstance(layer, nn.Conv1d):
            x = x.unsqueeze(-2)
        size, stride, dilation = (
            cast(tuple[int, int], (1, *pair)[-2:])
            for pair in (layer.kernel_size, layer.stride, layer.dilation)
        )
        unfolded = functional.unfold(x, size, dilation=dilation, stride=stride)
        return unfolded.transpose(1, 2).flatten(0, 1)
    return x.flatten(0, -2)
