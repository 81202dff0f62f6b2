"""The weighted second moments that every closed-form head is solved from."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float64
from torch import Tensor

Weighting = Literal["frequency", "balanced"]


@dataclass(frozen=True)
class Moments:
    """Means over samples with weights w_i that sum to 1, of h~ = [h, 1] and one-hot targets y.

        gram = sum_i w_i h~_i h~_i^T,    cross = sum_i w_i y_i h~_i^T,    weights = sum_i w_i y_i

    Row c of `cross` is weights_c [mu_c, 1], mu_c the mean feature of class c. ``frequency`` weights
    are w_i = 1/N; ``balanced`` ones are 1/(C n_c), each class as much as any other.

    Args:
        gram: (d+1, d+1), the bias row last.
        cross: (C, d+1), a row a class.
        weights: (C,) share of each class.
        classes: label of each row.
        samples: number of samples behind the means.
    """

    gram: Float64[Tensor, "inputs inputs"]
    cross: Float64[Tensor, "classes inputs"]
    weights: Float64[Tensor, " classes"]
    classes: tuple[int, ...]
    samples: int

    @property
    def width(self) -> int:
        """Number d of features."""
        return len(self.gram) - 1

    def of(self, classes: Sequence[int]) -> "Moments":
        """The same Gram, with the rows of some classes alone: the solution of their rows.

        Samples of the other classes stay in, as samples that belong to none of these.

        Raises:
            ValueError: a class that is not among `self.classes`.
        """
        strangers = [c for c in classes if c not in self.classes]
        if strangers:
            raise ValueError(f"classes must be among {self.classes}, got {strangers[:5]}")
        rows = [self.classes.index(c) for c in classes]
        return Moments(
            self.gram, self.cross[rows], self.weights[rows], tuple(classes), self.samples
        )
