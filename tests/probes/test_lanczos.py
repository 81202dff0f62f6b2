import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from holdfast.probes import largest_eigenvalue


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
