"""Lines through logarithms."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float


class Slopes(NamedTuple):
    """Mean over seeds of the slopes of each layer, and its standard error (NaN for one seed)."""

    mean: Float[np.ndarray, " layers"]
    error: Float[np.ndarray, " layers"]


def log_slopes(
    sizes: Float[np.ndarray, " sizes"], values: Float[np.ndarray, "sizes seeds layers"]
) -> Slopes:
    """Slopes s of the least-squares lines log value = s log size + c, one a seed and layer.

    NaN where a value is not positive and finite.

    >>> sizes = np.array([32.0, 64.0, 128.0])
    >>> round(float(log_slopes(sizes, sizes[:, None, None] ** -0.5).mean[0]), 6)
    -0.5
    """
    known = np.isfinite(values) & (values > 0)
    logs = np.where(known, np.log(np.where(known, values, 1.0)), np.nan)
    centred = np.log(sizes) - np.log(sizes).mean()
    slopes = np.tensordot(centred, logs, axes=1) / np.sum(centred**2)
    count, layers = slopes.shape
    spread = slopes.std(axis=0, ddof=1) if count > 1 else np.full(layers, np.nan)
    return Slopes(slopes.mean(axis=0), spread / np.sqrt(count))
