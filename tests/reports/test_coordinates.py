import json

import numpy as np
import pytest

from holdfast.reports import coordinates_figure, save_coordinates
from holdfast.richness.drift import Coordinates
from holdfast.richness.setting import Setting


def made(layers=4, power=0.0):
    """A check whose activations move as size^power and whose output starts as 0."""
    sizes, names = (64, 128, 512), tuple(f"backbone.layer{i}" for i in range(layers - 1))
    scale = np.array(sizes, dtype=np.float64)[:, None, None] / 64
    moved = 0.1 * scale**power * np.linspace(1, 2, 2)[:, None] * np.linspace(1, 3, layers)
    start = np.ones_like(moved)
    start[..., -1] = 0
    setting = Setting(
        "mup", (1.0, 2.0, 8.0), (1.0, 1.0, 1.0), "zero", "SGD", "sgd", ("sgd",), 0.1, 10
    )
    return Coordinates("width", sizes, (0, 1), (*names, "output"), start, moved, 0.2, setting)


@pytest.mark.parametrize("layers", [2, 8, 40])
@pytest.mark.parametrize("power", [0.0, -1.0])
def test_figure_draws_every_layer_and_marks_faults(layers, power, assert_readable):
    check = made(layers, power)
    figure = coordinates_figure(check)
    assert_readable(figure)
    start, moved = figure.axes
    lines = [line for line in moved.lines if not line.get_label().startswith("_")]
    assert len(lines) == layers
    for i, line in enumerate(lines):
        means = np.exp(np.log(check.moved[:, :, i]).mean(axis=1))
        assert line.get_ydata() == pytest.approx(means)
        assert line.get_linestyle() == ("-" if power == 0 else "--")
        assert f"{power:+.2f}" in line.get_label()
    assert np.isnan(start.lines[-2].get_ydata()).all()
    for axes in figure.axes:
        low, high = axes.get_ylim()
        assert high / low >= 10 * (1 - 1e-9)
        assert [text.get_text() for text in axes.get_xticklabels()] == ["64", "128", "512"]


def test_saved_as_strict_json_and_figures(tmp_path):
    check = made(power=-1.0)
    check.moved[1, 0, 0] = np.nan
    written = save_coordinates(check, tmp_path / "check")
    assert [path.name for path in written] == [
        "coordinates.json", "coordinates.png", "coordinates.svg",
    ]  # fmt: skip
    found = json.loads(written[0].read_text(), parse_constant=pytest.fail)
    assert found["faults"][0]["kind"] == "diverged"
    assert found["faults"][0]["slope"] is None
    assert found["slopes"]["output"]["moved"][0] == pytest.approx(-1)
    assert found["columns"]["moved"][check.moved[0].size] is None
    assert found["text"] == check.text()
