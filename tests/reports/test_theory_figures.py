import dataclasses

import numpy as np
import pytest
import torch

from holdfast.reports import forgetting_figure, overlay_figure, phase_figure
from holdfast.theory import (
    Comparison,
    Phase,
    UnstableRateWarning,
    compare,
    gaussian_tasks,
    phase_diagram,
    problem,
)


@pytest.fixture(scope="module")
def compared():
    asked = problem(*gaussian_tasks(4, 20, 0.5), steps=20, gamma0=0.5, phi="linear", lr=0.5)
    return compare(asked, (16, 64, 256), 4)


def test_losses_of_theory_and_networks_lie_over_each_other(compared, assert_readable):
    figure = overlay_figure(compared)
    first, second, losses, features, forgetting = figure.axes
    for task, axes in enumerate((first, second)):
        drawn = {line.get_label(): line.get_ydata() for line in axes.lines}
        assert np.allclose(drawn["theory"], compared.solution.losses[:, task])
        mean = compared.finite[0].losses[:, :, task].mean(0)
        assert np.allclose(drawn["N = 16"], mean)
        assert axes.get_yscale() == "log"
    names = [text.get_text() for text in figure.legends[0].texts]
    assert names == ["N = 16", "N = 64", "N = 256", "theory", "N^(-1/2) band at 256"]
    assert losses.get_title("left").startswith("gap of loss curves (relative)\nN^-")
    dots = np.sort(np.concatenate([line.get_ydata() for line in losses.lines[:3]]))
    assert np.allclose(dots, np.sort(np.concatenate(list(compared.gaps().values()))))
    law = next(line for line in features.lines if line.get_linestyle() == "--")
    assert law.get_ydata()[-1] == pytest.approx(compared.gap("features")[16].mean / 4)
    assert forgetting.get_xlabel() == "width N"
    assert figure.get_suptitle() == "gamma0 0.5 absolute (4 at base width 64)"
    assert_readable(figure)


def test_networks_that_diverged_are_left_out(compared, assert_readable):
    lost = dataclasses.replace(
        compared.finite[0], losses=torch.full_like(compared.finite[0].losses, torch.nan)
    )
    figure = overlay_figure(Comparison(compared.solution, (lost, *compared.finite[1:])))
    assert "N = 16" not in [text.get_text() for text in figure.legends[0].texts]
    assert_readable(figure)


@pytest.mark.parametrize(("lr", "phi"), [(50.0, "linear"), (50.0, "tanh"), (4.0, "linear")])
def test_where_all_diverged_what_is_left_is_drawn(lr, phi, assert_readable):
    asked = problem(*gaussian_tasks(5, 20, 0.5), steps=60, gamma0=0.5, phi=phi, lr=lr)
    told = {} if phi == "linear" else {"samples": 512, "groups": 2}
    with pytest.warns(UnstableRateWarning):
        assert_readable(overlay_figure(compare(asked, (8, 16), 2, **told)))


def test_forgetting_is_a_line_of_the_theory_and_a_marker_a_width(assert_readable):
    theory = {0.1: -0.01, 1.0: 0.2, 0.3: 0.1}
    draws = np.random.default_rng(0)
    own = {g: {64: f + draws.normal(size=5) / 50, 512: f + np.zeros(5)} for g, f in theory.items()}
    own[1.0][64][2] = np.nan
    del own[0.3]
    figure = forgetting_figure(theory, own, "gamma0, base_64 units")
    axes = figure.axes[0]
    lines = {line.get_label(): line for line in axes.lines}
    assert list(lines["theory"].get_xdata()) == [0.1, 0.3, 1.0]
    assert list(lines["theory"].get_ydata()) == [-0.01, 0.1, 0.2]
    assert [t.get_text() for t in figure.legends[0].texts] == ["N = 64", "N = 512", "theory"]
    assert axes.get_xlabel() == "gamma0, base_64 units"
    hollow = [line for line in axes.lines if line.get_markerfacecolor() == "white"]
    assert len(hollow) == 1
    assert_readable(figure)
    assert_readable(forgetting_figure({0.5: 0.0}))
    linear = forgetting_figure({0.0: 0.1, 0.5: 0.2}, {0.0: {8: np.ones(3)}}, "similarity", False)
    assert linear.axes[0].get_xscale() == "linear"
    assert_readable(linear)
    with pytest.raises(ValueError, match="theory needs forgetting at one value or more"):
        forgetting_figure({})


def test_a_diagram_has_similarity_upwards_and_marks_its_optima(assert_readable):
    found = phase_diagram(
        lambda s, seed: problem(*gaussian_tasks(4, 40, s, seed=seed), 30, gamma0=1.0, phi="linear"),
        [0.1, 0.3, 1.0, 2.0], [0.0, 0.5, 0.9], 2,
    )  # fmt: skip
    # An optimum inside the grid in the first row, none in the others.
    losses = torch.zeros_like(found.losses)
    losses[:, 0, :, 1] = torch.tensor([2.0, 1.0, 2.0, 3.0]).double()[None, :, None]
    losses[:, 1:, :, 1] = torch.tensor([1.0, 2.0, 3.0, 4.0]).double()[None, None, :, None]
    marked = Phase(found.gamma0, found.similarity, found.seeds, losses, found.loss_error)
    for diagram, count in ((found, None), (marked, 1)):
        figure = phase_figure(diagram)
        panels = figure.axes[:3]
        image = panels[0].images[0].get_array()
        assert np.allclose(image, diagram.forgetting.mean(0))
        low, high = panels[0].get_ylim()
        assert low < high
        assert [t.get_text() for t in panels[0].get_xticklabels()] == ["0.1", "0.3", "1", "2"]
        dots = [line for line in panels[2].lines if line.get_marker() == "o"]
        assert count is None or len(dots) == count
        assert_readable(figure)


def test_what_diverged_is_grey():
    losses = torch.full((1, 1, 2, 2, 2), torch.nan, dtype=torch.float64)
    figure = phase_figure(Phase((0.1, 1.0), (0.0,), (0,), losses, torch.zeros_like(losses)))
    assert np.ma.count_masked(figure.axes[0].images[0].get_array()) == 2
