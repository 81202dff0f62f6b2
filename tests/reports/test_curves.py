import numpy as np
import pytest

from holdfast.records import Record
from holdfast.reports import curves_figure


@pytest.mark.parametrize("count", [1, 2, 8, 9, 50])
def test_it_can_be_read(make_record, assert_readable, count):
    assert_readable(curves_figure(make_record(count)))


def test_a_task_is_followed_from_when_it_is_met(make_record):
    record = make_record(3)
    lower = curves_figure(record).axes[1]
    line, dots = lower.lines[2:4]
    np.testing.assert_array_equal(line.get_xdata(), [45, 60, 75, 90])
    np.testing.assert_allclose(
        line.get_ydata(), [0.5, record.accuracy[1, 1], 0.5, record.accuracy[2, 1]]
    )
    np.testing.assert_array_equal(dots.get_xdata(), [60, 90])


def test_training_loss_is_a_line_a_task(make_record):
    upper = curves_figure(make_record(3)).axes[0]
    lines = [line for line in upper.lines if len(line.get_xdata()) == 3]
    assert [line.get_xdata()[0] for line in lines] == [10, 40, 70]
    assert upper.get_yscale() == "log"


def test_many_tasks_have_a_mean_over_those_met(make_record):
    record = make_record(30)
    lower = curves_figure(record).axes[1]
    (mean,) = [line for line in lower.lines if line.get_label() == "mean of tasks met"]
    expected = [record.accuracy[i, : i + 1].mean() for i in range(30)]
    np.testing.assert_allclose(mean.get_ydata(), expected)


def test_regression_and_runs_cut_short(make_record, assert_readable):
    figure = curves_figure(make_record(3, regression=True))
    assert figure.axes[1].get_ylabel() == "test loss"
    record = make_record(3)
    record.accuracy[1:], record.curve = np.nan, record.curve[:4]
    record.curve[3]["loss"] = np.inf
    assert_readable(curves_figure(record))
    assert_readable(curves_figure(Record.empty(["a", "b"], "task_incremental", 0)))
