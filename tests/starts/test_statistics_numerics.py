"""Errors of solutions, not of sums: what ill-conditioned features make of rounding."""

import pytest
import torch
from shards import samples, streamed

from holdfast.starts import FeatureStatistics
from holdfast.starts.ridge import solve_ridge


def ill_conditioned(n, d, condition, seed=0):
    """Float32 features whose Gram matrix has about this condition number, and labels they tell."""
    generator = torch.Generator().manual_seed(seed)
    white = torch.randn(n, d, generator=generator, dtype=torch.float64)
    turn, _ = torch.linalg.qr(torch.randn(d, d, generator=generator, dtype=torch.float64))
    scales = torch.logspace(0, -0.5, d, base=condition, dtype=torch.float64)
    features = ((white * scales) @ turn.T).float()
    scores = white @ torch.randn(d, 10, generator=generator, dtype=torch.float64)
    return features, scores.argmax(1)


def reference(x, y, classes, ridge):
    """Ridge with a penalised bias from the samples themselves, by a QR decomposition."""
    n = len(x)
    long = torch.cat([x.double(), torch.ones(n, 1, dtype=torch.float64)], 1) / n**0.5
    lifted = torch.cat([long, ridge**0.5 * torch.eye(long.shape[1], dtype=torch.float64)])
    targets = torch.stack([(y == c).double() for c in classes], 1) / n**0.5
    q, r = torch.linalg.qr(lifted)
    return torch.linalg.solve_triangular(r, q[:n].T @ targets, upper=True).T


def error(found, expected):
    return ((found - expected).norm() / expected.norm()).item()


def test_ill_conditioned_features_are_solved_where_float32_sums_fail():
    x, y = ill_conditioned(5000, 128, 5e7)
    statistics = streamed(x, y, 500)
    ridge = 1e-9 * statistics.moments().gram.diagonal().mean().item()
    expected = reference(x, y, statistics.classes, ridge)
    assert error(solve_ridge(statistics.moments(), ridge).weight, expected) < 1e-7
    rough = FeatureStatistics(128).update(x, y).moments()
    single = (x.T @ x / len(x)).double()
    rough.gram[:-1, :-1] = single
    assert error(solve_ridge(rough, ridge).weight, expected) > 1e-3


@pytest.mark.parametrize(("ridge", "tolerance"), [(1.0, 1e-12), (1e-4, 1e-9)])
@pytest.mark.parametrize("per_class", [False, True])
def test_solutions_of_streams_and_of_shards_are_those_of_one_pass(per_class, ridge, tolerance):
    """Conditions of about 1e2 and 1e5: errors are about 1e-15 times these."""
    x, y = samples(3000, 40, 7, seed=4)
    expected = solve_ridge(FeatureStatistics(40).update(x, y).moments(range(7)), ridge).weight
    stream = streamed(x, y, 64, per_class)
    shards = sum(
        (streamed(x[i::3], y[i::3], 100, per_class) for i in range(3)),
        start=FeatureStatistics(40, per_class=per_class),
    )
    for found in (stream, shards):
        assert error(solve_ridge(found.moments(range(7)), ridge).weight, expected) < tolerance
    assert error(expected, reference(x, y, range(7), ridge)) < tolerance


def test_float32_products_are_exact():
    x = (1 + torch.arange(1, 5) * 2.0**-23).reshape(1, 4)
    found = FeatureStatistics(4).update(x, torch.tensor([0])).gram[:4, :4]
    for i in range(4):
        for j in range(4):
            exact = (2**23 + i + 1) * (2**23 + j + 1)
            assert int(found[i, j].item() * 2**46) == exact
