import numpy as np
import pytest

from holdfast.reports import transfer_figure


@pytest.fixture
def columns():
    gamma0 = np.tile([0.01, 0.1, 1.0, 0.1, 1.0], 2)
    return {
        "gamma0": gamma0,
        "width": np.tile([64, 64, 64, 512, 512], 2),
        "ae": 0.2 + 0.1 * np.log10(gamma0 * 5) ** 2 + np.repeat([0.0, 0.02], 5),
    }


def lines_at(figure, value, axis):
    """The lines that are straight across the axes at a value."""
    found = [line for line in figure.axes[0].lines if len(line.get_xdata()) == 2]
    data = [line.get_xdata() if axis == "x" else line.get_ydata() for line in found]
    return [d for d in data if list(d) == [value, value]]


def test_widths_are_lines_and_what_is_chosen_is_marked(columns, assert_readable) -> None:
    figure = transfer_figure(columns, "ae", chosen=0.1, levels={"standard": 0.3, "none": np.nan})
    axes = figure.axes[0]
    assert axes.get_xscale() == "log"
    assert [text.get_text() for text in figure.legends[0].texts] == ["64", "512"]
    assert len(lines_at(figure, 0.1, "x")) == 1
    assert len(lines_at(figure, 0.3, "y")) == 1
    assert [text.get_text() for text in axes.texts] == ["standard"]
    assert_readable(figure)


def test_without_a_choice_nothing_is_marked(columns) -> None:
    plain = transfer_figure(columns, "ae")
    marked = transfer_figure(columns, "ae", chosen=0.1)
    assert len(marked.axes[0].lines) == len(plain.axes[0].lines) + 1


def test_a_table_without_the_metric_is_refused(columns) -> None:
    with pytest.raises(ValueError, match="no column 'acc'"):
        transfer_figure(columns, "acc")
