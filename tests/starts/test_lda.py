import numpy as np
import pytest
import torch
from made import augmented, features, statistics
from sklearn.covariance import oas
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from holdfast.starts import lda_rows, oas_shrinkage


@pytest.mark.parametrize("shrinkage", [0.0, 0.2, 1.0])
def test_rows_are_those_of_scikit_learn(shrinkage: float) -> None:
    h, labels = features(0)
    found, used = lda_rows(statistics(h, labels).moments(range(6)), shrinkage)
    model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage).fit(h, labels)
    assert used == shrinkage
    np.testing.assert_allclose(found.weight[:, :-1], model.coef_, rtol=1e-7)
    np.testing.assert_allclose(found.weight[:, -1], model.intercept_, rtol=1e-7)


def test_balanced_priors_are_equal() -> None:
    h, labels = features(1)
    found, _ = lda_rows(statistics(h, labels).moments(range(6), "balanced"), 0.1)
    x, c = h.numpy(), labels.numpy()
    within = sum(np.cov(x[c == k].T, bias=True) for k in range(6)) / 6
    within = 0.9 * within + 0.1 * np.trace(within) / 5 * np.eye(5)
    means = np.stack([x[c == k].mean(0) for k in range(6)])
    rows = means @ np.linalg.inv(within)
    np.testing.assert_allclose(found.weight[:, :-1], rows, rtol=1e-9)
    bias = np.log(1 / 6) - (rows * means).sum(1) / 2
    np.testing.assert_allclose(found.weight[:, -1], bias, rtol=1e-9)


def test_oas_is_that_of_scikit_learn() -> None:
    h, labels = features(2)
    centred = h - torch.stack([h[labels == k].mean(0) for k in range(6)])[labels]
    scatter = centred.T @ centred / len(h)
    _, expected = oas(centred.numpy(), assume_centered=True)
    assert 0 < oas_shrinkage(scatter, len(h)) < 1
    assert oas_shrinkage(scatter, len(h)) == pytest.approx(expected)
    _, used = lda_rows(statistics(h, labels).moments(), None)
    assert used == pytest.approx(expected)
    assert oas_shrinkage(torch.eye(3).double(), 10) == 1.0


def test_classifies_gaussian_classes() -> None:
    h, labels = features(3, (200,) * 4, 6)
    found, _ = lda_rows(statistics(h, labels).moments(range(4)))
    assert ((augmented(h) @ found.weight.T).argmax(1) == labels).double().mean() > 0.9


def test_refuses_what_has_no_scatter() -> None:
    h, labels = features(4)
    with pytest.raises(ValueError, match=r"shrinkage must lie in \[0, 1\]"):
        lda_rows(statistics(h, labels).moments(), 1.5)
    single = statistics(h[:3], torch.arange(3)).moments()
    with pytest.raises(ValueError, match="do not vary within classes"):
        lda_rows(single)
