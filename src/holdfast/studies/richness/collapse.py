"""Whether curves of several settings become one when gamma0 is rescaled."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from holdfast.records.intervals import Interval
from holdfast.studies.richness.curves import (
    LEVEL,
    RESAMPLES,
    GammaCurve,
    Grid,
    resampled_means,
)
from holdfast.studies.richness.optima import optimum, refined_argmin


class Collapse(NamedTuple):
    """How well curves lie on each other.

    Args:
        spread: part of the variance along gamma0 that the other curves do not foretell: 0 where
            all curves are one, about 1 or more where they have nothing in common; NaN where no two
            overlap, or nothing varies.
        noise: the part of `spread` that seeds alone make: what it comes to, on the average, where
            the curves are one but for the seeds; NaN of a single seed.
        overlap: part of the points that lie within another curve, and so are compared.
    """

    spread: float
    noise: float
    overlap: float


@dataclass(frozen=True)
class Exponents:
    """gamma0* = prefactor x product of setting^exponent, by least squares in logarithms.

    Args:
        values: exponent of each setting, with its interval.
        residual: root mean square distance of the curves' gamma0* from the law, in decades.
        curves: how many took part: those with an interior optimum.
    """

    values: Mapping[str, Interval]
    residual: float
    curves: int


def rescaled(curve: GammaCurve, exponents: Mapping[str, float]) -> Grid:
    """gamma0 x product of setting^exponent.

    For gamma0^2 x eta0 x steps as the one variable give eta0 and steps the exponent 1/2; for NTP of
    several widths in units of muP give the width -1/2 (constants move all curves alike).

    Raises:
        ValueError: a setting that the curve has not, or one that is no positive number.
    """
    factor = 1.0
    for name, exponent in exponents.items():
        factor *= _number(curve, name) ** exponent
    return curve.gamma0 * factor


def collapse_quality(
    curves: Sequence[GammaCurve], exponents: Mapping[str, float] | None = None
) -> Collapse:
    """How well curves lie on each other when gamma0 is rescaled by powers of their settings.

    Each point is compared with the mean of the other curves there, which are joined linearly in
    log gamma0 and not continued beyond their ends; the spread is the sum of the squared
    differences of means over seeds, divided by the sum of squares of the compared means about their
    own mean. (Houdayer & Hartmann, 2004, divide by the errors of the points instead, which measures
    how sure a difference is and not how large.) Seeds are paired: the noise is that of the
    differences within seeds. Points at which a seed has no finite value are left out.

    Args:
        curves: two or more, over the same seeds in the same order.
        exponents: of the settings in the rescaling (see `rescaled`); none leaves gamma0 as it is.

    Raises:
        ValueError: fewer than two curves, different numbers of seeds, or see `rescaled`.
    """
    _check_seeds(curves)
    usable = [curve.usable() for curve in curves]
    places = [np.log(rescaled(curve, exponents or {})) for curve in usable]
    compared, differences = [], []
    for i, (curve, place) in enumerate(zip(usable, places, strict=True)):
        others = [(c, p) for j, (c, p) in enumerate(zip(usable, places, strict=True)) if j != i]
        for at, values in zip(place, curve.values.T, strict=True):
            met = [
                [np.interp(at, p, row) for row in c.values]
                for c, p in others
                if len(p) and p[0] - 1e-9 <= at <= p[-1] + 1e-9
            ]
            if met:
                compared.append(values)
                differences.append(values - np.mean(met, axis=0))
    points = sum(len(place) for place in places)
    if not compared:
        return Collapse(float("nan"), float("nan"), 0.0)
    means, apart = np.array(compared).mean(axis=1), np.array(differences)
    total = float(((means - means.mean()) ** 2).sum())
    overlap = len(compared) / points
    if np.ptp(means) <= 1e-12 * np.abs(means).max():
        return Collapse(float("nan"), float("nan"), overlap)
    seeds = apart.shape[1]
    noise = apart.var(axis=1, ddof=1).sum() / seeds / total if seeds > 1 else float("nan")
    return Collapse(float((apart.mean(axis=1) ** 2).sum() / total), float(noise), overlap)


def fit_exponents(
    curves: Sequence[GammaCurve],
    names: Sequence[str],
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Exponents | None:
    """How gamma0* goes with settings, by least squares of log gamma0* (refined, see `Optimum`).

    Curves without an interior optimum do not take part: an end of a range is no more than a bound.
    Seeds are drawn anew for all curves together; within a draw the least value may lie at an end.

    Args:
        curves: average errors, over the same seeds in the same order.
        names: settings, positive numbers.
        level: of the intervals.
        resamples: number of draws.
        seed: of the draws.

    Returns:
        None where too few curves have an interior optimum, or the settings do not vary apart.

    Raises:
        ValueError: fewer than two curves, different numbers of seeds, or a setting that a curve has
            not, or that is no positive number.
    """
    _check_seeds(curves)
    logs = np.array([[np.log(_number(curve, name)) for name in names] for curve in curves])
    interior = [optimum(c.gamma0, c.values, level, resamples, seed).interior for c in curves]
    design = np.column_stack([np.ones(len(curves)), logs])[interior]
    if np.linalg.matrix_rank(design) < len(names) + 1:
        return None
    parts = [c.usable() for c, inside in zip(curves, interior, strict=True) if inside]
    best = _log_optima(parts, [p.values.mean(axis=0)[None] for p in parts])
    drawn = [resampled_means(p.values, resamples, seed) for p in parts]
    solve = np.linalg.pinv(design)
    found = (solve @ best)[:, 0]
    spread = solve @ _log_optima(parts, drawn)
    low, high = np.quantile(spread, [(1 - level) / 2, (1 + level) / 2], axis=1)
    residual = (design @ found - best[:, 0]) / np.log(10)
    values = {
        name: Interval(float(found[i]), float(low[i]), float(high[i]))
        for i, name in enumerate(names, start=1)
    }
    return Exponents(values, float(np.sqrt((residual**2).mean())), len(parts))


def _log_optima(
    curves: Sequence[GammaCurve], means: Sequence[np.ndarray]
) -> Float[np.ndarray, "curves draws"]:
    """The refined optimum of each row of means, (draws, gammas) of each curve."""
    pairs = zip(curves, means, strict=True)
    return np.log([refined_argmin(curve.gamma0, rows) for curve, rows in pairs])


def _check_seeds(curves: Sequence[GammaCurve]) -> None:
    seeds = [len(curve.values) for curve in curves]
    if len(curves) < 2:
        raise ValueError(f"curves must be two or more, got {len(curves)}")
    if len(set(seeds)) > 1:
        raise ValueError(f"curves must be over the same seeds, got {seeds} of them")


def _number(curve: GammaCurve, name: str) -> float:
    value = curve.settings.get(name)
    if value is None or isinstance(value, str) or not 0 < value < float("inf"):
        raise ValueError(
            f"exponents need a positive number for {name!r} of each curve, got {value!r}; "
            f"the curve has {dict(curve.settings)}"
        )
    return float(value)
