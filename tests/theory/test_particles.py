"""Sampled neurons against neurons in plain loops, exact answers and their own standard errors."""

import math

import pytest
import torch
from theory_cases import VARIED, drawn, two_tasks

from holdfast.theory import closure, particles
from holdfast.theory.two_layer import train


@pytest.mark.parametrize("case", ["plain", "outputs", "cross-entropy", "batches"])
@pytest.mark.parametrize("phi", ["tanh", "relu"])
def test_neurons_are_those_of_a_small_network(phi: str, case: str) -> None:
    """The forward and backward pass of each neuron, written out."""
    asked = two_tasks(phi=phi, **VARIED[case])
    neurons, kernel = 5, asked.kernel.tolist()
    h = drawn(7, asked.points, neurons)
    z = drawn(8, asked.heads, asked.outputs, neurons)
    found = train(asked, h, z, 1 / neurons, (0, asked.steps))
    value, slope = (math.tanh, lambda x: 1 - math.tanh(x) ** 2)
    if phi == "relu":
        value, slope = (lambda x: max(x, 0.0), lambda x: float(x > 0))
    every, outs, head = range(asked.points), range(asked.outputs), asked.head.tolist()
    field, top = h.T.tolist(), z.permute(2, 0, 1).tolist()
    for t in range(asked.steps + 1):
        f = [
            [
                sum(top[i][head[a]][c] * value(field[i][a]) for i in range(neurons))
                / (neurons * asked.gamma0)
                for c in outs
            ]
            for a in every
        ]
        expected = torch.tensor(f, dtype=torch.float64)
        torch.testing.assert_close(found.outputs[t], expected, rtol=0, atol=1e-12)
        if t == asked.steps:
            break
        delta = asked.error(expected) * asked.schedule.weights[t].unsqueeze(1)
        u = (float(asked.schedule.lr[t]) * asked.gamma0 * delta).tolist()
        for i in range(neurons):
            g = [[slope(field[i][a]) * top[i][head[a]][c] for c in outs] for a in every]
            phis = [value(field[i][a]) for a in every]
            for a in every:
                field[i][a] += sum(kernel[a][b] * u[b][c] * g[b][c] for b in every for c in outs)
                for c in outs:
                    top[i][head[a]][c] += u[a][c] * phis[a]


@pytest.mark.parametrize("case", VARIED)
def test_linear_neurons_need_no_limit(case: str) -> None:
    """Their second moments are exact in the sample, and say all."""
    asked = two_tasks(**VARIED[case])
    sampled, exact = particles(asked, samples=512, groups=2), closure(asked)
    for name in ("outputs", "features", "gradients"):
        found, expected = getattr(sampled, name), getattr(exact, name)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    assert sampled.loss_error is not None
    assert sampled.loss_error.max() < 1e-12


@pytest.mark.parametrize("phi", ["tanh", "relu", "gelu"])
def test_outputs_start_at_zero(phi: str) -> None:
    found = particles(two_tasks(steps=1, phi=phi, gamma0=1e-3), samples=256, groups=2)
    assert found.outputs[0].abs().max() < 1e-11


def test_standard_errors_are_of_the_size_of_the_errors() -> None:
    asked = two_tasks(steps=20, phi="tanh", gamma0=1.5)
    exact = particles(asked, kept=[0], samples=80_000, seed=1).losses
    runs = [particles(asked, kept=[0], samples=2_000, seed=2 + k) for k in range(6)]
    ratios = torch.stack([(r.losses - exact)[1:] / r.loss_error[1:] for r in runs])
    assert 0.5 < float(ratios.square().mean().sqrt()) < 2


def test_probes_change_nothing() -> None:
    probes = (drawn(9, 2, 6), torch.zeros(2, 1), 0)
    alone = two_tasks(phi="tanh")
    watched = two_tasks(phi="tanh", probes=probes)
    found = [particles(asked, samples=512, groups=2).outputs[:, :6] for asked in (alone, watched)]
    torch.testing.assert_close(*found, rtol=0, atol=1e-12)


def test_a_zero_readout_is_drawn_without_pairs() -> None:
    found = particles(two_tasks(phi="erf", readout_std=0.0), kept=[0], samples=4096, groups=2)
    assert bool((found.gradients == 0).all())
    assert bool((found.outputs[0] == 0).all())
    k = found.problem.kernel
    one = 1 + 2 * k.diagonal()
    arcsine = 2 / math.pi * torch.asin(2 * k / (one[:, None] * one).sqrt())
    torch.testing.assert_close(found.features[0, 0, :, 0], arcsine, rtol=0, atol=0.02)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"groups": 1}, "groups must be an integer of 2 or more, got 1"),
        ({"samples": 0}, "samples must be an integer of 1 or more, got 0"),
        ({"samples": 64, "groups": 4}, r"samples must be 136 or more, .*; got 64"),
        ({"seed": -1}, "seed must be an integer of 0 or more, got -1"),
    ],
)
def test_sizes_are_checked(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        particles(two_tasks(8, outputs=1, phi="relu"), **options)


def test_deep_networks_are_refused() -> None:
    with pytest.raises(ValueError, match="particles solves depth 1, got 2; take solver 'causal'"):
        particles(two_tasks(depth=2, phi="relu"))
