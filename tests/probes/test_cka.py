import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from holdfast.probes import cka, gram_cka, kernel_alignment

SEEDS = st.integers(0, 10_000)


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def rotation(seed: int, size: int) -> Tensor:
    return torch.linalg.qr(drawn(seed, size, size)).Q


def naive_cka(a: np.ndarray, b: np.ndarray) -> float:
    """HSIC of the linear kernels over the root of their own, HSIC = tr(K C L C) / (n - 1)^2."""
    n = len(a)
    centring = np.eye(n) - np.ones((n, n)) / n

    def hsic(k: np.ndarray, m: np.ndarray) -> float:
        return float(np.trace(k @ centring @ m @ centring)) / (n - 1) ** 2

    k = np.array([[np.dot(x, y) for y in a] for x in a])
    m = np.array([[np.dot(x, y) for y in b] for x in b])
    return hsic(k, m) / math.sqrt(hsic(k, k) * hsic(m, m))


@pytest.mark.parametrize("shapes", [((9, 4), (9, 4)), ((5, 30), (5, 2)), ((40, 3), (40, 7))])
def test_cka_is_the_ratio_of_hsic(shapes: tuple[tuple[int, int], tuple[int, int]]) -> None:
    a, b = drawn(0, *shapes[0]) + 2, drawn(1, *shapes[1])
    b[:, :1] += a[:, :1]
    assert cka(a, b) == pytest.approx(naive_cka(a.numpy(), b.numpy()), rel=1e-12)
    assert gram_cka(a @ a.T, b @ b.T) == pytest.approx(cka(a, b), rel=1e-12)


def test_cka_by_hand() -> None:
    # Centred: a = (-1, 0, 1), b = (1, -2, 1) / 3. Orthogonal, so K and L are too.
    a, b = torch.tensor([[0.0], [1.0], [2.0]]), torch.tensor([[1.0], [0.0], [1.0]])
    assert cka(a, b) == pytest.approx(0.0, abs=1e-15)
    # With both columns K = a a^T + b b^T, |a|^2 = 2 and |b|^2 = 2/3: cos = 4 / (2 sqrt(4 + 4/9)).
    both = torch.cat([a, b], dim=1)
    assert cka(a, both) == pytest.approx(4 / (2 * math.sqrt(4 + 4 / 9)))


@settings(max_examples=20)
@given(SEEDS, st.floats(1e-3, 1e3), st.floats(-5, 5))
def test_cka_knows_no_rotation_scale_shift_or_order(seed: int, scale: float, shift: float) -> None:
    a, b = drawn(seed, 8, 5), drawn(seed + 1, 8, 3)
    value = cka(a, b)
    assert 0 <= value <= 1
    assert cka(b, a) == pytest.approx(value, rel=1e-9)
    moved = scale * a @ rotation(seed + 2, 5) + shift
    assert cka(moved, b) == pytest.approx(value, rel=1e-9)
    assert cka(a, moved) == pytest.approx(1.0, rel=1e-9)
    order = torch.randperm(8, generator=torch.Generator().manual_seed(seed))
    assert cka(a[order], b[order]) == pytest.approx(value, rel=1e-9)


@settings(max_examples=20)
@given(SEEDS, st.floats(1e-3, 1e3))
def test_alignment_is_of_angles_and_not_centred(seed: int, scale: float) -> None:
    a, b = drawn(seed, 6, 4), drawn(seed + 1, 6, 9)
    k, m = a @ a.T, b @ b.T
    value = kernel_alignment(k, m)
    assert value == pytest.approx(np.vdot(k.numpy(), m.numpy()) / float(k.norm() * m.norm()))
    turned = a @ rotation(seed, 4)
    assert kernel_alignment(scale * turned @ turned.T, m) == pytest.approx(value)
    assert kernel_alignment(k, scale * k) == pytest.approx(1.0)
    # a constant feature counts, which CKA takes away
    assert kernel_alignment(k + 100, m + 100) > 0.9
    assert gram_cka(k + 100, m + 100) == pytest.approx(gram_cka(k, m), rel=1e-9)


def test_equal_features_are_never_past_one() -> None:
    for seed in range(20):
        a = drawn(seed, 30, 7)
        assert 0 <= 1 - cka(a, a) < 1e-15


def test_float32_features_count_as_float64() -> None:
    a = drawn(0, 20, 6).float()
    b = a + 1e-4 * drawn(1, 20, 6).float()
    assert 1 - cka(a, b) == pytest.approx(1 - naive_cka(a.double().numpy(), b.double().numpy()))


def test_without_differences_there_is_no_alignment() -> None:
    assert math.isnan(cka(torch.ones(4, 3), torch.eye(4)))
    assert math.isnan(kernel_alignment(torch.zeros(4, 4), torch.eye(4)))
