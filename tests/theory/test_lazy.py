"""The lazy limit: closed forms of two tasks, and what other solvers come to."""

from inspect import unwrap
from typing import Any

import pytest
import torch
from theory_cases import VARIED, drawn, two_tasks

from holdfast.theory import closure, initial_tangent_kernel, lazy, linear, particles, problem


@pytest.mark.parametrize("phi", ["linear", "relu", "tanh"])
@pytest.mark.parametrize("depth", [1, 3])
def test_two_tasks_in_continuous_time(phi: str, depth: int) -> None:
    """exp(-eta K11 t / P) and what the second task then does to the first."""
    points, steps, lr = 4, 30, 0.4
    asked = two_tasks(points, 10, phi=phi, depth=depth, steps=steps, lr=lr)
    k = initial_tangent_kernel(asked)
    one, two = slice(0, points), slice(points, 2 * points)
    y = asked.targets
    decay = lambda block, time: torch.linalg.matrix_exp(-lr / points * time * block)  # noqa: E731
    still = torch.eye(points).double()
    first = decay(k[one, one], steps) @ y[one]
    learned = torch.linalg.solve(k[one, one], (still - decay(k[one, one], steps)) @ y[one])
    second = y[two] - k[two, one] @ learned
    found = lazy(asked, time="continuous").errors
    torch.testing.assert_close(found[steps, one], first)
    torch.testing.assert_close(found[steps, two], second)
    for time in (7, steps):
        gone = decay(k[two, two], time)
        torch.testing.assert_close(found[steps + time, two], gone @ second)
        moved = k[one, two] @ torch.linalg.solve(k[two, two], (still - gone) @ second)
        torch.testing.assert_close(found[steps + time, one], first - moved)


@pytest.mark.parametrize("case", ["plain", "heads", "outputs", "batches", "rates", "probes"])
def test_discrete_time_is_a_product_of_matrices(case: str) -> None:
    asked = two_tasks(phi="erf", depth=2, **VARIED[case])
    k = initial_tangent_kernel(asked)
    delta, found = asked.targets, lazy(asked).errors
    for t in range(asked.steps):
        one = torch.eye(asked.points).double()
        delta = (one - asked.schedule.lr[t] * k @ torch.diag(asked.schedule.weights[t])) @ delta
        torch.testing.assert_close(found[t + 1], delta, rtol=0, atol=1e-12)


@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
def test_continuous_time_is_the_limit_of_small_steps(loss: str) -> None:
    coarse = two_tasks(phi="tanh", depth=2, steps=20, lr=0.4, loss=loss)
    errors = []
    for parts in (20, 40):
        fine = two_tasks(phi="tanh", depth=2, steps=20 * parts, lr=0.4 / parts, loss=loss)
        errors.append(lazy(fine).outputs[::parts] - lazy(coarse, time="continuous").outputs)
    # What is left falls as the step does: none of it is the other's.
    torch.testing.assert_close(errors[0], 2 * errors[1], rtol=0, atol=2e-4)
    assert errors[1].abs().max() < 1e-2


@pytest.mark.parametrize("case", [c for c in VARIED if "decay" not in c])
@pytest.mark.parametrize("depth", [1, 2])
def test_linear_networks_of_small_gamma0_come_to_it(case: str, depth: int) -> None:
    asked = two_tasks(depth=depth, gamma0=1e-4, **VARIED[case])
    limit = lazy(asked)
    for found in [linear(asked), *([closure(asked)] if depth == 1 else [])]:
        for name in ("outputs", "features", "gradients"):
            own, expected = getattr(found, name), getattr(limit, name)
            torch.testing.assert_close(own, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("options", [{}, {"readout_std": 0.0}, {"heads": "per_task"}])
@pytest.mark.parametrize("phi", ["tanh", "relu"])
def test_sampled_networks_of_small_gamma0_come_to_it(phi: str, options: dict[str, Any]) -> None:
    """With the kernels of the very sample, which are those of the limit but for sampling."""
    asked = two_tasks(phi=phi, gamma0=1e-5, steps=20, **options)
    found = particles(asked, samples=128, groups=2)
    k = initial_tangent_kernel(asked)
    sampled = found.tangent_kernel(0)
    assert 0 < (sampled - k).abs().max() < 0.5 * k.abs().max()
    if phi == "tanh":  # a step of ReLU is no small change for a neuron at the edge
        torch.testing.assert_close(
            found.features[0, 0, :, 0], found.features[0, -1, :, -1], rtol=0, atol=1e-3
        )
    large = particles(asked, samples=60_000, kept=[0])
    assert large.loss_error is not None
    gap = (large.losses - lazy(asked).losses).abs()
    assert bool((gap <= 5 * large.loss_error + 1e-3).all())


@pytest.mark.parametrize("phi", ["relu", "tanh"])
@pytest.mark.parametrize("time", ["discrete", "continuous"])
def test_zero_readouts_of_their_own_forget_nothing(phi: str, time: str) -> None:
    asked = two_tasks(phi=phi, depth=2, readout_std=0.0, heads="per_task", steps=50)
    found = lazy(asked, time=time)
    assert found.losses[50, 0] < 0.4
    assert found.forgetting.abs().max() < 1e-12


def test_a_point_without_influence_stays() -> None:
    """A mode at rest: (1 - exp(-x)) / x at 0."""
    x = torch.eye(2, 3).double()
    x[1] = 0
    asked = problem([x], [torch.ones(2)], 5, gamma0=1.0, phi="linear")
    found = lazy(asked, time="continuous")
    assert bool(torch.isfinite(found.outputs).all())
    assert bool((found.outputs[:, 1] == 0).all())


@pytest.mark.parametrize(
    ("options", "time", "message"),
    [
        ({"weight_decay": 0.1}, "discrete", "training without weight_decay, .*; got 0.1"),
        ({"momentum": 0.5}, "continuous", "momentum has no meaning in continuous time, got 0.5"),
        ({}, "slow", "time must be 'discrete' or 'continuous', got 'slow'"),
    ],
)
def test_what_it_does_not_solve(options: dict[str, Any], time: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        unwrap(lazy)(two_tasks(**options), time=time)  # a type of its own, were it checked


def test_kernels_of_many_times_take_no_memory() -> None:
    found = lazy(two_tasks(phi="tanh"), kept=list(range(13)))
    assert found.features.shape == (1, 13, 6, 13, 6)
    assert found.features.untyped_storage().nbytes() == 6 * 6 * 8


def test_its_own_forgetting_is_that_of_equation_12() -> None:
    """The slope of the loss at the switch, by the kernel and by a small step."""
    lr = 1e-5
    inputs = [drawn(k, 3, 5) for k in range(2)]
    asked = problem(
        inputs, [drawn(5, 3), drawn(6, 3)], [20, 1], lr=[0.2, lr], gamma0=1.0, phi="tanh"
    )
    found = lazy(asked, kept=[20])
    slope = float(found.losses[21, 0] - found.losses[20, 0])
    assert found.instantaneous_forgetting(0, 0) == pytest.approx(slope, rel=1e-3)
    assert slope != 0
