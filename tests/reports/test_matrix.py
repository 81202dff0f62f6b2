import numpy as np
import pytest

from holdfast.records import Record
from holdfast.reports import matrix_figure


@pytest.mark.parametrize("count", [1, 2, 5, 12, 20, 50])
def test_it_shows_the_matrix_and_can_be_read(make_record, assert_readable, count):
    record = make_record(count)
    figure = matrix_figure(record)
    axes = figure.axes[0]
    shown = axes.images[0].get_array()
    np.testing.assert_array_equal(shown.filled(np.nan), record.accuracy)
    assert axes.images[0].get_clim() == (0.0, 1.0)
    numbers = [text.get_text() for text in axes.texts]
    known = record.accuracy[~np.isnan(record.accuracy)]
    assert numbers == ([f"{v:.2f}" for v in known] if count <= 12 else [])
    assert_readable(figure)


def test_the_first_task_is_on_top(make_record):
    axes = matrix_figure(make_record(3)).axes[0]
    bottom, top = axes.get_ylim()
    assert bottom > top
    assert axes.get_ylabel() == "after training on task"


def test_regression_shows_losses(make_record):
    figure = matrix_figure(make_record(3, regression=True))
    assert figure.axes[0].get_xlabel() == "test loss on task"
    assert matrix_figure(make_record(3), "loss").axes[0].images[0].get_clim()[0] == 0


@pytest.mark.parametrize("quantity", ["accuracy", "loss"])
def test_a_run_that_diverged_or_has_not_begun(make_record, assert_readable, quantity):
    record = make_record(4, names=["_a", "$b$", "a name that is much too long to show", "d"])
    record.status, record.accuracy[2:], record.loss[2:] = "diverged", np.nan, np.nan
    record.loss[1, 0] = np.inf
    figure = matrix_figure(record, quantity)
    assert figure._suptitle.get_text() == "class-incremental, 4 tasks, seed 0, diverged"
    assert_readable(figure)
    assert_readable(matrix_figure(Record.empty(["a"], "task_incremental", 0), quantity))
