import inspect
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from made import augmented, features, statistics, trained
from torch import Tensor, nn

from holdfast.starts import STARTS, FeatureStatistics, Rows, fit_scale, new_rows

KNOWN, NEW = (0, 1, 2, 3), (4, 5)
RIDGE = 0.02


def case(seed: int = 0, **options: Any) -> tuple[Rows, np.ndarray, np.ndarray, np.ndarray]:
    """The rows for two new classes, and as numpy arrays features, labels and old rows."""
    h, labels = features(seed)
    old = trained(h, labels, 4)
    options = {"ridge": RIDGE, "features": None, **options}
    seen = options.pop("statistics", statistics(h, labels))
    found = new_rows(seen, old, KNOWN, NEW, **options)
    return found, h.numpy(), labels.numpy(), old.numpy()


def ridge_rows(h: np.ndarray, labels: np.ndarray, classes: range, bias: bool = True) -> np.ndarray:
    """Class-balanced ridge regression by definition."""
    chosen = np.isin(labels, classes)
    h, labels = h[chosen], labels[chosen]
    x = np.hstack([h, np.full((len(h), 1), float(bias))])
    y = (labels[:, None] == np.array(classes)).astype(float)
    w = (1 / (len(classes) * y.sum(0)))[labels - classes[0]][:, None]
    return np.linalg.solve((x * w).T @ x + RIDGE * np.eye(x.shape[1]), (x * w).T @ y).T


def balanced_gram(h: np.ndarray, labels: np.ndarray, classes: range) -> np.ndarray:
    x = np.hstack([h, np.ones((len(h), 1))])
    return sum(x[labels == c].T @ x[labels == c] / (labels == c).sum() for c in classes) / len(
        classes
    )


def calibration(ls: np.ndarray, old: np.ndarray, gram: np.ndarray) -> tuple[float, np.ndarray]:
    k = len(old)
    centre = np.eye(k) - 1 / k
    a, b = centre @ ls[:k], centre @ old
    scale = np.trace(a @ gram @ b.T) / np.trace(a @ gram @ a.T)
    return scale, (old - scale * ls[:k]).mean(0)


def left_out(h: Tensor, labels: Tensor) -> Tensor:
    """Class-balanced least-squares scores of each sample by the others."""
    x, targets = augmented(h).numpy(), np.eye(6)[labels]
    weighted = x * (1 / (6 * np.bincount(labels)))[labels, None]
    scores = []
    for i in range(len(x)):
        rest = np.arange(len(x)) != i
        gram = weighted[rest].T @ x[rest] + RIDGE * np.eye(6)
        scores.append(x[i] @ np.linalg.solve(gram, weighted[rest].T @ targets[rest]))
    return torch.tensor(np.array(scores))


def test_random_rows_are_those_of_a_linear_layer() -> None:
    first = (None, torch.zeros(0, 401), [], range(100))

    def drawn() -> Tensor:
        return new_rows(*first, start="random", generator=torch.Generator().manual_seed(0)).new

    rows = drawn()
    layer = nn.Linear(400, 100)
    for own, usual in (
        (rows[:, :-1], layer.weight.detach()),
        (rows[:, -1], layer.bias.detach()),
    ):
        assert own.abs().max() <= 1 / 20
        assert float(own.abs().max()) > 0.95 / 20
        assert float(own.std()) == pytest.approx(float(usual.std()), rel=0.2)
    assert torch.equal(rows, drawn())
    assert not new_rows(None, rows, range(100), [100], start="random", bias=False).new[:, -1].any()


def test_zeros_and_mean_of_old() -> None:
    zero, _, _, old = case(start="zeros", statistics=None)
    assert zero.new.shape == (2, 6)
    assert not zero.new.any()
    mean, *_ = case(start="mean_of_old", statistics=None)
    np.testing.assert_allclose(mean.new, np.stack([old.mean(0)] * 2))
    first = new_rows(None, torch.zeros(0, 6), [], [0], start="mean_of_old")
    assert first.start == "random"
    assert "no old rows" in first.notes[0]


def test_class_means() -> None:
    found, h, labels, _ = case(start="class_mean")
    means = np.stack([h[labels == c].mean(0) for c in NEW])
    np.testing.assert_allclose(found.new, np.hstack([means, np.zeros((2, 1))]))
    unit, *_ = case(start="unit_class_mean")
    norms = np.linalg.norm(means, axis=1, keepdims=True)
    np.testing.assert_allclose(unit.new[:, :-1], means / norms)
    assert "not all given" in unit.notes[-1]
    given_all = (torch.tensor(h), torch.tensor(labels))
    exact, *_ = case(start="unit_class_mean", features=given_all)
    units = h / np.linalg.norm(h, axis=1, keepdims=True)
    expected = np.stack([units[labels == c].mean(0) for c in NEW])
    np.testing.assert_allclose(exact.new, np.hstack([expected, np.zeros((2, 1))]))
    large, *_ = case(start="class_mean", statistics=statistics(50 * given_all[0], given_all[1]))
    assert "are lost until training recovers them" in large.notes[0]


@pytest.mark.parametrize("bias", [True, False])
def test_least_squares(bias: bool) -> None:
    found, h, labels, _ = case(start="least_squares", bias=bias)
    expected = ridge_rows(h, labels, range(6), bias)[4:]
    np.testing.assert_allclose(found.new, expected, rtol=1e-8, atol=1e-12)
    assert (found.ridge, found.scale, found.old) == (RIDGE, None, None)
    assert found.condition is not None
    alone, *_ = case(start="least_squares_new", bias=bias)
    expected = ridge_rows(h, labels, range(4, 6), bias)
    np.testing.assert_allclose(alone.new, expected, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
def test_least_squares_for_all_rows(loss: str) -> None:
    found, h, labels, old = case(start="least_squares_all_rows", loss=loss)
    expected = ridge_rows(h, labels, range(6))
    scale = 1.0
    if loss == "cross_entropy":  # no features: the scale of the old rows
        scale, _ = calibration(expected, old, balanced_gram(h, labels, range(6)))
        assert found.scale == pytest.approx(scale)
    assert found.old is not None
    rows = torch.cat([found.old, found.new])
    np.testing.assert_allclose(rows, scale * expected, rtol=1e-8, atol=1e-12)
    asked, *_ = case(start="calibrated", loss="mse")
    assert asked.start == "least_squares_all_rows"
    assert "squared error" in asked.notes[0]
    assert asked.scale is None


def test_a_temperature_is_fitted_to_samples_left_out() -> None:
    h, labels = features(3)
    seen = statistics(h, labels)
    found = new_rows(
        seen, trained(h, labels, 4), KNOWN, NEW, start="least_squares_all_rows",
        ridge=RIDGE, features=(h, labels),
    )  # fmt: skip
    expected = fit_scale(left_out(h, labels), labels)
    assert found.scale == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("bias", [True, False])
def test_calibrated(bias: bool) -> None:
    h, labels = features(0)
    old = trained(h, labels, 4)
    old[:, -1] *= bias
    found = new_rows(statistics(h, labels), old, KNOWN, NEW, ridge=RIDGE, bias=bias)
    ls = ridge_rows(h.numpy(), labels.numpy(), range(6), bias)
    scale, gauge = calibration(ls, old.numpy(), balanced_gram(h.numpy(), labels.numpy(), range(6)))
    assert found.start == "calibrated"
    assert found.notes == ()
    assert found.scale == pytest.approx(scale)
    np.testing.assert_allclose(found.new, scale * ls[4:] + gauge, rtol=1e-8, atol=1e-12)


def test_calibrated_starts_lower_than_the_others() -> None:
    h, labels = features(6, (60,) * 6, 8)
    old = trained(h, labels, 4)
    loss = {}
    for start in ("random", "zeros", "mean_of_old", "least_squares", "calibrated"):
        found = new_rows(statistics(h, labels), old, KNOWN, NEW, start=start)  # type: ignore[arg-type]
        logits = augmented(h) @ torch.cat([old, found.new]).T
        loss[start] = float(nn.functional.cross_entropy(logits, labels))
    assert loss["calibrated"] < 0.5 * min(v for k, v in loss.items() if k != "calibrated")


def test_discriminant_rows_are_calibrated() -> None:
    found, h, labels, old = case(start="lda", shrinkage=0.3)
    means = np.stack([h[labels == c].mean(0) for c in range(6)])
    within = sum(np.cov(h[labels == c].T, bias=True) for c in range(6)) / 6
    within = 0.7 * within + 0.3 * np.trace(within) / 5 * np.eye(5)
    rows = means @ np.linalg.inv(within)
    rows = np.hstack([rows, np.log(1 / 6) - (rows * means).sum(1, keepdims=True) / 2])
    scale, gauge = calibration(rows, old, balanced_gram(h, labels, range(6)))
    np.testing.assert_allclose(found.new, scale * rows[4:] + gauge, rtol=1e-8)
    assert found.scale == pytest.approx(scale)
    with pytest.raises(ValueError, match="needs a bias"):
        case(start="lda", bias=False)


def test_without_statistics_of_old_classes() -> None:
    h, labels = features(0)
    fresh = labels >= 4
    found, *_, old = case(statistics=statistics(h[fresh], labels[fresh]))
    assert found.start == "least_squares"
    assert "no statistics of the old classes [0, 1, 2, 3]" in found.notes[-1]
    ls = ridge_rows(h.numpy(), labels.numpy(), range(4, 6))
    gram = balanced_gram(h.numpy(), labels.numpy(), range(4, 6))

    def spread(rows: np.ndarray) -> float:
        centred = rows - rows.mean(0)
        return float(np.sqrt(np.trace(centred @ gram @ centred.T) / len(rows)))

    scale = spread(old) / spread(ls)
    assert found.scale == pytest.approx(scale)
    expected = scale * ls + old.mean(0) - scale * ls.mean(0)
    np.testing.assert_allclose(found.new, expected, rtol=1e-7, atol=1e-10)
    # A single new class has nothing to differ from
    one = labels == 5
    single = new_rows(statistics(h[one], labels[one]), torch.tensor(old), KNOWN, [5], ridge=RIDGE)
    assert single.scale is None
    assert "plain least squares" in single.notes[-1]
    for start in ("least_squares", "least_squares_all_rows"):
        plain, *_ = case(start=start, statistics=statistics(h[fresh], labels[fresh]))
        assert plain.start == "least_squares"
        np.testing.assert_allclose(plain.new, ls, rtol=1e-8, atol=1e-12)
        assert "no statistics of the old classes" in plain.notes[0]


def test_with_statistics_of_some_old_classes() -> None:
    h, labels = features(0)
    some = labels >= 1
    found, *_, old = case(statistics=statistics(h[some], labels[some]))
    ls = ridge_rows(h.numpy(), labels.numpy(), range(1, 6))
    gram = balanced_gram(h.numpy(), labels.numpy(), range(1, 6))
    scale, gauge = calibration(ls, old[1:], gram)
    np.testing.assert_allclose(found.new, scale * ls[3:] + gauge, rtol=1e-7, atol=1e-10)
    assert "calibrated to the other old rows" in found.notes[-1]


def test_one_old_class_gives_no_scale() -> None:
    h, labels = features(1)
    old = trained(h, labels, 4)[:1]
    seen = statistics(h, labels)
    norms = new_rows(seen, old, [0], range(1, 6), ridge=RIDGE)
    ls = torch.tensor(ridge_rows(h.numpy(), labels.numpy(), range(6)))
    gram = torch.tensor(balanced_gram(h.numpy(), labels.numpy(), range(6)))
    scale = float((old @ gram * old).sum() / (ls[:1] @ gram * ls[:1]).sum()) ** 0.5
    assert norms.scale == pytest.approx(scale)
    assert "ratio of the norms" in norms.notes[0]
    np.testing.assert_allclose(norms.new, scale * ls[1:] + (old - scale * ls[:1]), rtol=1e-8)
    fitted = new_rows(seen, old, [0], range(1, 6), ridge=RIDGE, features=(h, labels))
    assert "fitted to the cross-entropy" in fitted.notes[0]
    scores = left_out(h, labels)
    logits = augmented(h) @ old.T
    moving = torch.cat([torch.zeros_like(logits), scores[:, 1:] - scores[:, :1]], 1)
    assert fitted.scale == pytest.approx(fit_scale(moving, labels, logits.expand(-1, 6)), rel=1e-6)
    np.testing.assert_allclose(fitted.new, fitted.scale * (ls[1:] - ls[:1]) + old, rtol=1e-8)


def test_old_rows_that_follow_other_classes() -> None:
    h, labels = features(2)
    against = -trained(h, labels, 4)
    found = new_rows(statistics(h, labels), against, KNOWN, NEW, ridge=RIDGE)
    assert found.start == "least_squares"
    assert "is not positive" in found.notes[0]
    np.testing.assert_allclose(
        found.new, ridge_rows(h.numpy(), labels.numpy(), range(6))[4:], rtol=1e-8, atol=1e-12
    )
    fitted = new_rows(statistics(h, labels), against, KNOWN, NEW, ridge=RIDGE, features=(h, labels))
    assert fitted.start == "calibrated"
    assert fitted.scale is not None
    assert fitted.scale > 0
    lda, *_ = case(2, start="lda")
    assert lda.scale is not None


def test_a_first_head_is_least_squares_at_a_temperature() -> None:
    h, labels = features(4)
    seen, none = statistics(h, labels), torch.zeros(0, 6, dtype=torch.float64)
    found = new_rows(seen, none, [], range(6), ridge=RIDGE, features=(h, labels))
    assert found.start == "least_squares"
    assert found.scale is not None
    assert found.notes == ()
    ls = ridge_rows(h.numpy(), labels.numpy(), range(6))
    np.testing.assert_allclose(found.new, found.scale * ls, rtol=1e-8, atol=1e-10)
    untold = new_rows(seen, none, [], range(6), ridge=RIDGE)
    assert untold.scale is None
    assert "left at 1" in untold.notes[0]
    np.testing.assert_allclose(untold.new, ls, rtol=1e-8, atol=1e-12)


def test_features_alone_will_do() -> None:
    h, labels = features(5)
    old = trained(h, labels, 4)
    both = new_rows(statistics(h, labels), old, KNOWN, NEW, features=(h, labels))
    alone = new_rows(None, old, KNOWN, NEW, features=(h, labels))
    assert torch.equal(alone.new, both.new)
    single = new_rows(None, old.float(), KNOWN, NEW, features=(h.float(), labels))
    assert torch.allclose(single.new, both.new, rtol=1e-3, atol=1e-4)


def test_the_ridge_is_that_of_the_criterion() -> None:
    h, labels = features(7, (40,) * 6)
    old = trained(h, labels, 4)
    found = {
        ridge: new_rows(
            statistics(h, labels), old, KNOWN, NEW, ridge=ridge, features=(h, labels)
        ).ridge
        for ridge in ("auto", "held_out", "gcv", "loo")
    }
    assert found["auto"] == found["held_out"]
    assert len({found["gcv"], found["loo"], found["held_out"]}) == 3
    assert new_rows(statistics(h, labels), old, KNOWN, NEW).ridge == found["gcv"]
    fresh = labels >= 4
    partly = new_rows(statistics(h, labels), old, KNOWN, NEW, features=(h[fresh], labels[fresh]))
    assert partly.ridge == found["gcv"]
    drifted = new_rows(statistics(h, labels), old, KNOWN, NEW, features=(9 * h, labels))
    assert drifted.ridge == found["gcv"]


def test_warnings() -> None:
    h, labels = features(0, (20, 20, 20, 20, 1, 1))
    found = new_rows(statistics(h, labels), trained(h, labels, 4), KNOWN, NEW)
    assert "one sample each of the new classes [4, 5]" in found.notes[-1]
    doubled = torch.cat([h, h], 1)
    raised = new_rows(
        statistics(doubled, labels), trained(doubled, labels, 4), KNOWN, NEW, ridge=0.0
    )
    assert "singular to working precision" in raised.notes[0]
    assert raised.ridge is not None
    assert raised.ridge > 0
    far = trained(h, labels, 4) + 1e7
    assert "share a common part" in new_rows(statistics(h, labels), far, KNOWN, NEW).notes[0]


@given(seed=st.integers(0, 20), cut=st.integers(1, 100), start=st.sampled_from(STARTS[3:]))
def test_merged_statistics_give_the_same_rows(seed: int, cut: int, start: Any) -> None:
    h, labels = features(seed)
    old = trained(h, labels, 4, 20)
    merged = statistics(h[:cut], labels[:cut]) + statistics(h[cut:], labels[cut:])
    options = {"start": start, "ridge": RIDGE}
    one = new_rows(statistics(h, labels), old, KNOWN, NEW, **options)
    other = new_rows(merged, old, KNOWN, NEW, **options)
    assert torch.allclose(one.new, other.new, rtol=1e-8, atol=1e-10)


@given(
    seed=st.integers(0, 20),
    scale=st.floats(0.01, 100),
    old_order=st.permutations(range(4)),
    flip=st.booleans(),
)
def test_calibrated_rows_follow_the_old_ones(
    seed: int, scale: float, old_order: list[int], flip: bool
) -> None:
    h, labels = features(seed)
    old = trained(h, labels, 4, 20)
    seen = statistics(h, labels)
    one = new_rows(seen, old, KNOWN, NEW, ridge=RIDGE)
    new = NEW[::-1] if flip else NEW
    other = new_rows(seen, scale * old[old_order], tuple(old_order), new, ridge=RIDGE)
    expected = scale * (one.new.flip(0) if flip else one.new)
    assert torch.allclose(other.new, expected, rtol=1e-7, atol=1e-9 * scale)


def test_refuses_bad_requests() -> None:
    h, labels = features(0)
    old, seen = trained(h, labels, 4), statistics(h, labels)
    bare = inspect.unwrap(new_rows)

    def refused(match: str, *args: Any, **options: Any) -> None:
        with pytest.raises(ValueError, match=match):
            bare(*(args or (seen, old, KNOWN, NEW)), **options)

    refused("start must be one of", start="ls")
    refused("loss must be one of", loss="hinge")
    refused("ridge must be a number or one of", ridge="aic")
    refused("ridge must be a finite number >= 0", ridge=-1.0)
    refused("ridge must be a finite number >= 0", ridge=float("nan"))
    refused("'loo' needs features", ridge="loo")
    refused("weighting must be", weighting="uniform")
    refused("old has 4 rows, but old_classes names 3", seen, old, (0, 1, 2), NEW)
    refused("at least one class", seen, old, KNOWN, ())
    refused("each class once", seen, old, KNOWN, (4, 4))
    refused("each class once", seen, old, (0, 0, 1, 2), NEW)
    refused(r"rows for the classes \[3\] already", seen, old, KNOWN, (3, 4))
    refused("needs statistics", None, old, KNOWN, NEW)
    refused("the head has 4 inputs", seen, old[:, :5], KNOWN, NEW)
    refused(r"no samples of the new classes \[9\]", seen, old, KNOWN, (9,))
    refused("not finite", seen, old / 0, KNOWN, NEW)
    refused("shrinkage must lie", start="lda", shrinkage=-0.1)
    pooled = FeatureStatistics(5).update(h, labels)
    refused("per_class=True", pooled, old, KNOWN, NEW, start="least_squares_new")
    refused("per_class=True", pooled, old, KNOWN, NEW, weighting="balanced")
    assert new_rows(pooled, old, KNOWN, NEW).start == "calibrated"  # by frequency
