import math

import numpy as np
import pytest

from holdfast.records import mean_interval
from holdfast.reports import heat_figure, line_figure
from holdfast.reports.cells import cell, levels

RATES, WIDTHS, SEEDS = (0.01, 0.1, 1.0), (64, 128), range(4)


@pytest.fixture
def table():
    """Three rates, two widths, four seeds; the rows shuffled."""
    rng = np.random.default_rng(0)
    rows = [(r, w, s) for r in RATES for w in WIDTHS for s in SEEDS]
    rate, width, seed = np.array(rows)[rng.permutation(len(rows))].T
    method = np.where(width > 100, "ewc", "finetune")
    acc = 0.5 + 0.1 * np.log10(rate) + 0.001 * width + 0.01 * rng.normal(size=len(rows))
    return {"rate": rate, "width": width.astype(int), "seed": seed, "method": method, "acc": acc}


def known_lines(axes):
    """Lines that join points, in order of drawing."""
    return [line for line in axes.lines if len(line.get_xdata()) > 1]


def test_lines_are_means_with_their_intervals(table, assert_readable):
    figure = line_figure(table, "rate", "acc", group="width", interval=0.8)
    axes = figure.axes[0]
    assert axes.get_xscale() == "log"
    for line, band, width in zip(known_lines(axes), axes.collections, WIDTHS, strict=True):
        assert line.get_xdata().tolist() == list(RATES)
        edge = band.get_paths()[0].vertices
        for rate, mean in zip(RATES, line.get_ydata(), strict=True):
            chosen = [
                a
                for a, r, w in zip(table["acc"], table["rate"], table["width"], strict=True)
                if r == rate and w == width
            ]
            expected = mean_interval(np.array(chosen), 0.8)
            assert mean == pytest.approx(sum(chosen) / 4)
            at = edge[np.isclose(edge[:, 0], rate), 1]
            assert (at.min(), at.max()) == pytest.approx(expected[1:])
    legend = figure.legends[0]
    assert legend.get_title().get_text() == "width"
    assert [text.get_text() for text in legend.get_texts()] == ["64", "128"]
    assert_readable(figure)


def test_names_stand_side_by_side_in_order_of_appearance(table, assert_readable):
    figure = line_figure(table, "method", "acc", group="rate")
    axes = figure.axes[0]
    names = [text.get_text() for text in axes.get_xticklabels()]
    assert names == list(dict.fromkeys(table["method"].tolist()))
    places = {float(x) for line in axes.lines for x in line.get_xdata()}
    assert len(places) == 6
    assert_readable(figure)


def test_runs_without_a_value_make_a_point_hollow(table):
    table["acc"][(table["rate"] == 1.0) & (table["seed"] == 0)] = np.nan
    figure = line_figure(table, "rate", "acc")
    faces = {
        float(line.get_xdata()[0]): line.get_markerfacecolor()
        for line in figure.axes[0].lines
        if len(line.get_xdata()) == 1
    }
    assert [face == "white" for face in map(faces.get, RATES)] == [False, False, True]
    assert "hollow" in figure.axes[0].get_title("left")
    table["acc"][table["rate"] == 1.0] = np.nan
    (line,) = known_lines(line_figure(table, "rate", "acc").axes[0])
    assert line.get_xdata().tolist() == [0.01, 0.1]


def test_the_axis_is_logarithmic_when_asked_or_wide(table):
    near = {**table, "rate": table["rate"] + 1}
    assert line_figure(near, "rate", "acc").axes[0].get_xscale() == "linear"
    assert line_figure(near, "rate", "acc", log_x=True).axes[0].get_xscale() == "log"
    assert line_figure(table, "rate", "acc", log_x=False).axes[0].get_xscale() == "linear"
    for column in ("seed", "method"):
        with pytest.raises(ValueError, match=f"log_x needs positive numbers in column '{column}'"):
            line_figure(table, column, "acc", log_x=True)


@pytest.mark.parametrize(("places", "groups"), [(1, 1), (3, 8), (40, 14), (100, 30)])
def test_lines_of_any_number_can_be_read(assert_readable, places, groups):
    step, group = (part.ravel() for part in np.meshgrid(range(places), range(groups)))
    table = {"step": step, "group": group, "acc": step + group / 10}
    assert_readable(line_figure(table, "step", "acc", group="group"))


def test_heat_cells_are_means(table, assert_readable):
    table["acc"][(table["rate"] == 0.1) & (table["width"] == 64)] = np.nan
    table["acc"][(table["rate"] == 1.0) & (table["width"] == 128) & (table["seed"] > 1)] = np.nan
    figure = heat_figure(table, "rate", "width", "acc")
    shown = figure.axes[0].images[0].get_array().filled(np.nan)
    for j, width in enumerate(WIDTHS):
        for i, rate in enumerate(RATES):
            values = table["acc"][(table["rate"] == rate) & (table["width"] == width)]
            known = [v for v in values if not math.isnan(v)]
            expected = sum(known) / len(known) if known else math.nan
            assert shown[j, i] == pytest.approx(expected, nan_ok=True)
    marked = [text.get_text() for text in figure.axes[0].texts]
    assert len(marked) == 5
    assert [text.endswith("*") for text in marked].count(True) == 1
    bottom, top = figure.axes[0].get_ylim()
    assert bottom < top  # the smallest value at the bottom, as on any axis
    assert_readable(figure)


def test_a_centred_heat_map_is_symmetric(table):
    figure = heat_figure(table, "rate", "method", "acc", centre=0.5)
    low, high = figure.axes[0].images[0].get_clim()
    assert (low + high) / 2 == pytest.approx(0.5)
    assert figure.axes[0].images[0].get_array().max() <= high


@pytest.mark.parametrize("size", [1, 3, 12, 40])
def test_heat_maps_of_any_size_can_be_read(assert_readable, size):
    x, y = (part.ravel() for part in np.meshgrid(np.arange(size) / 1000, np.arange(size) * 10))
    assert_readable(heat_figure({"x": x, "y": y, "acc": x + y}, "x", "y", "acc"))
    names = np.array([f"a long name {v}" for v in y], dtype=object)
    assert_readable(heat_figure({"x": names, "y": y, "acc": x + y}, "x", "y", "acc"))


def test_levels_of_a_column():
    assert levels(np.array([3, 1, 3])).numbers.tolist() == [1, 3]
    assert levels(np.array([0.5, 1.0], dtype=object)).labels == ["0.5", "1"]
    for mixed in ([None, 1.0, None], [True, False, True], ["b", "a", "b"], [np.nan, 1.0, np.nan]):
        found = levels(np.array(mixed, dtype=object))
        assert found.numbers is None
        assert found.labels == [str(v) for v in mixed[:2]]
        assert found.position.tolist() == [0, 1, 0]


def test_a_cell_counts_what_it_lacks():
    values = np.array([1.0, np.nan, 3.0, 9.0])
    found = cell(values, np.array([True, True, True, False]))
    assert (found.interval.mean, found.known, found.missing) == (2.0, 2, 1)
    assert math.isnan(cell(values, np.zeros(4, dtype=bool)).interval.mean)


@pytest.mark.parametrize("draw", [line_figure, heat_figure])
def test_wrong_tables(table, draw):
    def figure(columns, x="rate", y="width", value="acc"):
        return draw(columns, x, value, y) if draw is line_figure else draw(columns, x, y, value)

    with pytest.raises(ValueError, match=r"no column 'lr'; the table holds rate, width"):
        figure(table, x="lr")
    with pytest.raises(ValueError, match="column 'method' must be numeric"):
        figure(table, value="method")
    with pytest.raises(ValueError, match="the table has no rows"):
        figure({name: column[:0] for name, column in table.items()})
