"""Standardisation of inputs by what the first samples were like."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, Float64, Shaped

LIMIT = 5.0
"""Standard deviations beyond which a value counts as this far away."""

_ROWS = 8192
"""Rows taken at a time: bounds the copies in float64."""


@dataclass(frozen=True, eq=False)
class Scaling:
    """(x - mean) / scale for each feature of vectors (n, features), each channel of images.

    Held to +-`LIMIT`. A feature that hardly varied when the scaling was made may vary much when
    other classes come (the border pixels of digits do); without a limit it would then swamp all
    others.

    Args:
        mean: one value a feature or channel.
        scale: likewise, positive.
    """

    mean: Float64[np.ndarray, " d"]
    scale: Float64[np.ndarray, " d"]

    @classmethod
    def of(cls, x: Shaped[np.ndarray, "n d ..."]) -> "Scaling":
        """The scaling that gives `x` mean 0 and variance 1; a constant feature keeps scale 1.

        Raises:
            ValueError: the numbers are too large to have a variance.
        """
        axes = (0, *range(2, x.ndim))
        count = x.size // x.shape[1]
        with np.errstate(over="ignore", invalid="ignore"):
            mean = _total(x, lambda part: part.sum(axis=axes)) / count
            about = mean.reshape(-1, *(1 for _ in x.shape[2:]))
            variance = _total(x, lambda part: np.square(part - about).sum(axis=axes)) / count
        if not np.isfinite(variance).all():
            raise ValueError("X holds numbers too large to be standardised; rescale them")
        constant = x.min(axis=axes) == x.max(axis=axes)
        return cls(mean, np.where(constant | (variance == 0), 1.0, np.sqrt(variance)))

    def __call__(self, x: Shaped[np.ndarray, "n d ..."]) -> Float32[np.ndarray, "n d ..."]:
        """The samples scaled; computed in float64."""
        shape = (-1, *(1 for _ in x.shape[2:]))
        mean, scale = self.mean.reshape(shape), self.scale.reshape(shape)
        scaled = np.empty(x.shape, dtype=np.float32)
        with np.errstate(over="ignore"):
            for start in range(0, len(x), _ROWS):
                part = (x[start : start + _ROWS] - mean) / scale
                np.clip(part, -LIMIT, LIMIT, out=scaled[start : start + _ROWS], casting="unsafe")
        return scaled

    def state_dict(self) -> dict[str, Any]:
        """Mean and scale."""
        return {"mean": torch.from_numpy(self.mean), "scale": torch.from_numpy(self.scale)}

    @classmethod
    def restored(cls, state: dict[str, Any]) -> "Scaling":
        """The inverse of `state_dict`."""
        return cls(state["mean"].numpy(), state["scale"].numpy())


def _total(
    x: Shaped[np.ndarray, "n d ..."], part: Callable[[np.ndarray], np.ndarray]
) -> Float64[np.ndarray, " d"]:
    return np.sum([part(rows) for rows in _pieces(x)], axis=0)


def _pieces(x: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(x), _ROWS):
        yield x[start : start + _ROWS].astype(np.float64)
