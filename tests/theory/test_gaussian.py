"""Averages over Gaussian fields against quadrature in two dimensions."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from theory_cases import drawn, two_tasks
from torch import Tensor

from holdfast.theory import closure, gaussian_kernels, initial_kernels, initial_tangent_kernel
from holdfast.theory import lazy as lazy_solution
from holdfast.theory.activation import ACTIVATIONS, Function, activation
from holdfast.theory.square_root import lower_factor


def by_quadrature(function: Callable[[Tensor], Tensor], covariance: Tensor) -> float:
    """<f(h) f(h')> of two Gaussian numbers, on a grid."""
    grid = torch.linspace(-9, 9, 1201, dtype=torch.float64)
    weights = torch.exp(-grid.square() / 2)
    weights = weights / weights.sum()
    factor = torch.linalg.cholesky(covariance)
    x, y = grid[:, None], grid
    each = function(factor[0, 0] * x) * function(factor[1, 0] * x + factor[1, 1] * y)
    return float((each * weights[:, None] * weights).sum())


@pytest.mark.parametrize("phi", ACTIVATIONS)
@pytest.mark.parametrize("scale", [0.1, 1.0, 4.0])
def test_kernels_are_averages(phi: str, scale: float) -> None:
    rows = drawn(0, 2, 3)
    covariance = scale * rows @ rows.T
    found = gaussian_kernels(ACTIVATIONS[phi], covariance)
    tolerance = 2e-3 if phi == "relu" else 1e-10  # of the grid, which has to resolve a step
    for kernel, function in zip(
        found, (ACTIVATIONS[phi].value, ACTIVATIONS[phi].slope), strict=True
    ):
        expected = by_quadrature(function, covariance)
        assert float(kernel[0, 1]) == pytest.approx(expected, abs=tolerance * max(1.0, scale))


@pytest.mark.parametrize("phi", ["linear", "erf", "tanh", "gelu"])
def test_equal_opposite_and_zero_points(phi: str) -> None:
    rows = drawn(0, 1, 3) / 2
    rows = torch.cat([rows, rows, -rows, 0 * rows])
    value, slope = gaussian_kernels(ACTIVATIONS[phi], rows @ rows.T)
    for kernel in (value, slope):
        torch.testing.assert_close(kernel[0, 1], kernel[0, 0], rtol=1e-7, atol=0)
    if phi != "gelu":  # odd
        torch.testing.assert_close(value[0, 2], -value[0, 0], rtol=1e-9, atol=0)
    function = ACTIVATIONS[phi].slope
    start = function(torch.zeros(1).double()).item()
    assert float(slope[3, 3]) == pytest.approx(start**2, abs=1e-12)


def test_relu_is_exact_at_all_angles() -> None:
    for angle in (0.0, 1e-9, 1e-4, 1.0, np.pi / 2, np.pi):
        a = torch.tensor([[1.0, 0.0], [np.cos(angle), np.sin(angle)]], dtype=torch.float64)
        value, slope = gaussian_kernels(ACTIVATIONS["relu"], a @ a.T)
        expected = (np.sin(angle) + (np.pi - angle) * np.cos(angle)) / (2 * np.pi)
        assert float(value[0, 1]) == pytest.approx(expected, abs=1e-12)
        assert float(slope[0, 1]) == pytest.approx((np.pi - angle) / (2 * np.pi), abs=2e-8)
    value, slope = gaussian_kernels(ACTIVATIONS["relu"], torch.zeros(1, 1).double())
    assert float(value) == float(slope) == 0


def _smooth_step(h: Tensor) -> Tensor:
    return h * torch.sigmoid(h)


@pytest.mark.parametrize("given", [_smooth_step, "tanh"])
def test_functions_of_ones_own(given: str | Function) -> None:
    rows = drawn(1, 2, 3)
    value, slope = gaussian_kernels(activation(given), rows @ rows.T)
    own = activation(given)
    for kernel, function in ((value, own.value), (slope, own.slope)):
        assert float(kernel[0, 1]) == pytest.approx(
            by_quadrature(function, rows @ rows.T), abs=1e-10
        )


@given(st.integers(0, 1000), st.sampled_from(sorted(ACTIVATIONS)), st.floats(0.01, 10))
@settings(max_examples=25)
def test_kernels_are_positive_and_scale_free(seed: int, phi: str, scale: float) -> None:
    rows = drawn(seed, 6, 3)
    covariance = scale * rows @ rows.T
    for kernel in gaussian_kernels(ACTIVATIONS[phi], covariance):
        size = float(kernel.diagonal().max())
        assert float(torch.linalg.eigvalsh(kernel)[0]) > -1e-9 * max(size, 1e-6)
    value, slope = gaussian_kernels(ACTIVATIONS["relu"], covariance)
    once, same = gaussian_kernels(ACTIVATIONS["relu"], rows @ rows.T)
    torch.testing.assert_close(value, scale * once)
    torch.testing.assert_close(slope, same)


@pytest.mark.parametrize("options", [{}, {"heads": "per_task", "outputs": 2}, {"readout_std": 0.0}])
def test_the_start_of_a_deep_network(options: dict) -> None:
    asked = two_tasks(depth=3, phi="tanh", steps=1, **options)
    features, gradients = initial_kernels(asked)
    phi = activation("tanh")
    for layer in range(3):
        below = features[layer - 1] if layer else asked.kernel
        value, slope = gaussian_kernels(phi, below)
        torch.testing.assert_close(features[layer], value)
        same = (asked.head[:, None] == asked.head).double() * asked.readout_std**2
        above = gradients[layer + 1] if layer < 2 else same
        torch.testing.assert_close(gradients[layer], slope * above)
    solution = lazy_solution(asked, kept=[0])
    whole = torch.kron(initial_tangent_kernel(asked), torch.eye(asked.outputs).double())
    torch.testing.assert_close(solution.tangent_kernel(0), whole)


@pytest.mark.parametrize("options", [{}, {"heads": "per_task", "outputs": 2}])
def test_the_start_of_a_linear_network(options: dict) -> None:
    asked = two_tasks(**options)
    found = closure(asked, kept=[0]).tangent_kernel(0)
    whole = torch.kron(initial_tangent_kernel(asked), torch.eye(asked.outputs).double())
    torch.testing.assert_close(found, whole)


@given(st.integers(0, 1000), st.integers(1, 6), st.integers(1, 8))
@settings(max_examples=25)
def test_factors(seed: int, rank: int, size: int) -> None:
    rows = drawn(seed, size, rank)
    factor = lower_factor(rows @ rows.T)
    torch.testing.assert_close(factor @ factor.T, rows @ rows.T, rtol=0, atol=1e-12)
    assert bool((factor.triu(1).abs() < 1e-12).all())
    assert bool((factor.diagonal() >= 0).all())
