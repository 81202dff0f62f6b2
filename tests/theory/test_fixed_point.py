import pytest
import torch
from field_theory import field_theory
from theory_cases import VARIED, two_tasks

from holdfast.theory import causal, fixed_point
from holdfast.theory.sweep import sweep


@pytest.mark.parametrize("name", VARIED)
def test_linear_networks_reach_what_the_equations_say(name):
    own = two_tasks(points=2, steps=3, depth=2, gamma0=0.4, lr=0.2, **without_lr(VARIED[name]))
    found, right = fixed_point(own, kept=range(own.steps + 1), damping=0.5), field_theory(own)
    close = {"atol": 1e-9, "rtol": 0}
    torch.testing.assert_close(found.outputs, right.outputs, **close)
    torch.testing.assert_close(found.features, right.features, **close)
    torch.testing.assert_close(found.gradients, right.gradients, **close)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"phi": "relu"},
        {"depth": 3},
        {"heads": "per_task"},
        {"momentum": 0.5, "weight_decay": 0.1},
        {"loss": "cross_entropy", "steps": 1},
    ],
    ids=str,
)
def test_one_pass_through_time_finds_the_fixed_point_on_the_same_draws(options):
    own = two_tasks(points=2, **{"steps": 2, "depth": 2, "gamma0": 0.4, "phi": "tanh"} | options)
    times, samples = range(own.steps + 1), 512
    once = sweep(own, times, samples, 5, 1e-13, True, lambda: None)
    found = fixed_point(own, kept=times, samples=samples, seed=5, damping=0.6)
    close = {"atol": 1e-8, "rtol": 0}
    torch.testing.assert_close(once.outputs, found.outputs, **close)
    torch.testing.assert_close(once.features, found.features, **close)
    torch.testing.assert_close(once.gradients, found.gradients, **close)
    for name, response in found.responses.items():
        torch.testing.assert_close(once.responses[name], response, **close)
        assert float(response.abs().max()) > 1e-3


@pytest.mark.parametrize(("depth", "gamma0"), [(2, 1.5), (3, 1.0)])
def test_iteration_diverges_where_one_pass_does_not(depth, gamma0):
    own = two_tasks(depth=depth, gamma0=gamma0, steps=15, lr=0.2, points=4, features=16)
    with pytest.raises(ArithmeticError, match="fixed_point diverged in iteration"):
        fixed_point(own, damping=0.6)
    assert float(causal(own, samples=1024, groups=2).losses[-1, 1]) < 0.05


def test_iteration_that_is_not_there_says_so():
    with pytest.raises(ArithmeticError, match="not there after 3 iterations"):
        fixed_point(two_tasks(gamma0=0.2), iterations=3)


def test_arguments():
    with pytest.raises(ValueError, match=r"damping must lie in \(0, 1\], got 0"):
        fixed_point(two_tasks(), damping=0.0)
    with pytest.raises(ValueError, match=r"at least 4 \(T \+ 1\) P C = 312, got 256"):
        fixed_point(two_tasks(phi="tanh"), samples=256)
    with pytest.raises(ValueError, match="readout_std above 0"):
        fixed_point(two_tasks(phi="tanh", readout_std=0.0))
    with pytest.raises(ValueError, match=r"solver fixed_point needs .*; up to 3 points would fit"):
        fixed_point(two_tasks(points=8), memory=500_000)


def without_lr(options):
    return {name: value for name, value in options.items() if name != "lr"}
