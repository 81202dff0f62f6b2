import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler

from holdfast.estimator import scaling
from holdfast.estimator.scaling import LIMIT, Scaling


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.uint8, np.int64, bool])
@pytest.mark.parametrize("rows", [7, 8192])
def test_vectors_are_standardised_feature_by_feature(dtype, rows, monkeypatch):
    monkeypatch.setattr(scaling, "_ROWS", rows)
    x = (np.random.default_rng(0).normal(size=(50, 4)) * [1, 20, 3, 9] + 100).astype(dtype)
    ours, theirs = Scaling.of(x), StandardScaler().fit(x.astype(np.float64))
    np.testing.assert_allclose(ours.mean, theirs.mean_, rtol=1e-12)
    np.testing.assert_allclose(ours.scale, theirs.scale_, rtol=1e-10)
    np.testing.assert_allclose(ours(x), theirs.transform(x.astype(np.float64)), atol=1e-5)


def test_images_are_standardised_channel_by_channel():
    x = np.random.default_rng(0).integers(0, 255, size=(9, 3, 4, 5)).astype(np.uint8)
    ours = Scaling.of(x)
    np.testing.assert_allclose(ours.mean, x.transpose(1, 0, 2, 3).reshape(3, -1).mean(axis=1))
    np.testing.assert_allclose(ours.scale, x.transpose(1, 0, 2, 3).reshape(3, -1).std(axis=1))
    scaled = ours(x)
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(scaled.mean(axis=(0, 2, 3)), 0, atol=1e-5)


def test_a_constant_feature_keeps_its_unit():
    x = np.full((11, 1), 0.1)
    ours = Scaling.of(x)
    assert ours.scale.tolist() == [1.0]
    np.testing.assert_allclose(ours(x + 3), 3, rtol=1e-6)


def test_what_lies_far_off_counts_as_the_limit():
    ours = Scaling.of(np.array([[0.0], [1e-3]]))
    assert ours(np.array([[1e9], [-1e308]])).tolist() == [[LIMIT], [-LIMIT]]


def test_small_differences_of_large_numbers_survive():
    x = 1e9 + np.arange(5.0)[:, None]
    np.testing.assert_allclose(Scaling.of(x)(x)[:, 0], (np.arange(5) - 2) / np.sqrt(2), rtol=1e-6)
