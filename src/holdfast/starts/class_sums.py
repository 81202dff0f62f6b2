"""Counts and sums of features, a row a class, in the order in which classes come."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from holdfast.starts.products import add_rows


class ClassSums:
    """n_c and sum h of each class c; the room doubles, so that classes may come one by one.

    Args:
        width: number of features.
        device: where they lie.
    """

    def __init__(self, width: int, device: torch.device | str) -> None:
        self.positions: dict[int, int] = {}
        self._counts = torch.zeros(0, dtype=torch.int64, device=device)
        self._sums = torch.zeros(0, width, dtype=torch.float64, device=device)

    @property
    def counts(self) -> Tensor:
        """(C,) int64, a view."""
        return self._counts[: len(self.positions)]

    @property
    def sums(self) -> Tensor:
        """(C, width) float64, a view."""
        return self._sums[: len(self.positions)]

    @property
    def sizes(self) -> dict[int, int]:
        """Samples of each class."""
        return dict(zip(self.positions, self.counts.tolist(), strict=True))

    def rows(self, classes: Sequence[int]) -> Tensor:
        """Where the classes lie."""
        found = torch.tensor([self.positions[c] for c in classes], dtype=torch.int64)
        return found.to(self._sums.device)

    def make_room(self, classes: Iterable[int]) -> None:
        """A row for each class that has none."""
        for c in classes:
            self.positions.setdefault(c, len(self.positions))
        missing = len(self.positions) - len(self._counts)
        if missing > 0:
            extra = max(missing, len(self._counts))
            self._counts = torch.cat([self._counts, self._counts.new_zeros(extra)])
            more = self._sums.new_zeros(extra, self._sums.shape[1])
            self._sums = torch.cat([self._sums, more])

    def add(self, features: Tensor, positions: Tensor, classes: Sequence[int]) -> None:
        """Take in features (n, width); sample i is of class ``classes[positions[i]]``."""
        self.make_room(classes)
        rows = self.rows(classes)
        self.counts[rows] += positions.bincount(minlength=len(classes))
        # Summed apart before they are added: less rounding where samples are many.
        arrived = self._sums.new_zeros(len(classes), self._sums.shape[1])
        add_rows(arrived, positions, features)
        self.sums[rows] += arrived

    def add_sums(self, other: "ClassSums", classes: Sequence[int]) -> None:
        """Add the rows of some classes of the other."""
        self.make_room(classes)
        own, theirs = self.rows(classes), other.rows(classes)
        self.counts[own] += other.counts[theirs].to(self._counts.device)
        self.sums[own] += other.sums[theirs].to(self._sums.device)

    def without(self, features: Tensor, positions: Tensor, classes: Sequence[int]) -> "ClassSums":
        """These sums less some features, a new object that keeps classes of no samples."""
        gone = ClassSums(self._sums.shape[1], self._sums.device)
        gone.add(features, positions, classes)
        left = ClassSums(self._sums.shape[1], self._sums.device)
        left.add_sums(self, tuple(self.positions))
        left.counts[left.rows(classes)] -= gone.counts
        left.sums[left.rows(classes)] -= gone.sums
        return left

    def forget_empty(self) -> tuple[int, ...]:
        """Drop the classes of no samples; which these were."""
        sizes, kept = self.sizes, self.counts > 0
        self._counts, self._sums = self.counts[kept], self.sums[kept]
        self.positions = {c: i for i, c in enumerate(c for c, n in sizes.items() if n > 0)}
        return tuple(c for c, n in sizes.items() if n == 0)

    def state_dict(self) -> dict[str, Any]:
        """All there is."""
        return {
            "classes": list(self.positions),
            "counts": self.counts.clone(),
            "sums": self.sums.clone(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        device = self._sums.device
        self.positions = {int(c): i for i, c in enumerate(state["classes"])}
        self._counts = state["counts"].to(device, copy=True)
        self._sums = state["sums"].to(device, copy=True)
