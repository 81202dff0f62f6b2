"""Sums of h h^T over samples, in one pool or class by class."""

from collections.abc import Mapping, Sequence
from copy import copy
from typing import Any

import torch
from jaxtyping import Float64
from torch import Tensor

from holdfast.starts.products import add_products, by_position

Scatter = Float64[Tensor, "width width"]
"""A sum of h h^T; what lies below the diagonal has no meaning."""


class Scatters:
    """The second moments of classes: each class's own, or those of several in one pool.

    Sums over classes run in the order of the labels, so that none depends on who came first.

    Args:
        width: number of features.
        per_class: keep a sum for each class, until it is settled.
        device: where they lie.

    Attributes:
        pool: sum of h h^T over all samples of the `pooled` classes.
        balanced: sum over the pooled classes of their mean h h^T; `None` without ``per_class``.
        pooled: the classes that have no sum of their own.
        apart: the sums of the other classes.
    """

    def __init__(self, width: int, per_class: bool, device: torch.device | str) -> None:
        self.pool = torch.zeros(width, width, dtype=torch.float64, device=device)
        self.balanced = torch.zeros_like(self.pool) if per_class else None
        self.pooled: set[int] = set()
        self.apart: dict[int, Tensor] = {}

    @property
    def per_class(self) -> bool:
        """Whether classes that come get a sum of their own."""
        return self.balanced is not None

    def add(self, features: Tensor, positions: Tensor, classes: Sequence[int]) -> None:
        """Take in features (n, width); sample i is of class ``classes[positions[i]]``."""
        if not self.per_class:
            add_products(self.pool, features)
            self.pooled.update(classes)
            return
        # All room first: a failure to get it changes nothing.
        fresh = {c: torch.zeros_like(self.pool) for c in classes if c not in self.apart}
        self.apart.update(fresh)
        for position, own in by_position(positions, features):
            add_products(self.apart[classes[position]], own)

    def without(self, features: Tensor, positions: Tensor, classes: Sequence[int]) -> "Scatters":
        """These sums less some features, as a new object; what did not change is shared."""
        leaving = Scatters(len(self.pool), self.per_class, self.pool.device)
        leaving.add(features, positions, classes)
        left = self._sharing()
        left.pool = self.pool - leaving.pool
        left.apart.update({c: self.apart[c] - s for c, s in leaving.apart.items()})
        return left

    def merged(self, other: "Scatters") -> "Scatters":
        """The sums of both, on the device of these."""
        found = self._sharing()
        device = self.pool.device
        found.pool = self.pool + other.pool.to(device)
        if self.balanced is not None and other.balanced is not None:
            found.balanced = self.balanced + other.balanced.to(device)
        found.pooled |= other.pooled
        for c, scatter in other.apart.items():
            own = self.apart.get(c)
            found.apart[c] = scatter.to(device) if own is None else own + scatter.to(device)
        found.apart = {c: s.clone() for c, s in found.apart.items()}
        return found

    def settle(self, classes: Sequence[int], counts: Mapping[int, int]) -> None:
        """Fold the sums of some classes into the pool."""
        assert self.balanced is not None
        for c in sorted(self.apart.keys() & set(classes)):
            scatter = self.apart.pop(c)
            self.pool += scatter
            self.balanced += scatter / counts[c]
            self.pooled.add(c)

    def forget(self, classes: Sequence[int]) -> None:
        """Drop classes whose samples are all gone; an empty pool is exactly 0."""
        self.pooled -= set(classes)
        self.apart = {c: s for c, s in self.apart.items() if c not in set(classes)}
        if not self.pooled:
            self.pool = torch.zeros_like(self.pool)

    def subset(self, classes: Sequence[int]) -> "Scatters":
        """A copy of the sums of some classes, `check_separable` ones."""
        found = Scatters(len(self.pool), self.per_class, self.pool.device)
        found.apart = {c: self.apart[c].clone() for c in classes if c in self.apart}
        if self.pooled & set(classes):
            found.pool = self.pool.clone()
            found.balanced = None if self.balanced is None else self.balanced.clone()
            found.pooled = set(self.pooled)
        return found

    def total(self, classes: Sequence[int]) -> Scatter:
        """Sum of h h^T over all samples of some classes, a new tensor."""
        found = self.pool.clone() if self.pooled & set(classes) else torch.zeros_like(self.pool)
        for c in sorted(self.apart.keys() & set(classes)):
            found += self.apart[c]
        return found

    def mean(self, classes: Sequence[int], counts: Mapping[int, int]) -> Scatter:
        """Mean over some classes of the mean h h^T of each, a new tensor.

        Raises:
            ValueError: there is one pool, and its classes differ in their numbers of samples.
        """
        found = torch.zeros_like(self.pool)
        if self.pooled & set(classes):
            sizes = {counts[c] for c in self.pooled}
            if self.balanced is not None:
                found += self.balanced
            elif len(sizes) == 1:
                found += self.pool / sizes.pop()
            else:
                raise ValueError(
                    "balanced moments need the Gram matrix of each class, since classes have from "
                    f"{min(sizes)} to {max(sizes)} samples; make the statistics with "
                    "per_class=True, or take weighting='frequency'"
                )
        for c in sorted(self.apart.keys() & set(classes)):
            found += self.apart[c] / counts[c]
        return found / len(classes)

    def check_separable(self, classes: Sequence[int]) -> None:
        """All classes of the pool may be asked for, or none of them.

        Raises:
            ValueError: some are, some are not, with the remedy.
        """
        asked = self.pooled & set(classes)
        if not asked or asked == self.pooled:
            return
        missing = self.pooled - asked
        if self.per_class:
            raise ValueError(
                f"classes {few(asked)} were settled together with {few(missing)} and cannot be "
                "told apart any more; ask for all of them or none, or settle later"
            )
        raise ValueError(
            f"the Gram matrix of classes {few(asked)} was not kept apart from that of "
            f"{few(missing)}; make the statistics with per_class=True, or collect those of these "
            "classes alone"
        )

    def state_dict(self) -> dict[str, Any]:
        """All there is."""
        return {
            "pool": self.pool.triu(),
            "balanced": None if self.balanced is None else self.balanced.triu(),
            "pooled": sorted(self.pooled),
            "apart": {str(c): scatter.triu() for c, scatter in self.apart.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        device = self.pool.device
        self.pool = state["pool"].to(device, copy=True)
        balanced = state["balanced"]
        self.balanced = None if balanced is None else balanced.to(device, copy=True)
        self.pooled = set(state["pooled"])
        self.apart = {int(c): s.to(device, copy=True) for c, s in state["apart"].items()}

    def _sharing(self) -> "Scatters":
        found = copy(self)
        found.pooled, found.apart = set(self.pooled), dict(self.apart)
        return found


def few(classes: set[int] | Sequence[int]) -> str:
    """Some classes in words, eight at most."""
    listed = sorted(classes) if isinstance(classes, set) else classes
    shown = ", ".join(map(str, listed[:8]))
    return f"[{shown}, ...]" if len(listed) > 8 else f"[{shown}]"
