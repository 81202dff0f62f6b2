"""Linear networks: growing finite ones against the field equations and the two-layer closure."""

import pytest
import torch
from field_theory import field_theory
from theory_cases import VARIED, two_tasks

from holdfast.theory import closure, linear

TIMES = [0, 3, 4, 8]


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("case", VARIED)
def test_solves_the_field_equations(case: str, depth: int) -> None:
    asked = two_tasks(depth=depth, **{"steps": 4} | VARIED[case])
    found, fields = linear(asked, kept=TIMES), field_theory(asked)
    assert fields.outputs[-1].abs().max() > 0.1
    torch.testing.assert_close(found.outputs, fields.outputs, rtol=0, atol=1e-11)
    phi, g = fields.features[:, TIMES][:, :, :, TIMES], fields.gradients[:, TIMES][:, :, :, TIMES]
    torch.testing.assert_close(found.features, phi, rtol=0, atol=1e-11)
    torch.testing.assert_close(found.gradients, g, rtol=0, atol=1e-11)


@pytest.mark.parametrize("case", VARIED)
def test_two_layers_are_those_of_the_closure(case: str) -> None:
    asked = two_tasks(steps=60, **VARIED[case])
    deep, closed = linear(asked), closure(asked)
    assert deep.kept == closed.kept
    for name in ("outputs", "features", "gradients"):
        torch.testing.assert_close(
            getattr(deep, name), getattr(closed, name), rtol=1e-12, atol=1e-12
        )


def test_what_is_left_out_is_as_small_as_asked() -> None:
    asked = two_tasks(points=6, features=10, steps=60, lr=0.1, depth=3)
    exact = linear(asked)
    coarse = linear(asked, tolerance=1e-6)
    assert sum(coarse.settings["ranks"]) < 0.8 * sum(exact.settings["ranks"])
    assert 0 < (coarse.outputs - exact.outputs).abs().max() < 1e-6
    finest = linear(asked, tolerance=1e-13)
    assert (finest.outputs - exact.outputs).abs().max() < 1e-13


def test_precision_is_that_of_the_problem() -> None:
    asked = two_tasks(points=6, features=10, steps=60, lr=0.1, depth=3)
    single = linear(asked.to(torch.float32))
    assert single.outputs.dtype == single.features.dtype == torch.float32
    assert (single.outputs - linear(asked).outputs).abs().max() < 1e-4


def test_other_activations_are_refused() -> None:
    with pytest.raises(ValueError, match="networks with activation linear, got tanh"):
        linear(two_tasks(phi="tanh"))


@pytest.mark.parametrize("tolerance", [0.0, 1e-15, 1.0])
def test_tolerances_out_of_range_are_refused(tolerance: float) -> None:
    with pytest.raises(ValueError, match=r"tolerance must lie between 2\.2e-14, .* and 1; got"):
        linear(two_tasks(), tolerance=tolerance)
