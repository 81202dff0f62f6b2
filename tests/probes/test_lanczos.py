import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from holdfast.probes import largest_eigenvalue, spectral_nodes, top_eigenpairs


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("size", [1, 2, 10, 60])
@pytest.mark.parametrize("rank", [1, 100])
def test_is_that_of_the_dense_matrix(size: int, rank: int) -> None:
    factor = drawn(0, size, min(rank, size))
    matrix = factor @ factor.T
    found = largest_eigenvalue(lambda v: matrix @ v, drawn(1, size), tolerance=1e-9, most=size)
    assert found == pytest.approx(torch.linalg.eigvalsh(matrix)[-1].item(), rel=1e-9)


def test_the_largest_is_not_the_one_of_largest_modulus() -> None:
    values = torch.tensor([-9.0, 1.0, 2.0], dtype=torch.float64)
    assert largest_eigenvalue(lambda v: values * v, drawn(0, 3)) == pytest.approx(2.0)


@settings(max_examples=25)
@given(st.integers(0, 1000), st.floats(1e-6, 1e6), st.sampled_from([1e-2, 1e-4]))
def test_the_tolerance_is_kept_whatever_the_scale(
    seed: int, scale: float, tolerance: float
) -> None:
    factor = drawn(seed, 40, 50)
    matrix = scale * factor @ factor.T
    found = largest_eigenvalue(lambda v: matrix @ v, drawn(seed + 1, 40), tolerance)
    values = torch.linalg.eigvalsh(matrix)
    # Rarely one close below the largest: the residual is a bound to the nearest eigenvalue.
    assert (values - found).abs().min().item() <= tolerance * found
    assert found <= values[-1].item() * (1 + 1e-12)


def test_it_ends_as_soon_as_it_may() -> None:
    calls = []

    def product(v: Tensor) -> Tensor:
        calls.append(v.shape)
        return 3 * v

    start = drawn(0, 4, 5).float()
    assert largest_eigenvalue(product, start) == pytest.approx(3.0, rel=1e-6)
    assert calls == [(4, 5)]
    calls.clear()
    values = torch.linspace(0, 1, 100, dtype=torch.float64)
    low = largest_eigenvalue(lambda v: product(values * v) / 3, drawn(0, 100), 0.0, most=4)
    assert len(calls) == 4
    assert 0.5 < low < 1


def test_what_is_not_finite_or_nothing() -> None:
    assert math.isnan(largest_eigenvalue(lambda v: v * math.inf, torch.ones(3)))
    assert largest_eigenvalue(torch.zeros_like, torch.ones(3)) == 0
    assert largest_eigenvalue(lambda v: v, torch.zeros(3)) == 0


@pytest.mark.parametrize("count", [1, 3])
def test_pairs_are_those_of_the_dense_matrix(count: int) -> None:
    matrix = drawn(0, 20, 20)
    matrix = matrix + matrix.T
    values, vectors = torch.linalg.eigh(matrix)
    found = top_eigenpairs(lambda v: matrix @ v, drawn(1, 20), count, tolerance=1e-10)
    torch.testing.assert_close(found.values, values[-count:].flip(0), rtol=1e-10, atol=1e-12)
    along = (found.vectors @ vectors[:, -count:].flip(1)).abs()
    torch.testing.assert_close(along, torch.eye(count).double(), rtol=1e-8, atol=1e-8)


def test_fewer_pairs_where_the_space_is_smaller() -> None:
    values = torch.tensor([2.0, 2.0, 2.0, -1.0, 0.0], dtype=torch.float64)
    found = top_eigenpairs(lambda v: values * v, drawn(0, 5), 5)
    assert found.values.tolist() == pytest.approx([2, 0, -1])
    assert found.vectors.shape == (3, 5)
    torch.testing.assert_close(found.vectors * values, found.values[:, None] * found.vectors)


@settings(max_examples=20)
@given(st.integers(0, 1000), st.integers(1, 6))
def test_quadrature_is_exact_for_polynomials(seed: int, steps: int) -> None:
    matrix = drawn(seed, 12, 12)
    matrix = (matrix + matrix.T) / 10
    start = drawn(seed + 1, 12)
    nodes, weights = spectral_nodes(lambda v: matrix @ v, start, steps)
    image = start
    for power in range(2 * steps):
        wanted = torch.dot(start, image).item()
        found = (weights * nodes**power).sum().item()
        assert found == pytest.approx(wanted, rel=1e-8, abs=1e-9 * start.square().sum().item())
        image = matrix @ image


def test_nodes_and_pairs_that_are_not_finite() -> None:
    nodes, weights = spectral_nodes(lambda v: v * math.inf, torch.ones(3), 2)
    assert nodes.isnan().all()
    assert weights.isnan().all()
    assert top_eigenpairs(lambda v: v * math.nan, torch.ones(3), 2).vectors.isnan().all()
