"""A matrix that rows are appended to."""

import torch
from jaxtyping import Float
from torch import Tensor


class Growing:
    """Rows of one length, appended a few at a time, in storage that doubles when it is full.

    Args:
        columns: length of a row.
        dtype: of the numbers.
        device: they lie on.
    """

    def __init__(self, columns: int, dtype: torch.dtype, device: torch.device) -> None:
        self._storage = torch.empty((16, columns), dtype=dtype, device=device)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def rows(self) -> Float[Tensor, "rows columns"]:
        """All rows so far; writing to them is writing to the matrix."""
        return self._storage[: self._count]

    def append(self, rows: Float[Tensor, "new columns"]) -> None:
        """Rows more, at the end."""
        needed = self._count + len(rows)
        if needed > len(self._storage):
            larger = self._storage.new_empty((max(needed, 2 * len(self._storage)), rows.shape[1]))
            larger[: self._count] = self.rows
            self._storage = larger
        self._storage[self._count : needed] = rows
        self._count = needed
