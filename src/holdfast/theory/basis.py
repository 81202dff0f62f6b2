"""What sampled paths span: a Cholesky factor of low rank, appended to as paths come."""

import torch
from jaxtyping import Float
from torch import Tensor

from holdfast.theory.growing import Growing


class Basis:
    """Orthonormal vectors b that span the paths p seen so far, with <p q> the mean over samples.

    A path has coordinates c = <p b>. These are the rows of the Cholesky factor of the paths'
    covariance in the order in which they came, <p q> = c_p . c_q, which later ones do not change;
    a path whose variance given all before it is within the tolerance gets no vector of its own.
    Paths that are smooth in time soon are known in advance, so the rank grows far slower than the
    number of paths.

    Args:
        samples: S.
        tolerance: variance that may be dropped, relative to the largest of a path.
        limit: rank beyond which all else is dropped.
        like: a tensor of the precision and on the device to work in.
    """

    def __init__(self, samples: int, tolerance: float, limit: int, like: Tensor) -> None:
        self._vectors = Growing(samples, like.dtype, like.device)
        self._tolerance, self._limit = tolerance, limit
        self._largest = 0.0
        self._paths, self._dropped = 0, 0.0

    def __len__(self) -> int:
        return len(self._vectors)

    @property
    def vectors(self) -> Float[Tensor, "rank samples"]:
        """b, with <b b^T> = 1."""
        return self._vectors.rows

    @property
    def full(self) -> bool:
        """Whether the limit is reached."""
        return len(self) >= self._limit

    @property
    def dropped(self) -> float:
        """Variance that was dropped, mean over all paths, relative to the largest of a path."""
        return self._dropped / max(self._paths * self._largest, 1e-300)

    def coordinates(self, paths: Float[Tensor, "rows samples"]) -> Float[Tensor, "rows rank"]:
        """c, after taking in what is new in the paths."""
        c = self._along(paths)
        variance = paths.square().mean(1)
        self._largest = max(self._largest, float(variance.max()))
        left = variance - c.square().sum(1)
        if self.full or float(left.max()) <= self._tolerance * self._largest:
            self._drop(left)
            return c
        rest = paths - c @ self.vectors
        # Again, since rounding errors of long paths are not small beside what is left of them.
        correction = self._along(rest)
        rest -= correction @ self.vectors
        floor = self._tolerance * self._largest
        covariance = rest @ rest.T / rest.shape[1]
        factor, own = _semidefinite_factor(covariance, floor, self._limit - len(self))
        if own:
            new = torch.linalg.solve_triangular(factor[own], rest[own], upper=False)
            self._vectors.append(new)
        self._drop(covariance.diagonal() - factor.square().sum(1))
        return torch.cat([c + correction, factor], 1)

    def _along(self, paths: Tensor) -> Tensor:
        return paths @ self.vectors.T / paths.shape[1]

    def _drop(self, left: Float[Tensor, " rows"]) -> None:
        self._paths += len(left)
        self._dropped += float(left.sum().clamp_min(0))


def _semidefinite_factor(
    covariance: Float[Tensor, "rows rows"], floor: float, most: int
) -> tuple[Float[Tensor, "rows rank"], list[int]]:
    """The Cholesky factor without columns of rows whose variance given those before is small.

    With the rows that have columns, of which there are `most` at most.
    """
    left = covariance.double().cpu()
    columns: list[Tensor] = []
    own: list[int] = []
    for row in range(len(left)):
        variance = float(left[row, row])
        if variance > floor and len(own) < most:
            column = left[:, row] / variance**0.5
            left = left - torch.outer(column, column)
            columns.append(column)
            own.append(row)
    factor = torch.stack(columns, 1) if columns else left[:, :0]
    return factor.to(covariance), own
