"""Numbers of others, from notebooks and prototypes that solved the same networks."""

from typing import Any

import pytest
import torch
from theory_cases import drawn

from holdfast.theory import Problem, Solution, problem, solve


def permuted(seed: int, share: float, gamma0: float, phi: str) -> Problem:
    """25 Gaussian points of 784 features, labels 0 and 1; then with a share of features permuted.

    What is assumed: as many of both labels as there can be, the leading features permuted among
    themselves, the same labels for both tasks.
    """
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(25, 784, generator=draw, dtype=torch.float64)
    order, moved = torch.arange(784), int(784 * share)
    order[:moved] = torch.randperm(moved, generator=draw)
    y = (torch.arange(25) % 2).double()
    return problem([x, x[:, order]], [y, y], 200, lr=0.1, gamma0=gamma0, phi=phi)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("phi", "gamma0", "share", "loss", "forgetting", "seeds"),
    [
        ("linear", 0.5, 0.1, 0.0037, -0.0023, 10),
        ("linear", 0.5, 0.5, 0.0037, 0.0076, 10),
        ("linear", 0.5, 0.9, 0.0037, 0.0033, 10),
        ("linear", 1.0, 0.1, 0.0002, 0.0025, 10),
        ("linear", 1.0, 0.5, 0.0002, 0.0253, 10),
        ("linear", 1.0, 0.9, 0.0002, 0.0176, 10),
        ("relu", 0.5, 0.5, 0.0224, -0.0148, 4),
    ],
)
def test_permuted_gaussians(
    phi: str, gamma0: float, share: float, loss: float, forgetting: float, seeds: int
) -> None:
    """Within .0003 and .001, but for what ten draws of data differ by (theirs and ours)."""
    options = {} if phi == "linear" else {"samples": 2_048, "groups": 2}
    found = []
    for seed in range(seeds):
        made = solve(permuted(seed, share, gamma0, phi), kept=[0], **options)
        found.append((float(made.loss_matrix[0, 0]), float(made.forgetting[0])))
    values = torch.tensor(found)
    error = 2 * values.std(0) * (1 / seeds + 1 / 10) ** 0.5
    assert abs(float(values[:, 0].mean()) - loss) < 0.0003 + float(error[0])
    assert abs(float(values[:, 1].mean()) - forgetting) < 0.001 + float(error[1])


def correlated(gamma0: float, correlation: float, heads: str = "per_task", **told: Any) -> Solution:
    """20 points of 100 features and others that correlate, with own labels unless they are same."""
    x, other = drawn(3, 20, 100), drawn(4, 20, 100)
    second = correlation * x + (1 - correlation**2) ** 0.5 * other
    labels = drawn(5, 20), drawn(5 if correlation == 1 else 6, 20)
    asked = problem(
        [x, second], list(labels), 300, lr=0.5, gamma0=gamma0, phi="relu", readout_std=0.0,
        heads=heads,
    )  # fmt: skip
    return solve(asked, kept=[300, 600], samples=1024, groups=2, **told)


@pytest.mark.slow
def test_similar_tasks_are_best_at_some_richness() -> None:
    """A U over gamma_0 of the average loss: too lazy to learn, too rich to keep."""
    lazy, middle, rich = (correlated(gamma0, 0.7) for gamma0 in (0.03, 0.3, 2.0))
    average = [float(s.loss_matrix[-1].mean()) for s in (lazy, middle, rich)]
    assert average[1] < 0.001 < 0.5 * min(average[0], average[2])
    assert abs(float(lazy.forgetting[0])) < 1e-4
    assert 0.002 < float(rich.forgetting[0]) < 0.02


@pytest.mark.slow
def test_one_head_has_no_plateau_of_laziness() -> None:
    assert float(correlated(0.03, 0.7, heads="single").forgetting[0]) > 0.1


@pytest.mark.slow
def test_the_same_inputs_move_features_most_at_some_richness() -> None:
    """What the first task has made of them serves the second."""
    still, moved, reused = (
        1 - s.cka(1, 1)[0, 1] for s in (correlated(g, 1) for g in (0.03, 0.3, 2.0))
    )
    assert float(still) < 0.001
    assert float(moved) > 2 * float(reused) > 0.002
