import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from made import augmented, features, statistics, trained
from torch import Tensor

from holdfast.starts import calibrate, solve_ridge


def case(seed: int, known: int = 3) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    h, labels = features(seed)
    moments = statistics(h, labels).moments(range(6))
    return solve_ridge(moments, 0.01).weight, trained(h, labels, known, 30), moments.gram, h


@pytest.mark.parametrize("columns", [[0, 1, 2], [4, 1, 2]])
def test_from_the_gram_alone_as_from_the_data(columns: list[int]) -> None:
    ls, old, gram, h = case(0)
    found = calibrate(ls, old, columns, gram)
    x = augmented(h).numpy()
    s, z = x @ ls[columns].numpy().T, x @ old.numpy().T
    s, z = s - s.mean(1, keepdims=True), z - z.mean(1, keepdims=True)
    scale = np.linalg.lstsq(s.reshape(-1, 1), z.reshape(-1), rcond=None)[0][0]
    assert found.scale == pytest.approx(scale, rel=1e-10)
    assert found.explained == pytest.approx(1 - ((z - scale * s) ** 2).sum() / (z**2).sum())
    left = np.mean([old[k].numpy() - scale * ls[c].numpy() for k, c in enumerate(columns)], 0)
    np.testing.assert_allclose(found.gauge, left, rtol=1e-10)


@given(seed=st.integers(0, 300), scale=st.floats(1e-3, 1e3), common=st.floats(-50, 50))
def test_new_probabilities_know_no_gauge(seed: int, scale: float, common: float) -> None:
    ls, old, gram, h = case(seed % 10)
    shift = common * torch.randn(
        old.shape[1], generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )
    one, other = calibrate(ls, old, [0, 1, 2], gram), calibrate(ls, old + shift, [0, 1, 2], gram)
    assert other.scale == pytest.approx(one.scale, rel=1e-7)
    rows = [
        torch.cat([o, c.scale * ls[3:] + c.gauge]) for o, c in ((old, one), (old + shift, other))
    ]
    p, q = ((augmented(h) @ r.T).softmax(1) for r in rows)
    assert torch.allclose(p, q, atol=1e-8)
    times = calibrate(ls, scale * old, [0, 1, 2], 7 * gram)
    assert times.scale == pytest.approx(scale * one.scale, rel=1e-9)
    assert torch.allclose(times.gauge, scale * one.gauge, rtol=1e-8, atol=1e-9 * scale)


@given(seed=st.integers(0, 9), order=st.permutations(range(3)))
def test_the_order_of_old_rows_is_nothing(seed: int, order: list[int]) -> None:
    ls, old, gram, _ = case(seed)
    one = calibrate(ls, old, [0, 1, 2], gram)
    other = calibrate(ls, old[list(order)], list(order), gram)
    assert other.scale == pytest.approx(one.scale, rel=1e-10)
    assert torch.allclose(other.gauge, one.gauge, rtol=1e-9, atol=1e-12)


def test_scaled_and_shifted_rows_are_found_again() -> None:
    ls, _, gram, _ = case(1)
    shift = torch.linspace(-3, 5, ls.shape[1], dtype=torch.float64)
    found = calibrate(ls, 11 * ls[:3] + shift, [0, 1, 2], gram)
    assert found.scale == pytest.approx(11)
    assert found.explained == pytest.approx(1)
    assert torch.allclose(found.gauge, shift)
    assert calibrate(ls, -2 * ls[:3], [0, 1, 2], gram).scale == pytest.approx(-2)


def test_without_two_rows_that_differ_there_is_no_scale() -> None:
    ls, old, gram, _ = case(2)
    assert np.isnan(calibrate(ls, old[:1], [0], gram).scale)
    assert np.isnan(calibrate(ls, old[:0], [], gram).scale)
    alike = torch.cat([ls[:1], ls[:1]])
    assert np.isnan(calibrate(alike, old[:2], [0, 1], gram).scale)


def test_refuses_columns_that_fit_nothing() -> None:
    ls, old, gram, _ = case(3)
    with pytest.raises(ValueError, match="one row for each of the 3 old rows"):
        calibrate(ls, old, [0, 1], gram)
    with pytest.raises(ValueError, match="one row for each"):
        calibrate(ls, old, [0, 1, 1], gram)
    with pytest.raises(ValueError, match=r"must lie in \[0, 6\)"):
        calibrate(ls, old, [0, 1, 6], gram)
