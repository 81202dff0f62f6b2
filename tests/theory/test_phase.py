import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from holdfast.theory import Phase, gaussian_tasks, phase_diagram, problem, solve

GRID = (0.1, 0.5, 2.0)


def make(similarity, seed, phi="linear"):
    return problem(*gaussian_tasks(5, 100, similarity, seed=seed), steps=40, gamma0=9.0, phi=phi)


@pytest.fixture(scope="module")
def diagram():
    return phase_diagram(make, [2.0, 0.1, 0.5], [0.9, 0.0], 2)


def test_each_cell_is_a_solution(diagram):
    assert (diagram.gamma0, diagram.similarity, diagram.seeds) == (GRID, (0.0, 0.9), (0, 1))
    for i, seed in enumerate((0, 1)):
        for j, s in enumerate((0.0, 0.9)):
            for k, g in enumerate(GRID):
                one = solve(replace(make(s, seed), gamma0=g))
                assert torch.allclose(diagram.losses[i, j, k], one.loss_matrix, rtol=1e-12)
                assert float(diagram.forgetting[i, j, k]) == pytest.approx(float(one.forgetting[0]))
    assert float(diagram.loss_error.max()) == 0


def test_learning_and_average_losses_are_means_over_tasks():
    losses = torch.tensor([[1.0, 9.0], [3.0, 2.0]]).expand(1, 1, 1, 2, 2)
    one = Phase((1.0,), (0.0,), (0,), losses, torch.zeros_like(losses))
    assert (float(one.learning_loss), float(one.average_loss)) == (1.5, 2.5)
    assert float(one.forgetting) == 2


def phase_of(average, seeds=1):
    """A diagram of one similarity with given average losses."""
    losses = torch.zeros(seeds, 1, len(average), 2, 2).double()
    losses[..., 1, :] = torch.tensor(average).double()[None, None, :, None]
    grid = tuple(10.0**i for i in range(len(average)))
    return Phase(grid, (0.0,), tuple(range(seeds)), losses, torch.zeros_like(losses))


def test_the_optimum_is_the_vertex_of_a_parabola_in_log_gamma0():
    at = [(math.log(10.0**i) - math.log(30)) ** 2 for i in range(4)]
    (found,) = phase_of(at).optimum()
    assert found.mean == pytest.approx(30)
    assert math.isnan(found.low)
    (again,) = phase_of(at, seeds=3).optimum()
    assert (again.low, again.high) == (pytest.approx(30), pytest.approx(30))


@pytest.mark.parametrize(
    ("average", "where"),
    [([1.0, 2.0, 3.0], 1), ([3.0, 2.0, 1.0], 100), ([math.nan, 2.0, 3.0], 10), ([2.0, 1.0], 10)],
)
def test_at_an_end_or_beside_what_diverged_it_is_a_value_of_the_grid(average, where):
    assert phase_of(average).optimum()[0].mean == pytest.approx(where)


def test_what_diverged_is_told_in_few_digits():
    assert phase_of([1.0, 3.21e20, math.nan]).text().splitlines()[6].split() == [
        "0", "1.0000", "3.21e+20", "nan",
    ]  # fmt: skip


def test_where_all_diverged_there_is_none():
    assert math.isnan(phase_of([math.nan, math.nan]).optimum()[0].mean)


def test_it_is_told_in_tables(diagram):
    text = str(diagram)
    assert "forgetting over absolute gamma0:" in text
    assert "gamma0*, absolute" in text
    assert "standard errors" not in text
    assert "(end of the grid)" in phase_of([1.0, 2.0]).text()


def test_it_comes_back_from_its_file(diagram, tmp_path):
    diagram.save(tmp_path / "phase")
    again = Phase.load(tmp_path / "phase")
    assert again.text() == diagram.text()
    assert torch.equal(again.losses, diagram.losses)
    solve(make(0.0, 0)).save(tmp_path / "solution")
    with pytest.raises(ValueError, match="holds no phase diagram"):
        Phase.load(tmp_path / "solution")


def test_axes_may_be_arrays(diagram):
    found = phase_diagram(make, torch.tensor([0.5]).double(), np.array([0.0, 0.9]), 2)
    assert torch.equal(found.losses, diagram.losses[:, :, [1]])


def test_sampled_cells_have_errors_and_cells_are_told_of():
    told = []
    found = phase_diagram(
        lambda s, seed: make(s, seed, "relu"), [0.5, 1.0], [0.5], samples=512,
        progress=lambda done, of: told.append((done, of)),
    )  # fmt: skip
    assert told == [(1, 2), (2, 2)]
    assert float(found.loss_error.min()) > 0
    assert "standard errors of losses by sampling: up to" in found.text()


@pytest.mark.parametrize(
    ("gamma0", "similarity", "message"),
    [
        ([], [0.0], r"gamma0 must be a list of numbers, got \[\]"),
        ([1.0, 1.0], [0.0], r"gamma0 holds a value twice"),
        ([1.0], [], r"similarity must be a list of numbers, got \[\]"),
        ([-1.0], [0.0], "gamma0 must be positive and finite, got -1.0"),
    ],
)
def test_what_makes_no_diagram_is_refused(gamma0, similarity, message):
    with pytest.raises(ValueError, match=message):
        phase_diagram(make, gamma0, similarity)
