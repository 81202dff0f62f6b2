from itertools import pairwise

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from holdfast.records import Record


@pytest.fixture
def make_record():
    """A complete run of `count` tasks that forgets by `rate` a task, with everything measured."""

    def make(count, rate=0.1, seed=0, regression=False, names=None):
        names = names or [f"classes {2 * i}-{2 * i + 1}" for i in range(count)]
        record = Record.empty(names, "class_incremental", seed)
        ages = np.arange(count)[:, None] - np.arange(count)[None]
        record.accuracy[:] = np.where(ages >= 0, 0.95 * np.exp(-rate * ages), np.nan)
        record.loss[:] = 1.5 - record.accuracy
        for task in range(count):
            for epoch in range(3):
                step = 30 * task + 10 * (epoch + 1)
                loss = 2.0 * 10.0**-epoch
                record.curve.append({"task": task, "epoch": epoch, "step": step, "loss": loss})
            row = [0.5 if j <= task else None for j in range(count)]
            record.evaluations.append(
                {"task": task, "step": 30 * task + 15, "accuracy": row, "loss": row}
            )
        record.seconds, record.cpu_seconds = [0.5] * count, [0.25] * count
        if regression:
            record.accuracy[:] = np.nan
        record.status = "complete"
        return record

    return make


@pytest.fixture
def assert_readable():
    """Draw a figure and check that no label is cut off or lies over its neighbour."""

    def check(figure):
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        renderer = canvas.get_renderer()
        whole = figure.bbox
        for axes in figure.axes:
            for axis in (axes.xaxis, axes.yaxis):
                low, high = sorted(axis.get_view_interval())
                texts = [
                    tick.label1
                    for tick in axis.get_major_ticks()
                    if tick.label1.get_text()
                    and tick.label1.get_visible()
                    and low <= tick.get_loc() <= high
                ]
                for one, two in pairwise(texts):
                    _assert_apart(one, two, renderer)
                for text in [*texts, *([axis.label] if axis.label.get_text() else [])]:
                    box = text.get_window_extent(renderer)
                    assert box.x0 >= whole.x0 - 1, text
                    assert box.y0 >= whole.y0 - 1, text
                    assert box.x1 <= whole.x1 + 1, text
                    assert box.y1 <= whole.y1 + 1, text
        if figure._suptitle is not None:
            assert figure._suptitle.get_window_extent(renderer).x1 <= whole.x1

    return check


def _assert_apart(one, two, renderer):
    """Neither box of two labels overlaps the other; tilted ones by their distance across."""
    if one.get_rotation() == 0:
        assert not one.get_window_extent(renderer).overlaps(two.get_window_extent(renderer)), (
            one.get_text(),
            two.get_text(),
        )
    else:
        step = abs(one.get_window_extent(renderer).x1 - two.get_window_extent(renderer).x1)
        height = one.get_fontsize() * one.get_figure().dpi / 72
        assert step * np.sin(np.deg2rad(one.get_rotation())) > 0.8 * height
