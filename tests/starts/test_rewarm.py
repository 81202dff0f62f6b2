import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import holdfast
from holdfast import nets, streams
from holdfast.starts import Rewarm, rewarm


@given(st.integers(1, 50), st.floats(0.1, 20), st.floats(0.05, 1.0))
def test_falls_from_the_factor_to_one(steps: int, factor: float, over: float) -> None:
    values = [rewarm(step, steps, factor, over) for step in range(steps)]
    assert values[0] == pytest.approx(factor)
    ordered = sorted(values, reverse=factor >= 1)
    assert values == pytest.approx(ordered)
    assert all(v == 1 for step, v in enumerate(values) if step >= over * steps)


def test_closed_form() -> None:
    assert rewarm(25, 100, 10.0, 1.0) == pytest.approx(1 + 4.5 * (1 + math.sqrt(0.5)))
    assert [rewarm(step, 4, 7.0, None) for step in (0, 3)] == [7.0, 7.0]


def test_the_rate_of_a_run_is_the_schedule_times_it() -> None:
    stream = streams.growing(holdfast.digits(), stages=2, sizes=[0.02, 1.0])
    training = holdfast.Training(
        epochs=2, batch_size=512, lr=0.01, schedule="exponential", decay=0.5
    )
    record = holdfast.run(
        stream, nets.mlp(stream.input_shape, (4,)), training=training, start=Rewarm(4.0, 1.0)
    )
    first = [e["lr"] for e in record.curve if e["task"] == 0]
    second = [e["lr"] for e in record.curve if e["task"] == 1]
    assert first == pytest.approx([0.01, 0.005])
    steps = record.curve[-1]["step"] - 2
    expected = [
        0.01 * 0.5 ** (at / (steps / 2)) * rewarm(at, steps, 4.0, 1.0)
        for at in (steps // 2 - 1, steps - 1)
    ]
    assert second == pytest.approx(expected)


def test_weights_are_stepped_at_that_rate() -> None:
    """A factor throughout is a run at that many times the rate, from the second task on."""
    stream = streams.growing(holdfast.digits(), stages=2, sizes=[0.02, 0.05, 1.0][1:])

    def after(factor: float) -> list[torch.Tensor]:
        torch.manual_seed(0)
        net = nets.mlp(stream.input_shape, (4,))
        training = holdfast.Training(epochs=1, batch_size=2048, lr=0.01)
        holdfast.run(stream, net, training=training, start=Rewarm(factor, None))
        return [p.detach().clone() for p in net.parameters()]

    one, two, three = after(1.0), after(2.0), after(3.0)
    # One step of gradient descent a task: the second moves by the factor.
    for a, b, c in zip(one, two, three, strict=True):
        torch.testing.assert_close(c - b, b - a, rtol=1e-3, atol=1e-7)
    assert any(bool((a != b).any()) for a, b in zip(one, two, strict=True))


@pytest.mark.parametrize("bad", [0.0, -1.0, float("inf")])
def test_refuses_factors(bad: float) -> None:
    with pytest.raises(ValueError, match="factor must be"):
        Rewarm(bad)


@pytest.mark.parametrize("bad", [0.0, 1.5, -0.1])
def test_refuses_shares(bad: float) -> None:
    with pytest.raises(ValueError, match="over must be"):
        rewarm(0, 10, over=bad)
