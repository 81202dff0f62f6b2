"""Figures of what follows a task switch."""

from dataclasses import replace

import numpy as np
import pytest

from holdfast.reports import analysis_figures, onset_figure
from holdfast.studies import Findings
from holdfast.studies.good_start import StartAnalysis, StartCourse
from holdfast.studies.table import table_of


def course(level, seeds=4, steps=(0, 5, 10, 50, 100)):
    draws = np.random.default_rng(0)
    steps = np.array(steps)
    base = level + (1 - level) * steps / steps[-1]
    rows = np.clip(base + 0.02 * draws.normal(size=(seeds, len(steps))), 0.01, 1)
    parts = {"all": rows, "new": rows**2, "old": np.sqrt(rows)}
    return StartCourse(steps, {p: 4 * (1.001 - v) for p, v in parts.items()}, parts, 0)


def test_lines_and_bands_of_each_start(assert_readable):
    courses = {"random": course(0.1), "calibrated": course(0.8)}
    figure = onset_figure(courses, "memory 100")
    assert_readable(figure)
    assert len(figure.axes) == 6
    assert [axes.get_title() for axes in figure.axes[:3]] == [
        "all classes seen", "new classes", "old classes",
    ]  # fmt: skip
    for axes, values in (
        (figure.axes[0], courses["calibrated"].loss["all"]),
        (figure.axes[4], courses["calibrated"].accuracy["new"]),
    ):
        line = axes.lines[1]
        assert line.get_xdata().tolist() == [0, 5, 10, 50, 100]
        assert line.get_ydata() == pytest.approx(values.mean(axis=0))
        low, high = np.quantile(values, 0, axis=0), np.quantile(values, 1, axis=0)
        band = axes.collections[1].get_paths()[0].vertices
        assert low.min() - 1e-9 <= band[:, 1].min() <= band[:, 1].max() <= high.max() + 1e-9
    assert figure.axes[0].get_xscale() == "symlog"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["random", "calibrated"]


def test_many_starts_are_told_apart_and_lost_runs_said(assert_readable):
    courses = {f"start {i}": course(i / 12, seeds=1) for i in range(10)}
    courses["start 3"] = replace(courses["start 3"], lost=2)
    figure = onset_figure(courses)
    assert_readable(figure)
    looks = {(line.get_color(), line.get_linestyle()) for line in figure.axes[0].lines}
    assert len(looks) == 10
    assert figure.legends[0].get_texts()[3].get_text() == "start 3 (2 lost)"
    assert not figure.axes[0].collections
    assert_readable(onset_figure({"short": course(0.1, steps=(0, 5, 10))}))


def test_nothing_to_draw_is_refused():
    with pytest.raises(ValueError, match="one or more starts, got none"):
        onset_figure({})


def test_each_condition_of_a_study_has_one(tmp_path, make_record):
    rows = []
    for memory in (100, 200):
        for start, rate in (("random", 0.3), ("good", 0.1)):
            make_record(3, rate).save(tmp_path / "runs" / f"{start}{memory}")
            rows.append(
                {
                    "cell": f"{start} {memory}", "start": start, "memory": memory, "seed": 0,
                    "status": "complete", "hash": f"{start}{memory}",
                }
            )  # fmt: skip
    cells = tuple(row["cell"] for row in rows)
    table = table_of(rows)
    findings = Findings("it", ("start", "memory"), cells, (0,), (), table, {}, tmp_path)
    figures = analysis_figures(StartAnalysis(), findings)
    assert list(figures) == ["onset memory 100", "onset memory 200"]
    line = figures["onset memory 100"].axes[3].lines[0]
    assert line.get_xdata().tolist() == [15, 30]
