"""A quantity against gamma0, several seeds of it, and the part of it that can be used."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float

from holdfast.seeds import derive
from holdfast.studies.axes import Field
from holdfast.studies.findings import LEVEL as LEVEL
from holdfast.studies.findings import RESAMPLES as RESAMPLES

Grid = Float[np.ndarray, " gammas"]
Values = Float[np.ndarray, "seeds gammas"]


@dataclass(frozen=True, eq=False)
class GammaCurve:
    """A quantity against gamma0.

    Args:
        gamma0: (g,) positive, ascending.
        values: (seeds, g), a seed a row; NaN or infinite where a run diverged.
        settings: what tells the curve from others: values by dotted key, such as
            ``{"net.width": 64}``.

    Raises:
        ValueError: gamma0 or values of another form (see `check_curve`).
    """

    gamma0: Grid
    values: Values
    settings: Mapping[str, Field] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_curve(self.gamma0, self.values, "values")

    @property
    def label(self) -> str:
        """The settings as a short text."""
        return settings_text(self.settings)

    def usable(self) -> "GammaCurve":
        """The part where every seed has a finite value."""
        kept = finite_columns(self.values)
        return GammaCurve(self.gamma0[kept], self.values[:, kept], self.settings)


def settings_text(settings: Mapping[str, Field]) -> str:
    """Settings as a short text.

    >>> settings_text({"net.width": 64.0, "richness.parametrization": "mup"})
    'width 64, parametrization mup'
    """
    shown = {k: v if isinstance(v, str) else f"{v:g}" for k, v in settings.items()}
    return ", ".join(f"{key.rpartition('.')[2]} {value}" for key, value in shown.items())


def check_curve(
    gamma0: Float[np.ndarray, "..."], values: Float[np.ndarray, "..."], name: str
) -> None:
    """Refuse what is no curve.

    Raises:
        ValueError: gamma0 that is not positive, finite and ascending, values of another shape, or
            no seeds.
    """
    if gamma0.ndim != 1 or not np.isfinite(gamma0).all() or (gamma0 <= 0).any():
        raise ValueError(f"gamma0 must be a row of positive finite numbers, got {gamma0}")
    if (np.diff(gamma0) <= 0).any():
        raise ValueError(f"gamma0 must ascend, each value once; got {gamma0}")
    if values.ndim != 2 or values.shape[1] != len(gamma0):
        raise ValueError(
            f"{name} must have a row a seed and a column for each of {len(gamma0)} gamma0, "
            f"got shape {values.shape}"
        )
    if not len(values):
        raise ValueError(f"{name} needs one or more seeds, got none")


def finite_columns(values: Values) -> Bool[np.ndarray, " gammas"]:
    """Where every seed has a finite value: a mean over the others would be of the better half."""
    return np.isfinite(values).all(axis=0)


@dataclass(frozen=True)
class StableRange:
    """How far gamma0 may be turned up before runs cease to give finite values.

    Args:
        every: largest gamma0 at which every seed has a finite value; NaN if there is none.
        most: largest gamma0 at which more than half of the seeds have one; NaN if there is none.
        missing: how many seeds have none, by gamma0 where there are any.
    """

    every: float
    most: float
    missing: Mapping[float, int]


def stable_range(gamma0: Grid, values: Values) -> StableRange:
    """The stable range of a curve.

    >>> found = stable_range(np.array([0.1, 1.0, 3.0]), np.array([[0.2, 0.3, np.nan]] * 2))
    >>> found.every, found.missing
    (1.0, {3.0: 2})
    """
    check_curve(gamma0, values, "values")
    known = np.isfinite(values)
    lost = (~known).sum(axis=0)

    def largest(chosen: Bool[np.ndarray, " gammas"]) -> float:
        return float(gamma0[chosen][-1]) if chosen.any() else float("nan")

    return StableRange(
        largest(known.all(axis=0)),
        largest(known.mean(axis=0) > 0.5),
        {float(g): int(n) for g, n in zip(gamma0, lost, strict=True) if n},
    )


def resampled_means(
    values: Values, resamples: int = RESAMPLES, seed: int = 0
) -> Float[np.ndarray, "resamples gammas"]:
    """Means over seeds drawn anew with replacement, whole rows at a time.

    The draws depend on the number of seeds alone, so that curves over the same seeds are resampled
    together and what is compared between them stays paired.
    """
    draws = np.random.default_rng(derive(seed, "bootstrap"))
    picked = draws.integers(len(values), size=(resamples, len(values)))
    return np.asarray(values[picked].mean(axis=1))


def left_out_means(values: Values) -> Values:
    """Row i: the mean over all seeds but i; there must be two or more."""
    return (values.sum(axis=0) - values) / (len(values) - 1)
