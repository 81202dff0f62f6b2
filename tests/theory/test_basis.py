import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from theory_cases import drawn
from torch.nn.functional import pad

from holdfast.theory.basis import Basis

LIKE = torch.zeros(1, dtype=torch.float64)


def coordinates(basis, paths, sizes):
    found = [basis.coordinates(block) for block in paths.split(sizes)]
    return torch.cat([pad(c, (0, len(basis) - c.shape[1])) for c in found])


@given(st.lists(st.integers(1, 5), min_size=1, max_size=4), st.integers(0, 5))
def test_coordinates_are_rows_of_the_cholesky_factor(sizes, seed):
    paths = drawn(seed, sum(sizes), 64)
    basis = Basis(64, 1e-13, 64, LIKE)
    c = coordinates(basis, paths, sizes)
    torch.testing.assert_close(c, torch.linalg.cholesky(paths @ paths.T / 64))
    torch.testing.assert_close(c @ basis.vectors, paths)


def test_vectors_are_orthonormal_where_paths_hardly_differ():
    smooth = drawn(0, 6, 128)[:, None] * torch.linspace(1, 1.001, 5).double()[None, :, None] ** (
        1 + drawn(1, 6, 1, 128).abs()
    )
    basis = Basis(128, 1e-13, 128, LIKE)
    coordinates(basis, smooth.transpose(0, 1).reshape(30, 128), 6)
    gram = basis.vectors @ basis.vectors.T / 128
    torch.testing.assert_close(gram, torch.eye(len(basis)).double(), atol=1e-10, rtol=0)


def test_paths_that_repeat_or_combine_others_get_no_vectors():
    paths = drawn(0, 3, 64)
    mixed = torch.cat([paths, drawn(1, 4, 3) @ paths, torch.zeros(1, 64).double()])
    basis = Basis(64, 1e-10, 64, LIKE)
    c = coordinates(basis, mixed, [8])
    assert len(basis) == 3
    torch.testing.assert_close(c @ c.T, mixed @ mixed.T / 64)


@pytest.mark.parametrize("tolerance", [1e-1, 1e-2, 1e-4])
def test_what_is_dropped_is_within_the_tolerance(tolerance):
    time = torch.linspace(0, 1, 30).double()[:, None]
    paths = torch.sin(3 * time * drawn(0, 1, 256)) + drawn(1, 1, 256)
    basis = Basis(256, tolerance, 256, LIKE)
    rest = paths - coordinates(basis, paths, 3) @ basis.vectors
    largest = float(paths.square().mean(1).max())
    assert float(rest.square().mean(1).max()) <= tolerance * largest
    assert basis.dropped == pytest.approx(float(rest.square().mean()) / largest, rel=1e-6)
    assert 1 <= len(basis) < 30


def test_no_more_vectors_than_the_limit():
    basis = Basis(64, 1e-10, 4, LIKE)
    coordinates(basis, drawn(0, 9, 64), [3, 3, 3])
    assert len(basis) == 4
    assert basis.full
    assert basis.dropped > 0.1
