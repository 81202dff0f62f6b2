"""Random weights of infinite width, known by what they do to the paths that pass them."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from holdfast.theory.basis import Basis
from holdfast.theory.growing import Growing
from holdfast.theory.sampling import Draws, Kind


class Descent:
    """Gradient descent as torch has it, and what it leaves of the initial weights.

    With momentum beta and decay lambda, v <- beta v - gradient - lambda w and w <- w + eta v.

    Attributes:
        start: share of the initial weights in w.
        start_speed: in v.
    """

    def __init__(self, momentum: float, decay: float) -> None:
        self.momentum, self.decay = momentum, decay
        self.start, self.start_speed = 1.0, 0.0

    def step(self, lr: float) -> None:
        """Once all `Images` have moved."""
        self.start_speed = self.momentum * self.start_speed - self.decay * self.start
        self.start += lr * self.start_speed


class Images:
    """Where weights take each vector of a basis, in the samples of a layer.

    An image is a Gaussian draw at the start. A step with pulls e at paths of coordinates c adds
    sum_a c_a e_a to its speed.

    Args:
        draws: of the layer.
        kind: of the draws.
        descent: shared by all weights.
        like: a tensor of the precision and on the device to work in.
        samples: of the layer.
        std: of the initial weights.
    """

    def __init__(
        self, draws: Draws, kind: Kind, descent: Descent, like: Tensor, samples: int,
        std: float = 1.0,
    ) -> None:  # fmt: skip
        self._draws, self._kind, self._descent, self._std = draws, kind, descent, std
        self._places = Growing(samples, like.dtype, like.device)
        self._speeds = Growing(samples, like.dtype, like.device)
        self._plain = descent.momentum == 0 and descent.decay == 0

    def grow(self, rank: int) -> None:
        """Draw images of vectors that are new."""
        new = rank - len(self._places)
        if new > 0:
            drawn = self._std * self._draws.draw(self._kind, new)
            self._places.append(self._descent.start * drawn)
            if not self._plain:
                self._speeds.append(self._descent.start_speed * drawn)

    def of(self, coordinates: Float[Tensor, "rows rank"]) -> Float[Tensor, "rows samples"]:
        """Images of paths."""
        return coordinates @ self._places.rows

    def move(
        self,
        coordinates: Float[Tensor, "rows some_rank"],
        pull: Float[Tensor, "rows samples"],
        lr: float,
    ) -> None:
        """One step of descent."""
        rank = coordinates.shape[1]
        if self._plain:
            self._places.rows[:rank].addmm_(coordinates.T, pull, alpha=lr)
            return
        speeds = self._speeds.rows
        speeds.mul_(self._descent.momentum).sub_(self._places.rows, alpha=self._descent.decay)
        speeds[:rank].addmm_(coordinates.T, pull)
        self._places.rows.add_(speeds, alpha=lr)


class Passed(NamedTuple):
    """Paths that passed weights, on one side of them.

    Attributes:
        out: the paths on the other side.
        own: coordinates of the paths in their basis.
        response: mean derivative by the draws that the weights' transpose brought.
    """

    out: Float[Tensor, "rows samples"]
    own: Float[Tensor, "rows rank"]
    response: Float[Tensor, "rows other_rank"]


class Weights:
    """The weights W between hidden layers l and l + 1.

    All that matters of the random W are its products with features phi of the layer below and,
    transposed, with gradients g of the layer above. Both are paths over time, in the span of
    orthonormal b^l and b^(l+1), and at the start of training

        W phi = c . xi + <phi zeta> . b^(l+1),     phi = c . b^l,
        W^T g = d . zeta + <g xi> . b^l,           g = d . b^(l+1),

    with fresh Gaussian images xi of b^l and zeta of b^(l+1), which then move with the weights. In
    terms of the field theory u = c . xi has the covariance Phi^l = c c^T and r = d . zeta the
    covariance G^(l+1) = d d^T. The last terms are A^l g and B^(l+1) phi: by Stein's lemma
    <phi zeta> = <d phi / d zeta> = A^l d with A^l = <d phi / d r>, which needs no derivatives, and
    holds for ReLU too, whose phi'' a derivative along each sample would take for 0.

    Bordelon & Pehlevan, 2022, section 3; the products of a Gaussian matrix that is known by
    other products, Bolthausen, 2014, lemma 1.

    Args:
        below: draws of layer l.
        above: draws of layer l + 1.
        descent: shared by all weights.
        like: a tensor of the precision and on the device to work in.
        samples: of each layer.
        tolerance: of the bases.
        responses: False leaves A and B out, as if W^T were independent of W.
    """

    def __init__(
        self, below: Draws, above: Draws, descent: Descent, like: Tensor, samples: int,
        tolerance: float, responses: bool = True,
    ) -> None:  # fmt: skip
        self._below, self._above, self._descent = below, above, descent
        self._share = float(responses)
        # As many draws as that can be orthonormal.
        self.features = Basis(samples, tolerance, samples // 4, like)
        self.gradients = Basis(samples, tolerance, samples // 4, like)
        self._up = Images(above, "forward", descent, like, samples)
        self._down = Images(below, "backward", descent, like, samples)

    def forward(self, phi: Float[Tensor, "points samples"]) -> Passed:
        """W phi."""
        c = self.features.coordinates(phi)
        self._up.grow(len(self.features))
        response = self._below.correlate("backward", phi)
        share = self._share * self._descent.start
        out = self._up.of(c).addmm_(response, self.gradients.vectors, alpha=share)
        return Passed(out, c, response)

    def backward(self, g: Float[Tensor, "columns samples"]) -> Passed:
        """W^T g, after `forward` of the same time."""
        d = self.gradients.coordinates(g)
        self._down.grow(len(self.gradients))
        response = self._above.correlate("forward", g)
        share = self._share * self._descent.start
        out = self._down.of(d).addmm_(response, self.features.vectors, alpha=share)
        return Passed(out, d, response)

    def move(
        self,
        pull: Float[Tensor, "points outputs"],
        features: tuple[Float[Tensor, "points rank"], Float[Tensor, "points samples"]],
        gradients: tuple[Float[Tensor, "columns other_rank"], Float[Tensor, "columns samples"]],
        lr: float,
    ) -> None:
        """A step by sum_mu,c U_mu,c g_mu,c phi_mu^T: coordinates and paths of this time."""
        (c, phi), (d, g) = features, gradients
        self._up.move(c, pulled(pull, g), lr)
        self._down.move(pulled(pull, d), phi, lr)


def pulled(
    pull: Float[Tensor, "points outputs"], rows: Float[Tensor, "columns width"]
) -> Float[Tensor, "points width"]:
    """sum_c U_mu,c row_mu,c, of rows in which the output runs fastest."""
    return torch.einsum("pc,pcw->pw", pull, rows.view(*pull.shape, -1))
