"""Two-layer linear networks: their neurons against the moments that close."""

import pytest
import torch
from theory_cases import VARIED, drawn, two_tasks
from torch import Tensor

from holdfast.theory import Problem, closure, problem


def by_moments(asked: Problem) -> tuple[Tensor, Tensor, Tensor]:
    """Outputs, <h h^T> and <z^2> at the end, of one head and output: three coupled moments."""
    k, gamma0 = asked.kernel, asked.gamma0
    h, c, s = k, torch.zeros(len(k)).double(), asked.readout_std**2
    outputs = [c / gamma0]
    for t in range(asked.steps):
        weights, lr = asked.schedule.weights[t], float(asked.schedule.lr[t])
        u = lr * gamma0 * weights * (asked.targets[:, 0] - outputs[-1])
        ku, uc = k @ u, float(u @ c)
        h, c, s = (
            h + ku.outer(c) + c.outer(ku) + s * ku.outer(ku),
            c + s * ku + h @ u + ku * uc,
            s + 2 * uc + float(u @ h @ u),
        )
        outputs.append(c / gamma0)
    return torch.stack(outputs).unsqueeze(-1), h, s


@pytest.mark.parametrize("case", ["plain", "zero readout", "batches", "rates"])
@pytest.mark.parametrize("gamma0", [0.1, 1.0, 3.0])
def test_moments_close(case: str, gamma0: float) -> None:
    asked = two_tasks(8, 20, steps=100, gamma0=gamma0, **{"lr": 0.2} | VARIED[case])
    found = closure(asked, kept=[asked.steps])
    outputs, h, s = by_moments(asked)
    torch.testing.assert_close(found.outputs, outputs, rtol=0, atol=1e-12)
    torch.testing.assert_close(found.features[0, 0, :, 0], h, rtol=0, atol=1e-12)
    expected = torch.full_like(h, s)
    torch.testing.assert_close(found.gradients[0, 0, :, 0], expected, rtol=0, atol=1e-12)


def test_a_singular_kernel_is_no_trouble() -> None:
    x, y = drawn(0, 4, 3), drawn(1, 4)
    asked = problem([x, x], [y, -y], 50, gamma0=1.0, phi="linear")
    outputs, *_ = by_moments(asked)
    torch.testing.assert_close(closure(asked).outputs, outputs, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("options", "got"), [({"depth": 2}, "depth 2 with linear"), ({"phi": "relu"}, "with relu")]
)
def test_other_networks_are_refused(options: dict, got: str) -> None:
    with pytest.raises(ValueError, match=rf"closure solves depth 1 .*{got}; take solver 'linear'"):
        closure(two_tasks(**options))


def test_progress_counts_steps() -> None:
    seen: list[tuple[int, int]] = []
    closure(two_tasks(steps=2), progress=lambda *step: seen.append(step))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
