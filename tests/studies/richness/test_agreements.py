"""Whether the optima of several curves agree."""

import itertools
import math

import numpy as np
import pytest

from holdfast.studies.richness import GammaCurve, agreement, optimum
from holdfast.studies.richness.optima import refined_argmin

GRID = np.logspace(-2, 0, 9)


def curve(place: float, noise: float = 0.0, seeds: int = 3, seed: int = 0) -> GammaCurve:
    draws = np.random.default_rng(seed)
    values = 0.2 + 0.1 * (np.log10(GRID) - place) ** 2 + noise * draws.normal(size=(seeds, 9))
    return GammaCurve(GRID, values, {"net.width": 64})


def test_optima_at_one_place_agree() -> None:
    curves = [curve(-1.0, 0.002, seed=i) for i in range(3)]
    optima = [optimum(c.gamma0, c.values) for c in curves]
    found = agreement(curves, optima)
    assert (found.compared, found.of, found.overlap) == (3, 3, True)
    assert found.low == max(best.gamma0.low for best in optima)
    assert found.high == min(best.gamma0.high for best in optima)
    assert found.low <= 0.1 <= found.high
    assert found.decades <= 0.25 + 1e-9
    assert abs(found.shift.mean) <= found.refined_decades < 0.1


def test_optima_apart_do_not_and_the_shift_is_told() -> None:
    curves = [curve(-1.2), curve(-1.0), curve(-0.7)]
    found = agreement(curves, [optimum(c.gamma0, c.values) for c in curves])
    assert found.overlap is False
    assert math.isnan(found.low)
    assert found.decades == pytest.approx(0.5)
    assert found.refined_decades == pytest.approx(0.5)
    assert found.shift == pytest.approx([0.5] * 3)


def test_the_interval_of_the_shift_is_that_of_joint_resamples() -> None:
    first, last = curve(-1.2, 0.01, seed=1), curve(-0.8, 0.01, seed=2)
    shifts = []
    for drawn in itertools.product(range(3), repeat=3):
        one, other = (
            refined_argmin(GRID, c.values[list(drawn)].mean(axis=0)[None])[0] for c in (first, last)
        )
        shifts.append(math.log10(other / one))
    optima = [optimum(c.gamma0, c.values) for c in (first, last)]
    low, high = np.quantile(shifts, [0.025, 0.975], method="inverted_cdf")
    found = agreement([first, last], optima)
    assert (found.shift.low, found.shift.high) == pytest.approx((low, high))


def test_only_interior_optima_are_compared() -> None:
    curves = [curve(-1.0), curve(-0.9), curve(1.0)]
    optima = [optimum(c.gamma0, c.values) for c in curves]
    found = agreement(curves, optima)
    assert (found.compared, found.of, found.overlap) == (2, 3, True)
    assert found.refined_decades == pytest.approx(0.1)
    assert np.isnan(found.shift).all()
    alone = agreement(curves[1:], optima[1:])
    assert (alone.compared, alone.overlap) == (1, None)
    assert math.isnan(alone.decades)


def test_wrong_curves() -> None:
    curves = [curve(-1.0), curve(-1.0, seeds=2)]
    optima = [optimum(c.gamma0, c.values) for c in curves]
    with pytest.raises(ValueError, match="each curve needs its optimum, got 2 and 1"):
        agreement(curves, optima[:1])
    with pytest.raises(ValueError, match="each curve needs its optimum, got 0 and 0"):
        agreement([], [])
    with pytest.raises(ValueError, match=r"over the same seeds, got \[3, 2\]"):
        agreement(curves, optima)
