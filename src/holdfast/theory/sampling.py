"""Gaussian draws whose second moments are exact in the sample."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from holdfast.seeds import generator
from holdfast.theory.growing import Growing

Kind = Literal["forward", "backward"]

_BOTH: dict[Kind, tuple[int, ...]] = {"forward": (1, 1, -1, -1), "backward": (1, -1, 1, -1)}
_FORWARD: dict[Kind, tuple[int, ...]] = {"forward": (1, -1), "backward": ()}


class Draws:
    """The Gaussian fields that drive one layer, in S samples.

    Forward draws xi are of the weights below the layer, backward draws zeta of those above it.
    Samples come in fours (xi, zeta), (xi, -zeta), (-xi, zeta), (-xi, -zeta), and the draws of a
    kind are orthonormal over the samples: <xi xi^T> = <zeta zeta^T> = 1 and <xi zeta^T> = 0 hold
    exactly. So outputs are 0 before the first step, and a linear network, which needs no other
    moments, is solved without sampling error.

    Args:
        samples: S, a multiple of 4.
        seed: of these draws.
        like: a tensor of the precision and on the device to draw in.
        backward: False for readouts that start at 0: samples come in twos (xi), (-xi), and
            backward draws are 0.
    """

    def __init__(self, samples: int, seed: int, like: Tensor, backward: bool = True) -> None:
        self._signs = _BOTH if backward else _FORWARD
        self._size = samples // len(self._signs["forward"])
        self._drawn: dict[Kind, Growing] = {}
        self._generators: dict[Kind, torch.Generator] = {}
        kinds: tuple[Kind, ...] = ("forward", "backward")
        for kind in kinds:
            self._drawn[kind] = Growing(self._size, like.dtype, like.device)
            self._generators[kind] = generator(seed, kind, device=like.device)

    def draw(self, kind: Kind, count: int) -> Float[Tensor, "count samples"]:
        """New draws, orthogonal to all of their kind before them."""
        before = self._drawn[kind].rows
        if not self._signs[kind]:
            return before.new_zeros(count, self._size * len(self._signs["forward"]))
        fresh = torch.randn(
            (count, self._size),
            generator=self._generators[kind], dtype=before.dtype, device=before.device,
        )  # fmt: skip
        fresh -= (fresh @ before.T / self._size) @ before
        q, r = torch.linalg.qr(fresh.T)
        # Signs as in Gram-Schmidt: the same numbers, whether drawn at once or one by one.
        fresh = (q * r.diagonal().sign()).T * self._size**0.5
        self._drawn[kind].append(fresh)
        return torch.cat([sign * fresh for sign in self._signs[kind]], 1)

    def correlate(
        self, kind: Kind, values: Float[Tensor, "rows samples"]
    ) -> Float[Tensor, "rows drawn"]:
        """<values draws>, over the samples: by Stein's lemma, <d values / d draws>."""
        parts = values.view(len(values), len(self._signs[kind]), self._size)
        signs = torch.tensor(self._signs[kind], dtype=values.dtype, device=values.device)
        folded = torch.einsum("rks,k->rs", parts, signs)
        return folded @ self._drawn[kind].rows.T / values.shape[1]
