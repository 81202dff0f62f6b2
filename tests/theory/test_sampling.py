import pytest
import torch

from holdfast.theory.sampling import Draws

LIKE = torch.zeros(1, dtype=torch.float64)


def test_second_moments_are_exact():
    draws = Draws(64, 0, LIKE)
    forward = torch.cat([draws.draw("forward", count) for count in (1, 3, 4)])
    backward = torch.cat([draws.draw("backward", count) for count in (5, 2)])
    both = torch.cat([forward, backward])
    torch.testing.assert_close(both @ both.T / 64, torch.eye(15).double(), atol=1e-12, rtol=0)


@pytest.mark.parametrize("kind", ["forward", "backward"])
def test_moments_of_odd_order_in_a_kind_vanish(kind):
    draws = Draws(64, 0, LIKE)
    forward, backward = draws.draw("forward", 3), draws.draw("backward", 3)
    odd, even = (forward, backward) if kind == "forward" else (backward, forward)
    products = torch.einsum("is,js,ks,ls->ijkl", odd, odd, odd, even.square())
    assert float(products.abs().max()) < 1e-12


def test_draws_are_normal():
    draws = Draws(16384, 3, LIKE).draw("forward", 4)
    quantiles = torch.tensor([0.01, 0.1, 0.25, 0.75, 0.99], dtype=torch.float64)
    expected = torch.special.ndtri(quantiles).expand(4, 5)
    torch.testing.assert_close(draws.quantile(quantiles, 1).T, expected, atol=0.12, rtol=0)


def test_draws_are_the_same_at_once_and_one_by_one():
    whole = Draws(64, 1, LIKE).draw("forward", 16)
    few = Draws(64, 1, LIKE)
    rows = torch.cat([few.draw("forward", 8), few.draw("forward", 8)])
    torch.testing.assert_close(rows, whole, atol=1e-12, rtol=0)


def test_kinds_do_not_disturb_each_other():
    alone, mixed = Draws(64, 1, LIKE), Draws(64, 1, LIKE)
    mixed.draw("backward", 5)
    assert torch.equal(alone.draw("forward", 4), mixed.draw("forward", 4))


@pytest.mark.parametrize("kind", ["forward", "backward"])
def test_correlate_is_the_mean_product_with_all_draws(kind):
    draws = Draws(32, 0, LIKE)
    drawn = torch.cat([draws.draw(kind, 2), draws.draw(kind, 3)])
    values = torch.randn(4, 32, generator=torch.Generator().manual_seed(0)).double()
    torch.testing.assert_close(draws.correlate(kind, values), values @ drawn.T / 32)


def test_without_backward_draws_samples_come_in_twos():
    draws = Draws(32, 0, LIKE, backward=False)
    forward = draws.draw("forward", 3)
    assert torch.equal(forward[:, :16], -forward[:, 16:])
    torch.testing.assert_close(forward @ forward.T / 32, torch.eye(3).double())
    assert torch.equal(draws.draw("backward", 2), torch.zeros(2, 32).double())
