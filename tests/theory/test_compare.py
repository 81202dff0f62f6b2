import dataclasses

import numpy as np
import pytest
import torch

from holdfast.theory import AtWidth, Comparison, Solution, compare, gaussian_tasks, problem, solve
from holdfast.theory.finite import networks


def asked(phi="linear", **options):
    made = gaussian_tasks(5, 30, 0.5)
    return problem(*made, **{"steps": 30, "lr": 0.3, "gamma0": 0.8, "phi": phi} | options)


@pytest.fixture(scope="module")
def compared():
    return compare(asked(), (256, 64), 8)


def test_gaps_are_distances_of_single_networks_from_the_solution(compared):
    theory = solve(asked())
    assert [at.width for at in compared.finite] == [64, 256]
    made = networks(asked(), 64, 8)
    for place in range(8):
        one = made.of(place)
        loss = (one.losses - theory.losses).norm() / theory.losses.norm()
        assert compared.gaps()[64][place] == pytest.approx(float(loss), rel=1e-9)
        forgot = (one.forgetting - theory.forgetting)[0].abs()
        assert compared.gaps("forgetting")[64][place] == pytest.approx(float(forgot), rel=1e-9)
        apart = []
        for time in (0, 30, 60):
            kernel = theory.features[0, theory.kept.index(time), :, theory.kept.index(time)]
            own = one.features[0, one.kept.index(time), :, one.kept.index(time)]
            apart.append(float((own - kernel).norm() / kernel.norm()))
        root = np.sqrt(np.mean(np.square(apart)))
        assert compared.gaps("features")[64][place] == pytest.approx(root, rel=1e-9)
    assert compared.gap()[64].mean == pytest.approx(np.sqrt(np.mean(compared.gaps()[64] ** 2)))
    assert compared.mean_gap[64] == pytest.approx(
        float((made.losses.mean(0) - theory.losses).norm() / theory.losses.norm())
    )


@pytest.mark.parametrize("options", [{}, {"depth": 2}, {"readout_std": 0.0, "heads": "per_task"}])
def test_networks_approach_the_solution_as_they_widen(options):
    found = compare(asked(**options), (64, 512), 12)
    for what in ("losses", "features"):
        near = found.slope(what)
        assert near.low <= -0.3
        assert near.high >= -0.7
    assert found.gap()[512].mean < 0.06
    assert found.gap("forgetting")[512].high < found.gap("forgetting")[64].mean


def test_sampled_solutions_are_approached_too_and_tell_of_their_own_error():
    found = compare(asked("tanh"), (64, 512), 8, samples=4000)
    assert found.gap()[512].mean < 0.6 * found.gap()[64].mean
    assert 0 < found.theory_error < found.gap()[512].mean
    assert "standard error of the theory's losses" in found.text()


def test_the_band_holds_what_the_law_says_of_all_widths(compared):
    theory = compared.solution.losses
    scaled = [
        at.width * (losses - theory).square() for at in compared.finite for losses in at.losses
    ]
    assert torch.allclose(compared.band.square(), sum(scaled) / 16)


def test_networks_that_diverged_are_counted_and_left_out(compared):
    first, *others = compared.finite
    losses = first.losses.clone()
    losses[3, 7:] = torch.inf
    lame = Comparison(compared.solution, (dataclasses.replace(first, losses=losses), *others))
    assert np.isnan(lame.gaps()[64][3])
    assert lame.diverged() == {64: 1, 256: 0}
    known = np.delete(compared.gaps()[64], 3)
    assert lame.gap()[64].mean == pytest.approx(np.sqrt(np.mean(known**2)))
    assert "1 networks of width 64 diverged and are left out" in lame.text()
    assert bool(torch.isfinite(lame.band).all())


def test_it_is_told_in_a_table(compared):
    lines = str(compared).splitlines()
    assert lines[0].startswith("2 tasks of 5+5 points, 60 steps, depth 1, linear, gamma0 0.8 abs")
    assert lines[3].split()[:3] == ["width", "networks", "losses"]
    assert lines[4].split()[:2] == ["64", "8"]
    assert lines[6].startswith("gap of losses ~ N^-")


def test_it_comes_back_from_its_folder(compared, tmp_path):
    compared.save(tmp_path)
    again = Comparison.load(tmp_path)
    assert again.text() == compared.text()
    assert torch.equal(again.finite[1].features, compared.finite[1].features)
    assert again.finite[0].seeds == tuple(range(8))
    (tmp_path / "comparison.json").write_text('{"format": "other"}')
    with pytest.raises(ValueError, match="holds no comparison"):
        Comparison.load(tmp_path)


def test_another_file_is_refused(compared, tmp_path):
    compared.solution.save(tmp_path / "solution")
    with pytest.raises(ValueError, match="holds no networks of a width"):
        AtWidth.load(tmp_path / "solution")
    (tmp_path / "torn").write_bytes(b"torn")
    with pytest.raises(ValueError, match="truncated"):
        AtWidth.load(tmp_path / "torn")


def test_parts_are_told_of():
    told = []
    compare(asked(), (4, 8), 2, progress=lambda done, of: told.append((done, of)))
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_kernels_are_compared_where_the_solution_keeps_them():
    found = compare(asked(), (8,), 2, kept=[3, 30])
    assert found.finite[0].features.shape == (2, 1, 1)
    assert isinstance(found.solution, Solution)
    assert np.isnan(compare(asked(), (8,), 2, kept=[3]).gaps("features")[8]).all()


@pytest.mark.parametrize(
    ("widths", "seeds", "message"),
    [
        ((), 2, r"widths must be positive integers, got \[\]"),
        ((8, 0), 2, r"widths must be positive integers, got \[8, 0\]"),
        ((8, 8), 2, r"widths holds a width twice: \[8, 8\]"),
        ((8,), 0, "seeds must be a positive number"),
    ],
)
def test_what_cannot_be_compared_is_refused(widths, seeds, message):
    with pytest.raises(ValueError, match=message):
        compare(asked(), widths, seeds)


def test_networks_that_would_not_fit_are_refused_before_the_theory_is_solved(monkeypatch):
    def solved(*args, **options):
        raise AssertionError

    monkeypatch.setitem(compare.__globals__, "solve", solved)
    asked = problem(*gaussian_tasks(3, 10, 0.5), steps=3, gamma0=1.0, phi="linear")
    with pytest.raises(ValueError, match=r"training at width 500 needs about .* for 2 seeds"):
        compare(asked, (4, 500), 2, memory=100_000)


def test_a_file_is_no_folder_of_a_comparison(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(FileNotFoundError, match="no folder of a comparison at"):
        Comparison.load(tmp_path / "file")
