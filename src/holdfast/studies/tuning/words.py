"""What a tuning found, in sentences."""

import math
from collections.abc import Sequence

from holdfast.records.intervals import Interval
from holdfast.studies.richness.curves import StableRange
from holdfast.studies.richness.optima import Optimum
from holdfast.studies.tuning.cost import Cost
from holdfast.studies.tuning.regrets import Regret


def optimum_words(found: Optimum, width: int, metric: str) -> list[str]:
    """Where the optimum of a width lies."""
    if found.where == "unstable":
        return [f"width {width}: at no gamma0 has every seed a finite {metric}"]
    least = f"width {width}: least {metric} at gamma0 {_at(found.gamma0)}"
    if found.interior:
        return [f"{least}, interior; by a parabola {_at(found.refined)}"]
    return [f"{least}; {found.verdict}"]


def advice_words(found: Optimum, grid: Sequence[float]) -> list[str]:
    """What to do where there is no interior optimum."""
    if found.interior:
        return []
    if found.where == "unstable":
        return ["give smaller gamma0, or a lower training.lr"]
    if found.gamma0.mean == grid[0]:
        return ["the lazier the better so far: give smaller gamma0"]
    if found.gamma0.mean == grid[-1]:
        return ["the richer the better so far: give larger gamma0, or a higher training.lr"]
    if found.gamma0.mean == found.stable.every:
        return ["the error falls up to where runs diverge: a lower training.lr bears larger gamma0"]
    return ["the least lies within the range all the same; more seeds may tell it from the ends"]


def stable_words(found: StableRange, width: int, seeds: int) -> list[str]:
    """How far gamma0 may go, where runs have no finite error."""
    if not found.missing:
        return []
    lost = ", ".join(f"{n} of {seeds} at {g:g}" for g, n in found.missing.items())
    every = "at none" if math.isnan(found.every) else f"up to {found.every:g}"
    return [f"width {width}: stable {every}; without a finite error: {lost}"]


def regret_words(found: Regret, width: int) -> list[str]:
    """What the transfer costs."""
    if math.isnan(found.best):
        return [f"width {width}: at no gamma0 that was run there has every seed a finite error"]
    if math.isnan(found.value.mean):
        return [f"width {width}: gamma0 {found.gamma0:g} diverges; {found.best:g} is best there"]
    best = "the best" if found.best == found.gamma0 else f"{found.best:g} is best"
    said = f"width {width}: {best} of {found.among} values run, regret {shown(found.value)}"
    if math.isnan(found.value.low) or found.value.high == 0:
        return [said]
    told = "told from 0" if found.told else "not told from 0"
    return [f"{said}, {told}; with the best chosen on the other seeds {shown(found.held_out)}"]


def plain_words(cell: str, above: Interval) -> list[str]:
    """Where the plain net, at the rate of a cell, has the smaller error."""
    if not above.mean < 0 or above.high >= 0:
        return []
    return [f"the plain net does better ({cell}): {shown(above, sign=True)}"]


def cost_words(found: Cost, width: int, target: int) -> list[str]:
    """What was spent and saved."""
    spent = f"{found.narrow:.3g} s at width {width} and {found.target:.3g} s at {target}"
    if math.isnan(found.grid):
        return [f"CPU: {found.narrow:.3g} s at width {width}"]
    how = (
        "measured"
        if found.measured == found.runs
        else f"{found.measured} of {found.runs} runs measured, the others estimated by their mean"
    )
    whole = f"the whole grid at width {target}: {found.grid:.3g} s ({how})"
    saved = f"{found.ratio:.1f} times what was spent"
    if found.ratio <= 1:
        saved += ": nothing is saved"
    return [f"CPU: {spent}; {whole}, {saved}"]


def rate_words(lr: float, eta: float) -> list[str]:
    """Of a configuration that was written for a plain net."""
    return [
        f"training.lr {lr:g} was taken for the eta_0 of muP, as the configuration has no richness; "
        f"about {eta:g} would take steps like those of the plain net"
    ]


def shown(interval: Interval, digits: int = 4, sign: bool = False) -> str:
    """A mean with its interval.

    >>> shown(Interval(0.25, 0.2, 0.3), digits=2), shown(Interval(0.25, *[float("nan")] * 2))
    ('0.25 [0.20, 0.30]', '0.2500')
    """
    form = f"{'+' if sign else ''}.{digits}f"
    mean, low, high = (format(value + 0.0, form) for value in interval)
    return mean if math.isnan(interval.low) else f"{mean} [{low}, {high}]"


def _at(place: Interval) -> str:
    """A place on the axis of gamma0."""
    ends = "" if math.isnan(place.low) else f" [{place.low:.3g}, {place.high:.3g}]"
    return f"{place.mean:.3g}{ends}"
