import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from holdfast.starts import FeatureStatistics, Moments, solve_ridge, solve_samples
from holdfast.starts.condition import condition
from holdfast.starts.ridge import BiasForm, leverages

FORMS: tuple[BiasForm, ...] = ("penalised", "free", "none")
WEIGHTINGS = ("frequency", "balanced")


def samples(seed: int = 0, n: int = 90, d: int = 6, classes: int = 4) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, classes, (n,), generator=draw).square().fmod(classes)
    labels[:classes] = torch.arange(classes)
    shifts = torch.randn(classes, d, generator=draw, dtype=torch.float64)
    return 2 + shifts[labels] + torch.randn(n, d, generator=draw, dtype=torch.float64), labels


def weights_of(labels: Tensor, weighting: str) -> np.ndarray:
    counts = np.bincount(labels.numpy())
    if weighting == "frequency":
        return np.full(len(labels), 1 / len(labels))
    return (1 / (len(counts) * counts))[labels.numpy()]


def moments(features: Tensor, labels: Tensor, weighting: str = "frequency") -> Moments:
    classes = range(int(labels.max()) + 1)
    seen = FeatureStatistics(features.shape[1], per_class=True).update(features, labels)
    return seen.moments(classes, weighting)  # type: ignore[arg-type]


def reference(h: np.ndarray, y: np.ndarray, w: np.ndarray, ridge: float, bias: str) -> np.ndarray:
    """Weighted least squares by numpy's lstsq on rows that stand for the penalties."""
    n, d = h.shape
    inputs = np.hstack([h, np.ones((n, 1)) * (bias != "none")])
    penalty = np.sqrt(ridge) * np.eye(d + 1)
    if bias == "free":
        penalty[-1, -1] = 0
    root = np.sqrt(w)[:, None]
    rows = np.vstack([root * inputs, penalty])
    aims = np.vstack([root * y, np.zeros((d + 1, y.shape[1]))])
    return np.linalg.lstsq(rows, aims, rcond=None)[0].T


@pytest.mark.parametrize("bias", FORMS)
@pytest.mark.parametrize("weighting", WEIGHTINGS)
@pytest.mark.parametrize("ridge", [0.05, 1e-6, 3.0])
def test_solves_the_weighted_problem(ridge: float, weighting: str, bias: BiasForm) -> None:
    h, labels = samples()
    y, w = np.eye(4)[labels.numpy()], weights_of(labels, weighting)
    found = solve_ridge(moments(h, labels, weighting), ridge, bias=bias)
    np.testing.assert_allclose(found.weight, reference(h.numpy(), y, w, ridge, bias), rtol=1e-9)
    assert (found.ridge, found.asked, found.escalations) == (ridge, ridge, 0)
    given_samples = solve_samples(h, torch.tensor(y), ridge, weights=torch.tensor(3 * w), bias=bias)
    np.testing.assert_allclose(given_samples.weight, found.weight, rtol=1e-9)


@pytest.mark.parametrize("ridge", [0.025, 0.05, 1e-4])
def test_balanced_penalised_form_is_the_published_one(ridge: float) -> None:
    # W = (1/C)(M^T - 1 mu^T/(1+lam)) [Sigma_T + lam/(1+lam) mu mu^T + lam I]^-1 and its bias
    h, labels = samples(1)
    found = solve_ridge(moments(h, labels, "balanced"), ridge).weight.numpy()
    x, c, d = h.numpy(), 4, 6
    groups = [x[labels.numpy() == k] for k in range(c)]
    means = np.stack([g.mean(0) for g in groups], 1)  # (d, C)
    mu = means.mean(1)
    within = sum((g - g.mean(0)).T @ (g - g.mean(0)) / len(g) for g in groups) / c
    total = within + (means - mu[:, None]) @ (means - mu[:, None]).T / c
    inner = total + ridge / (1 + ridge) * np.outer(mu, mu) + ridge * np.eye(d)
    left = (means.T - np.outer(np.ones(c), mu) / (1 + ridge)) / c
    rows = left @ np.linalg.inv(inner)
    bias = (1 / c - rows @ mu) / (1 + ridge)
    expected = np.hstack([rows, bias[:, None]])
    assert np.abs(found - expected).max() <= 1e-12 * np.abs(expected).max()
    # ... and that of the class-weighted augmented ridge
    inputs = np.hstack([x, np.ones((len(x), 1))])
    w = weights_of(labels, "balanced")
    gram = (inputs * w[:, None]).T @ inputs + ridge * np.eye(d + 1)
    augmented = np.linalg.solve(gram, (inputs * w[:, None]).T @ np.eye(c)[labels.numpy()]).T
    assert np.abs(found - augmented).max() <= 1e-12 * np.abs(augmented).max()
    # Without bias: W = (1/C) M^T (Sigma_T + mu mu^T + lam I)^-1
    none = solve_ridge(moments(h, labels, "balanced"), ridge, bias="none").weight.numpy()
    plain = means.T @ np.linalg.inv(total + np.outer(mu, mu) + ridge * np.eye(d)) / c
    assert np.abs(none[:, :-1] - plain).max() <= 1e-12 * np.abs(plain).max()
    assert not none[:, -1].any()


def test_frequencies_are_not_one_over_classes() -> None:
    h, labels = samples(2)
    p = moments(h, labels)
    assert torch.allclose(p.weights, torch.bincount(labels).double() / len(labels))
    equal = Moments(p.gram, p.cross / p.weights[:, None] / 4, p.weights, p.classes, p.samples)
    assert not torch.allclose(solve_ridge(p, 0.1).weight, solve_ridge(equal, 0.1).weight, rtol=0.1)


@pytest.mark.parametrize("bias", FORMS)
@pytest.mark.parametrize("ridge", [0.05, 1e-4])
def test_fewer_samples_than_features(ridge: float, bias: BiasForm) -> None:
    h, labels = samples(3, n=20, d=50)
    y = torch.nn.functional.one_hot(labels, 4).double()
    dual = solve_samples(h, y, ridge, bias=bias)
    primal = solve_ridge(moments(h, labels), ridge, bias=bias)
    assert (dual.weight - primal.weight).abs().max() <= 1e-10 * primal.weight.abs().max()
    w = torch.linspace(1, 2, 20, dtype=torch.float64)
    weighted = solve_samples(h, y, ridge, weights=w, bias=bias).weight
    expected = reference(h.numpy(), y.numpy(), (w / w.sum()).numpy(), ridge, bias)
    np.testing.assert_allclose(weighted, expected, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("bias", FORMS)
def test_a_singular_matrix_raises_the_ridge_and_says_so(bias: BiasForm) -> None:
    h, labels = samples(4)
    doubled = torch.cat([h, h], 1)
    found = solve_ridge(moments(doubled, labels), 0.0, bias=bias)
    assert found.asked == 0 < found.ridge < 1e-10
    assert found.escalations >= 1
    # Twins share the weight: the solution of least norm
    assert torch.allclose(found.weight[:, :6], found.weight[:, 6:12], rtol=1e-2, atol=1e-3)
    scores = torch.cat([doubled, torch.ones(len(h), 1)], 1).double() @ found.weight.T
    once = solve_ridge(moments(h, labels), 0.0, bias=bias).weight
    expected = torch.cat([h, torch.ones(len(h), 1)], 1).double() @ once.T
    assert torch.allclose(scores, expected, atol=1e-5)
    y = torch.nn.functional.one_hot(labels[:3], 4).double()
    assert solve_samples(h[[0, 0, 1]], y, 0.0, bias=bias).escalations >= 1


def test_ill_conditioned_features() -> None:
    draw = torch.Generator().manual_seed(0)
    n, d = 4000, 64
    basis = torch.linalg.qr(torch.randn(d, d, generator=draw, dtype=torch.float64)).Q
    scales = torch.logspace(0, -3.85, d, dtype=torch.float64)
    h = torch.randn(n, d, generator=draw, dtype=torch.float64) * scales @ basis
    labels = (h @ basis.T / scales)[:, :5].argmax(1)
    y = np.eye(5)[labels.numpy()]
    found = solve_ridge(moments(h, labels), 0.0)
    assert 1e7 < found.condition < 1e8
    expected = np.linalg.lstsq(np.hstack([h.numpy(), np.ones((n, 1))]), y, rcond=None)[0].T
    error = np.linalg.norm(found.weight.numpy() - expected) / np.linalg.norm(expected)
    assert error < 1e-6


@pytest.mark.parametrize("bias", FORMS)
def test_leverages_are_the_diagonal_of_the_hat_matrix(bias: BiasForm) -> None:
    h, labels = samples(5, n=12, d=3)
    found = leverages(moments(h, labels), 0.1, h, bias=bias) / len(h)
    for i in range(len(h)):
        y = np.zeros((len(h), 1))
        y[i] = 1
        row = reference(h.numpy(), y, np.full(len(h), 1 / len(h)), 0.1, bias)
        assert found[i].item() == pytest.approx(row[0] @ [*h[i].tolist(), 1], rel=1e-9)


def test_condition_exact_and_estimated() -> None:
    values = torch.logspace(0, 4, 40, dtype=torch.float64)
    draw = torch.Generator().manual_seed(1)
    basis = torch.linalg.qr(torch.randn(40, 40, generator=draw, dtype=torch.float64)).Q
    matrix = basis * values @ basis.T
    factor = torch.linalg.cholesky(matrix)
    exact = condition(matrix, factor)
    assert exact.exact
    assert exact.value == pytest.approx(1e4, rel=1e-6)
    estimate = condition(matrix, factor, exact_up_to=10)
    assert not estimate.exact
    assert 0.9e4 < estimate.value <= 1e4 * (1 + 1e-9)


@given(seed=st.integers(0, 1000), ridge=st.floats(1e-6, 10), scale=st.floats(0.1, 10))
def test_scaling_features_scales_the_ridge(seed: int, ridge: float, scale: float) -> None:
    h, labels = samples(seed, n=30, d=3)
    plain = solve_ridge(moments(h, labels), ridge, bias="free").weight
    scaled = solve_ridge(moments(scale * h, labels), scale**2 * ridge, bias="free").weight
    assert torch.allclose(scaled[:, :-1] * scale, plain[:, :-1], rtol=1e-6, atol=1e-9)
    assert torch.allclose(scaled[:, -1], plain[:, -1], rtol=1e-6, atol=1e-9)


@given(seed=st.integers(0, 1000), bias=st.sampled_from(FORMS))
def test_the_order_of_classes_is_that_of_the_rows(seed: int, bias: BiasForm) -> None:
    h, labels = samples(seed, n=30, d=3)
    seen = FeatureStatistics(3).update(h, labels)
    plain = solve_ridge(seen.moments([0, 1, 2, 3]), 0.1, bias=bias).weight
    turned = solve_ridge(seen.moments([2, 0, 3, 1]), 0.1, bias=bias).weight
    assert torch.allclose(turned, plain[[2, 0, 3, 1]], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("ridge", [-1e-9, float("nan"), float("inf")])
def test_refuses_a_ridge_that_is_none(ridge: float) -> None:
    h, labels = samples()
    with pytest.raises(ValueError, match="ridge must be a finite number >= 0"):
        solve_ridge(moments(h, labels), ridge)
    with pytest.raises(ValueError, match="ridge must be a finite number >= 0"):
        solve_samples(h, torch.eye(4).double()[labels], ridge)


def test_refuses_what_cannot_be_solved() -> None:
    h, labels = samples()
    one = moments(h, labels)
    broken = Moments(one.gram * float("nan"), one.cross, one.weights, one.classes, one.samples)
    with pytest.raises(ValueError, match="not finite"):
        solve_ridge(broken, 0.1)
    with pytest.raises(ValueError, match="not positive definite"):
        solve_ridge(moments(0 * h, labels), 0.0, bias="none")
    y = torch.eye(4).double()[labels]
    with pytest.raises(ValueError, match="positive weights"):
        solve_samples(h, y, 0.1, weights=torch.zeros(len(h)))
    with pytest.raises(ValueError, match="not finite"):
        solve_samples(h[:3] / 0, y[:3], 0.1)
