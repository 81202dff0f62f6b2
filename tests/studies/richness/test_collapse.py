"""Curves that are one when rescaled, and the law of their optima."""

import math

import numpy as np
import pytest

from holdfast.studies.richness import GammaCurve, collapse_quality, fit_exponents, rescaled
from holdfast.studies.richness.optima import optimum

GRID = np.logspace(-3, 1, 25)


def forgetting(scale: float, noise: float = 0.0, seeds: int = 3, seed: int = 0) -> np.ndarray:
    """A logistic in log(scale x gamma0)."""
    draws = np.random.default_rng(seed)
    curve = 0.3 / (1 + (scale * GRID) ** -2)
    return curve + noise * draws.normal(size=(seeds, len(GRID)))


def widths(exponent: float, noise: float = 0.0) -> list[GammaCurve]:
    return [
        GammaCurve(GRID, forgetting((n / 64) ** exponent, noise, seed=n), {"net.width": n})
        for n in (32, 64, 128, 256)
    ]


def test_curves_that_are_one_have_no_spread_and_ntp_is_one_in_units_of_mup() -> None:
    assert collapse_quality(widths(0.0)).spread == pytest.approx(0, abs=1e-20)
    assert collapse_quality(widths(0.0)).overlap == 1.0
    before = collapse_quality(widths(-0.5))
    after = collapse_quality(widths(-0.5), {"net.width": -0.5})
    assert before.spread > 0.02
    # What is left is the error of joining points linearly.
    assert after.spread < 1e-4
    assert 0.85 < after.overlap < 1.0


def test_the_spread_is_that_of_its_definition() -> None:
    curves = [
        GammaCurve(
            np.array([0.1, 0.3, 1.0]) * (1 + i / 2),
            np.random.default_rng(i).normal(size=(3, 3)),
            {"eta": 1.0 + i, "steps": 2.0**i},
        )
        for i in range(3)
    ]
    exponents = {"eta": 0.5, "steps": -0.25}
    found = collapse_quality(curves, exponents)
    differences, noise, compared, points = [], [], [], 0
    for curve in curves:
        for g, values in zip(rescaled(curve, exponents), curve.values.T, strict=True):
            points += 1
            there = []
            for other in curves:
                place = rescaled(other, exponents)
                if other is curve or not place[0] <= g <= place[-1]:
                    continue
                k = min(int(np.searchsorted(place, g, side="right")), 2)
                t = math.log(g / place[k - 1]) / math.log(place[k] / place[k - 1])
                there.append((1 - t) * other.values[:, k - 1] + t * other.values[:, k])
            if there:
                apart = values - sum(there) / len(there)
                differences.append(apart.mean() ** 2)
                noise.append(apart.var(ddof=1) / 3)
                compared.append(values.mean())
    total = sum((v - np.mean(compared)) ** 2 for v in compared)
    assert len(compared) < points
    assert found == pytest.approx(
        (sum(differences) / total, sum(noise) / total, len(compared) / points)
    )


def test_seeds_alone_make_the_spread_that_is_said_to_be_noise() -> None:
    spreads, noises = [], []
    for trial in range(60):
        curves = [
            GammaCurve(GRID, forgetting(1.0, 0.02, seed=10 * trial + i), {"n": i}) for i in range(3)
        ]
        found = collapse_quality(curves)
        spreads.append(found.spread)
        noises.append(found.noise)
    assert np.mean(spreads) == pytest.approx(np.mean(noises), rel=0.1)


def test_a_level_common_to_the_curves_of_a_seed_is_no_noise() -> None:
    levels = np.array([[-0.1], [0.0], [0.1]])
    curves = [GammaCurve(GRID, levels + forgetting(1.0), {"n": i}) for i in range(2)]
    assert collapse_quality(curves).noise == pytest.approx(0, abs=1e-20)


def test_what_cannot_be_compared_is_unknown() -> None:
    apart = [
        GammaCurve(GRID, forgetting(1.0), {"eta": 1.0}),
        GammaCurve(GRID, forgetting(1.0), {"eta": 1e6}),
    ]
    found = collapse_quality(apart, {"eta": 1.0})
    assert math.isnan(found.spread)
    assert found.overlap == 0.0
    flat = [GammaCurve(GRID, np.full((2, len(GRID)), 0.1), {"n": i}) for i in range(2)]
    assert math.isnan(collapse_quality(flat).spread)
    assert collapse_quality(flat).overlap == 1.0
    single = [GammaCurve(GRID, forgetting(1.0 + i, seeds=1), {"n": i}) for i in range(2)]
    assert math.isnan(collapse_quality(single).noise)
    assert collapse_quality(single).spread > 0


def test_runs_that_diverged_are_left_out() -> None:
    whole, cut = widths(0.0, 0.01), widths(0.0, 0.01)
    for curve in cut:
        curve.values[0, -1] = np.nan
    shorter = [GammaCurve(GRID[:-1], c.values[:, :-1], c.settings) for c in whole]
    assert collapse_quality(cut) == pytest.approx(collapse_quality(shorter))


def errors(
    eta: float, steps: int, noise: float = 0.0, seeds: int = 4, place: float = 0.3
) -> GammaCurve:
    """A parabola in log gamma0 whose vertex goes as eta^-0.5 steps^-0.25."""
    vertex = math.log(place * eta**-0.5 * steps**-0.25)
    draws = np.random.default_rng(int(100 * eta) + steps)
    values = 0.2 + 0.05 * (np.log(GRID) - vertex) ** 2
    values = values + noise * draws.normal(size=(seeds, len(GRID)))
    return GammaCurve(GRID, values, {"eta": eta, "steps": steps})


def test_the_exponents_of_a_known_law_are_found() -> None:
    curves = [errors(eta, steps) for eta in (0.3, 1.0, 3.0) for steps in (1, 4)]
    law = fit_exponents(curves, ["eta", "steps"], resamples=50)
    assert law is not None
    assert law.values["eta"] == pytest.approx([-0.5] * 3)
    assert law.values["steps"] == pytest.approx([-0.25] * 3)
    assert (law.residual, law.curves) == (pytest.approx(0, abs=1e-10), 6)


def test_the_interval_of_an_exponent_holds_it_and_is_that_of_joint_draws() -> None:
    curves = [errors(eta, 1, noise=0.05) for eta in (0.1, 0.3, 1.0, 3.0)]
    law = fit_exponents(curves, ["eta"])
    assert law is not None
    mean, low, high = law.values["eta"]
    assert low < -0.5 < high
    assert low < mean < high
    assert law.residual > 0
    # Of a level of each seed that all its curves share the optima know nothing.
    moved = [GammaCurve(GRID, c.values + np.arange(4)[:, None], c.settings) for c in curves]
    again = fit_exponents(moved, ["eta"])
    assert again is not None
    assert again.values["eta"] == pytest.approx((mean, low, high))


def test_curves_without_an_interior_optimum_take_no_part() -> None:
    # That of the third lies beyond the grid.
    curves = [errors(1.0, 1), errors(4.0, 1), errors(1e8, 1)]
    law = fit_exponents(curves, ["eta"])
    assert law is not None
    assert law.curves == 2
    assert law.values["eta"].mean == pytest.approx(-0.5)
    assert fit_exponents(curves[1:], ["eta"]) is None
    assert not optimum(GRID, curves[2].values).interior


def test_settings_that_do_not_vary_apart_give_no_law() -> None:
    curves = [errors(eta, int(eta)) for eta in (1.0, 2.0, 4.0)]
    assert fit_exponents(curves, ["eta", "steps"]) is None
    assert fit_exponents([errors(1.0, 2), errors(1.0, 2)], ["eta"]) is None


def test_wrong_curves_and_settings() -> None:
    curves = widths(0.0)
    for wrong in (collapse_quality, lambda c: fit_exponents(c, ["net.width"])):
        with pytest.raises(ValueError, match="curves must be two or more, got 1"):
            wrong(curves[:1])
        other = GammaCurve(GRID, forgetting(1.0, seeds=2), {"net.width": 64})
        with pytest.raises(ValueError, match=r"over the same seeds, got \[3, 2\] of them"):
            wrong([curves[0], other])
    with pytest.raises(ValueError, match="positive number for 'eta' of each curve, got None"):
        collapse_quality(curves, {"eta": 0.5})
    named = [GammaCurve(GRID, forgetting(1.0), {"net": name}) for name in ("mlp", "cnn")]
    with pytest.raises(ValueError, match="positive number for 'net' of each curve, got 'mlp'"):
        fit_exponents(named, ["net"])
    zero = [GammaCurve(GRID, forgetting(1.0), {"similarity": s}) for s in (0.0, 0.5)]
    with pytest.raises(ValueError, match=r"'similarity' of each curve, got 0\.0"):
        fit_exponents(zero, ["similarity"])
