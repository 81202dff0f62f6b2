import inspect

import numpy as np
import pytest
import torch
from made import augmented, features, statistics
from torch import Tensor

from holdfast.starts import Moments, Sample, choose_ridge, fit_scale, solve_ridge, solve_samples
from holdfast.starts.ridge import BiasForm

FORMS: tuple[BiasForm, ...] = ("penalised", "free", "none")


def case(
    weighting: str, seed: int = 0, counts: tuple[int, ...] = (8, 5, 12), d: int = 5
) -> tuple[Tensor, Tensor, Moments, Sample]:
    h, labels = features(seed, counts, d)
    h = h * torch.logspace(0, -2, d, dtype=torch.float64)  # so that the ridge matters
    seen = statistics(h, labels)
    moments = seen.moments(range(len(counts)), weighting)  # type: ignore[arg-type]
    return h, labels, moments, Sample.of(moments, seen, h, labels)


def fit(h: Tensor, y: Tensor, w: Tensor, ridge: float, bias: BiasForm) -> Tensor:
    """Least squares whose weights need not sum to 1."""
    return solve_samples(h, y, ridge / float(w.sum()), weights=w, bias=bias).weight


@pytest.mark.parametrize("bias", FORMS)
@pytest.mark.parametrize("weighting", ["frequency", "balanced"])
def test_gcv_by_the_hat_matrix(weighting: str, bias: BiasForm) -> None:
    h, labels, moments, sample = case(weighting)
    y = torch.nn.functional.one_hot(labels, 3).double()
    found = choose_ridge(moments, bias=bias)
    n, w = len(h), sample.weights
    for i in range(0, len(found.ridges), 9):
        ridge = float(found.ridges[i])
        hat = augmented(h) @ fit(h, torch.eye(n).double(), w, ridge, bias).T
        residual = (w @ (y - hat @ y).square()).sum()
        expected = residual / (1 - hat.trace() / n) ** 2
        assert float(found.values[i]) == pytest.approx(float(expected), rel=1e-6), ridge
    assert found.ridge == float(found.ridges[found.values.argmin()])


@pytest.mark.parametrize("bias", FORMS)
@pytest.mark.parametrize("weighting", ["frequency", "balanced"])
def test_loo_by_leaving_each_out(weighting: str, bias: BiasForm) -> None:
    h, labels, moments, sample = case(weighting, 1)
    y = torch.nn.functional.one_hot(labels, 3).double()
    found = choose_ridge(moments, "loo", bias=bias, sample=sample)
    w = sample.weights
    for i in range(3, len(found.ridges), 15):
        ridge, expected = float(found.ridges[i]), 0.0
        for j in range(len(h)):
            rest = torch.arange(len(h)) != j
            rows = fit(h[rest], y[rest], w[rest], ridge, bias)
            left = y[j] - augmented(h[j : j + 1])[0] @ rows.T
            expected += float(w[j] * left.square().sum())
        assert float(found.values[i]) == pytest.approx(expected, rel=1e-6), ridge


@pytest.mark.parametrize("bias", FORMS)
@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
def test_held_out_by_fitting_the_rest(loss: str, bias: BiasForm) -> None:
    h, labels, moments, sample = case("frequency", 2, (20, 14, 30))
    found = choose_ridge(
        moments,
        "held_out",
        bias=bias,
        sample=sample,
        loss=loss,  # type: ignore[arg-type]
        generator=torch.Generator().manual_seed(5),
    )
    _, scored = sample.split(0.2, torch.Generator().manual_seed(5))
    out = (h[:, None] == scored.features).all(2).any(1)
    assert torch.bincount(labels[out]).tolist() == [4, 3, 6]
    y = torch.nn.functional.one_hot(labels, 3).double()
    for i in range(4, len(found.ridges), 20):
        rows = solve_samples(h[~out], y[~out], float(found.ridges[i]), bias=bias).weight
        scores = augmented(h[out]) @ rows.T
        if loss == "mse":
            expected = float((y[out] - scores).square().sum(1).mean())
        else:
            scores = fit_scale(scores, labels[out]) * scores
            expected = float(torch.nn.functional.cross_entropy(scores, labels[out]))
        assert float(found.values[i]) == pytest.approx(expected, rel=1e-5)


def test_held_out_scores_what_becomes_of_the_solution() -> None:
    _, _, moments, sample = case("balanced", 3, (20, 14, 30))
    seen: list[Tensor] = []

    def finish(rows: Tensor, gram: Tensor) -> Tensor:
        seen.append(gram)
        return 0 * rows

    found = choose_ridge(moments, "held_out", sample=sample, loss="cross_entropy", finish=finish)
    assert torch.allclose(found.values, torch.full_like(found.values, np.log(3)))
    _, scored = sample.split(0.2)
    assert torch.equal(seen[0], scored.removed_from(moments).gram)
    assert float(seen[0][-1, -1]) == pytest.approx(1)


def test_all_criteria_agree_where_there_is_much_to_see() -> None:
    h, _, moments, sample = case("frequency", 4, (400, 300, 350), 5)
    found = [
        choose_ridge(moments, c, sample=sample, held_out=0.5).ridge  # type: ignore[arg-type]
        for c in ("gcv", "loo", "held_out")
    ]
    scores = [augmented(h) @ solve_ridge(moments, r).weight.T for r in found]
    assert torch.allclose(scores[0], scores[1], atol=1e-2)
    assert torch.allclose(scores[0], scores[2], atol=5e-2)


def test_fewer_samples_than_features_keep_the_curve_finite() -> None:
    _, _, moments, sample = case("frequency", 5, (4, 4, 4), 40)
    for criterion in ("gcv", "loo", "held_out"):
        found = choose_ridge(moments, criterion, sample=sample)  # type: ignore[arg-type]
        assert found.values.isfinite().all()
        assert (found.values >= 0).all()
        assert (found.ridges.diff() > 0).all()


def test_a_lowest_point_at_the_edge_is_told() -> None:
    draw = torch.Generator().manual_seed(0)
    h = torch.randn(60, 3, generator=draw, dtype=torch.float64)  # features that say nothing
    seen = statistics(h, torch.arange(60) % 2)
    assert choose_ridge(seen.moments()).ridges.numel() > 50
    exact = torch.eye(2).double().repeat(5, 1)  # features that say everything
    assert choose_ridge(statistics(exact, torch.arange(10) % 2).moments()).at_edge


def test_refuses_what_cannot_be_chosen_by() -> None:
    h, labels, moments, sample = case("frequency")
    bare = inspect.unwrap(choose_ridge)
    with pytest.raises(ValueError, match="criterion must be one of"):
        bare(moments, "aic")
    with pytest.raises(ValueError, match="loss must be one of"):
        bare(moments, "gcv", loss="hinge")
    with pytest.raises(ValueError, match="'loo' needs samples"):
        choose_ridge(moments, "loo")
    with pytest.raises(ValueError, match=r"held_out must lie in \(0, 1\)"):
        choose_ridge(moments, "held_out", sample=sample, held_out=1.0)
    single = sample.part(torch.tensor([0]))
    with pytest.raises(ValueError, match="no class has two samples"):
        choose_ridge(moments, "held_out", sample=single)
    with pytest.raises(ValueError, match="statistics only"):
        Sample.of(moments, statistics(h, labels), h.repeat(2, 1), labels.repeat(2))
    strange = Sample.of(moments, statistics(h, labels), 100 * h, labels)
    with pytest.raises(ValueError, match="not among those of the moments"):
        choose_ridge(moments, "held_out", sample=strange)
