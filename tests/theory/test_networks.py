"""Solutions against wide finite networks."""

import pytest
import torch
from theory_cases import finite_losses, two_tasks

from holdfast.theory import solve


@pytest.mark.slow
@pytest.mark.parametrize(
    ("phi", "gamma0", "options"),
    [
        ("linear", 0.2, {}),
        ("linear", 2.0, {}),
        ("tanh", 1.0, {}),
        ("relu", 1.0, {}),
        ("relu", 1.0, {"readout_std": 0.0, "heads": "per_task"}),
        ("tanh", 1.0, {"momentum": 0.8, "weight_decay": 0.05, "lr": 0.05}),
        ("tanh", 1.0, {"outputs": 2, "batch_size": 4}),
        ("relu", 1.0, {"loss": "cross_entropy", "lr": 0.8}),
    ],
)
def test_two_layers_of_4000(phi: str, gamma0: float, options: dict) -> None:
    """Both loss curves together, in the relative 2-norm."""
    asked = two_tasks(6, 15, **{"steps": 60, "lr": 0.2, "phi": phi, "gamma0": gamma0} | options)
    found = solve(asked, **{} if phi == "linear" else {"samples": 12_000})
    finite = finite_losses(asked, 4000, seed=0)
    assert float((finite - found.losses).norm() / finite.norm()) < 0.02
    still = finite[0].expand_as(finite)  # a theory of networks that do not learn
    assert float((finite - still).norm() / finite.norm()) > 0.2


@pytest.mark.slow
def test_gaps_shrink_with_width() -> None:
    """As N^(-1/2): a quarter of the gap at 16 times the width."""
    asked = two_tasks(6, 12, steps=40, lr=0.2, gamma0=1.0)
    exact = solve(asked).losses
    gaps = []
    for width in (100, 1600):
        runs = [(finite_losses(asked, width, seed) - exact).norm() for seed in range(6)]
        gaps.append(torch.stack(runs).square().mean().sqrt())
    assert 2.5 < float(gaps[0] / gaps[1]) < 6.5


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"momentum": 0.8, "weight_decay": 0.05, "lr": 0.03}])
def test_three_linear_layers(options: dict) -> None:
    """The mean of networks, of which one alone is off by 4 %."""
    asked = two_tasks(6, 12, depth=3, **{"steps": 40, "lr": 0.15, "gamma0": 1.0} | options)
    exact = solve(asked).losses
    finite = torch.stack([finite_losses(asked, 400, seed) for seed in range(8)]).mean(0)
    assert float((finite - exact).norm() / finite.norm()) < 0.04
