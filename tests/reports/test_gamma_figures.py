"""Curves against gamma0 with their marks, and before and after a rescaling."""

import numpy as np
import pytest

from holdfast.records import mean_interval
from holdfast.records.intervals import Interval
from holdfast.reports import collapse_figure, gamma_figure
from holdfast.studies.richness import GammaCurve, collapse_quality

GRID = np.logspace(-2, 0.5, 11)
X = "richness.gamma0"


def curves(count=3, seeds=3, settings=None):
    made = []
    for i in range(count):
        draws = np.random.default_rng(i)
        values = 0.3 / (1 + (GRID / 2**i) ** -2) + 0.01 * draws.normal(size=(seeds, len(GRID)))
        made.append(GammaCurve(GRID, values, settings(i) if settings else {"net.width": 2.0**i}))
    return made


def lines_of(axes):
    return [line for line in axes.lines if len(line.get_xdata()) > 2]


def test_a_panel_a_metric_holds_means_with_their_intervals(assert_readable):
    panels = {"ae": curves(), "cfr": curves(), "Drift.drift": curves()}
    figure = gamma_figure(X, panels, title="parametrization mup")
    assert [axes.get_ylabel() for axes in figure.axes] == list(panels)
    for axes, found in zip(figure.axes, panels.values(), strict=True):
        assert axes.get_xscale() == "log"
        for line, band, curve in zip(lines_of(axes), axes.collections, found, strict=True):
            assert line.get_xdata().tolist() == GRID.tolist()
            edge = band.get_paths()[0].vertices
            for g, mean, column in zip(GRID, line.get_ydata(), curve.values.T, strict=True):
                assert mean == pytest.approx(column.mean())
                at = edge[np.isclose(edge[:, 0], g), 1]
                assert (at.min(), at.max()) == pytest.approx(mean_interval(column)[1:])
    legend = figure.legends[0]
    assert legend.get_title().get_text() == "width"
    assert [text.get_text() for text in legend.get_texts()] == ["1", "2", "4"]
    ticks = [text.get_text() for text in figure.axes[-1].get_xticklabels()]
    assert ticks == [
        "0.01",
        "0.018",
        "0.032",
        "0.056",
        "0.1",
        "0.18",
        "0.32",
        "0.56",
        "1",
        "1.8",
        "3.2",
    ]
    assert_readable(figure)


def test_marks_stand_in_rows_beneath_their_panel(assert_readable):
    nan = float("nan")
    marks = {
        "ae": {
            "optimum": [
                (Interval(0.1, 0.05, 0.3), True),
                (Interval(1.0, 0.3, 1.0), False),
                (Interval(nan, nan, nan), False),
            ]
        }
    }
    figure = gamma_figure(X, {"ae": curves(), "cfr": curves()}, marks)
    panel, strip, other = figure.axes
    assert [axes.get_ylabel() for axes in figure.axes] == ["ae", "optimum", "cfr"]
    bars = [line for line in strip.lines if len(line.get_xdata()) == 2]
    points = [line for line in strip.lines if len(line.get_xdata()) == 1]
    assert [tuple(bar.get_xdata()) for bar in bars[:2]] == [(0.05, 0.3), (0.3, 1.0)]
    assert [float(point.get_xdata()[0]) for point in points[:2]] == [0.1, 1.0]
    assert [float(point.get_ydata()[0]) for point in points] == [0, 1, 2]
    assert [point.get_markerfacecolor() == "white" for point in points[:2]] == [False, True]
    colours = [line.get_color() for line in lines_of(panel)]
    assert [point.get_color() for point in points] == colours
    assert strip.get_ylim()[0] > strip.get_ylim()[1]
    assert "not shown to be an optimum" in strip.get_title("left")
    assert other.get_title("left") == ""
    assert_readable(figure)


def test_runs_without_a_value_make_a_point_hollow_and_a_curve_end():
    found = curves(1)
    found[0].values[0, -2] = np.inf
    found[0].values[:, -1] = np.nan
    (axes,) = gamma_figure(X, {"ae": found}).axes
    (line,) = lines_of(axes)
    assert line.get_xdata().tolist() == GRID[:-1].tolist()
    assert line.get_ydata()[-1] == pytest.approx(found[0].values[1:, -2].mean())
    assert axes.get_title("left") == "hollow: not every run has a value"
    faces = [mark.get_markerfacecolor() for mark in axes.lines if len(mark.get_xdata()) == 1]
    assert [face == "white" for face in faces] == [False] * 9 + [True]


def test_the_axis_spans_what_was_run_where_every_run_diverged(assert_readable):
    found = curves(2)
    for curve in found:
        curve.values[:] = np.nan
    figures = [gamma_figure(X, {"ae": found, "cfr": found}), collapse_figure(X, "ae", found, {})]
    for figure in figures:
        assert_readable(figure)
        for axes in figure.axes:
            low, high = axes.get_xlim()
            assert GRID[0] / 2 < low < GRID[0] < GRID[-1] < high < 2 * GRID[-1]


@pytest.mark.parametrize(("count", "seeds", "names"), [(1, 3, 1), (14, 1, 3)])
def test_figures_of_any_number_of_curves_can_be_read(assert_readable, count, seeds, names):
    def settings(i):
        return {f"part.setting{k}": i if k else f"a long name {i}" for k in range(names)}

    found = curves(count, seeds, settings)
    place = [(Interval(0.1, 0.05, 0.3), True)] * count
    marks = {"cfr": {"plateau_departure": place, "steepest_slope": place}}
    assert_readable(gamma_figure(X, {"ae": found, "cfr": found}, marks, "a title"))
    assert_readable(gamma_figure(X, {"ae": curves(1, seeds, lambda i: {})}))
    if count > 1:
        assert_readable(collapse_figure(X, "cfr", found, {}, "a title"))


def test_a_rescaling_moves_each_curve_by_its_setting(assert_readable):
    found = curves()
    figure = collapse_figure(X, "cfr", found, {"net.width": -1.0}, "parametrization ntp")
    left, right = figure.axes
    assert (left.get_xlabel(), right.get_xlabel()) == ("gamma0", "gamma0 width^-1")
    for one, other, curve in zip(lines_of(left), lines_of(right), found, strict=True):
        assert one.get_xdata().tolist() == GRID.tolist()
        np.testing.assert_allclose(other.get_xdata(), GRID / curve.settings["net.width"])
        assert one.get_ydata().tolist() == other.get_ydata().tolist()
    for axes, exponents in ((left, {}), (right, {"net.width": -1.0})):
        spread, noise, _ = collapse_quality(found, exponents)
        assert axes.get_title("left") == f"spread {spread:.2g} ({noise:.2g} by seeds)"
    assert_readable(figure)


def test_wrong_panels_and_marks():
    place = (Interval(0.1, 0.05, 0.3), True)
    with pytest.raises(ValueError, match=r"panels must name metrics with their curves, got \{\}"):
        gamma_figure(X, {})
    with pytest.raises(ValueError, match=r"panels must name metrics with their curves"):
        gamma_figure(X, {"ae": []})
    with pytest.raises(ValueError, match="panels must hold the same curves"):
        gamma_figure(X, {"ae": curves(2), "cfr": curves(3)})
    with pytest.raises(ValueError, match="marks are for 'acc'; the panels are ae"):
        gamma_figure(X, {"ae": curves(1)}, {"acc": {"optimum": [place]}})
    with pytest.raises(ValueError, match="optimum must have a mark for each of 2 curves, got 1"):
        gamma_figure(X, {"ae": curves(2)}, {"ae": {"optimum": [place]}})
    with pytest.raises(ValueError, match="curves must be two or more, got 1"):
        collapse_figure(X, "ae", curves(1), {})
