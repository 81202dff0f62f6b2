"""How a gap to the theory falls with the width."""

import math
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from holdfast.records.intervals import Interval
from holdfast.seeds import derive

Gaps = Mapping[int, Float[np.ndarray, " networks"]]
"""Of each network, 0 or more, by width; NaN where it diverged."""

UNKNOWN = Interval(math.nan, math.nan, math.nan)


def typical(
    gaps: Float[np.ndarray, " networks"],
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Root mean square of the gaps of networks of a width, with its bootstrap interval.

    Those that diverged are left out; without any other all three are NaN.
    """
    known = gaps[np.isfinite(gaps)]
    if not len(known):
        return UNKNOWN
    value = float(_rms(known[None])[0])
    if len(known) == 1:
        return Interval(value, math.nan, math.nan)
    return Interval(value, *_ends(_resampled(known, resamples, seed, 0), level))


def slope(gaps: Gaps, level: float = 0.95, resamples: int = 2000, seed: int = 0) -> Interval:
    """Exponent a of gap ~ N^a, a line through log N and the log of the root mean square gap.

    By least squares. Networks are drawn anew with replacement within each width, which is what
    the bootstrap interval is of; widths with none left are left out.

    Returns:
        NaN for fewer than two widths, and ends that are NaN where a width has one network.

    >>> decay = {n: np.array([1.0, 2.0]) / n**0.5 for n in (16, 64, 256)}
    >>> round(slope(decay).mean, 6)
    -0.5
    """
    known = {width: found[np.isfinite(found)] for width, found in sorted(gaps.items())}
    known = {width: found for width, found in known.items() if len(found)}
    if len(known) < 2:
        return UNKNOWN
    x = np.log(list(known))
    x -= x.mean()

    def fitted(typical: Float[np.ndarray, "draws widths"]) -> Float[np.ndarray, " draws"]:
        return np.log(typical) @ x / (x @ x)

    value = float(fitted(np.stack([_rms(found[None]) for found in known.values()], axis=1))[0])
    if min(map(len, known.values())) < 2:
        return Interval(value, math.nan, math.nan)
    draws = [_resampled(found, resamples, seed, width) for width, found in known.items()]
    return Interval(value, *_ends(fitted(np.stack(draws, axis=1)), level))


def _rms(values: Float[np.ndarray, "draws n"]) -> Float[np.ndarray, " draws"]:
    return np.sqrt(np.mean(values**2, axis=1))


def _resampled(
    values: Float[np.ndarray, " networks"], resamples: int, seed: int, purpose: int
) -> Float[np.ndarray, " resamples"]:
    draws = np.random.default_rng(derive(seed, "gaps", purpose))
    return _rms(values[draws.integers(len(values), size=(resamples, len(values)))])


def _ends(draws: Float[np.ndarray, " resamples"], level: float) -> tuple[float, float]:
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
