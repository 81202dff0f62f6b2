"""The figures of a study's analysis."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from holdfast.reports import analysis_figures
from holdfast.studies import Findings
from holdfast.studies.richness import GammaAnalysis
from holdfast.studies.table import table_of

GRID = (0.01, 0.032, 0.1, 0.32, 1.0)
X, WIDTH, SCALE = "richness.gamma0", "net.width", "richness.parametrization"


@pytest.fixture
def findings():
    draws = np.random.default_rng(0)
    rows = [
        {
            "cell": f"{scale} {width} {g}", SCALE: scale, WIDTH: width, X: g, "seed": seed,
            "status": "complete", "ae": 0.3 + (np.log10(g) + 1) ** 2 + 0.01 * draws.normal(),
            "cfr": 0.4 * g**2, "Drift.drift": g,
        }
        for scale in ("mup", "ntp") for width in (32, 64) for g in GRID for seed in range(3)
    ]  # fmt: skip
    cells = tuple(dict.fromkeys(str(row["cell"]) for row in rows))
    return Findings("widths", (SCALE, WIDTH, X), cells, (0, 1, 2), (), table_of(rows))


def test_each_group_has_its_curves_and_their_collapse(findings, assert_readable):
    analysis = GammaAnalysis(rescale={WIDTH: -0.5}, draw=["Drift.drift", "Other.value"])
    figures = analysis_figures(analysis, findings)
    assert list(figures) == [
        f"{what} parametrization {scale}"
        for scale in ("mup", "ntp")
        for what in (X, "collapse ae", "collapse cfr")
    ]
    for figure in figures.values():
        assert_readable(figure)
    first, collapse, _ = list(figures.values())[:3]
    assert [axes.get_ylabel() for axes in first.axes] == [
        "ae", "optimum", "cfr", "plateau\ndeparture", "steepest\nslope", "Drift.drift",
    ]  # fmt: skip
    assert collapse.axes[1].get_xlabel() == "gamma0 width^-0.5"
    # Each strip has the optimum that the analysis finds.
    curve = analysis.groups(findings, "ae")[0].curves[0]
    drawn = [line for line in first.axes[1].lines if len(line.get_xdata()) == 1]
    assert drawn[0].get_xdata()[0] == analysis.optimum(curve).gamma0.mean


def test_without_a_rescaling_the_fitted_one_is_drawn_if_there_is_one(findings):
    figures = analysis_figures(GammaAnalysis(forgetting=None), findings)
    assert list(figures)[:2] == [f"{X} parametrization mup", "collapse ae parametrization mup"]
    figures = analysis_figures(GammaAnalysis(by=SCALE, forgetting=None), findings)
    assert list(figures) == [f"{X} width 32", f"{X} width 64"]


def test_an_analysis_of_ones_own_draws_what_it_will(findings):
    class Drawing:
        def __call__(self, findings):
            return {}

        def figures(self, findings):
            return {"mine": Figure()}

    class Silent:
        def __call__(self, findings):
            return {}

    assert list(analysis_figures(Drawing(), findings)) == ["mine"]
    assert analysis_figures(Silent(), findings) == {}
