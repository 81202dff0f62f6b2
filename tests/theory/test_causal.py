import pytest
import torch
from theory_cases import VARIED, drawn, two_tasks
from torch.func import jacrev, vmap

from holdfast.theory import causal, fixed_point, linear, networks, particles, problem

FEW = {"samples": 2048, "groups": 4}


def off(found, right):
    return float((found - right).norm() / right.norm())


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("name", VARIED)
def test_linear_networks_are_solved_without_sampling_error(name, depth):
    own = two_tasks(depth=depth, gamma0=0.5, **VARIED[name])
    right = linear(own, kept=4)
    found = causal(own, kept=4, samples=1024, groups=2, tolerance=1e-12)
    close = {"atol": 2e-6, "rtol": 0}
    torch.testing.assert_close(found.outputs, right.outputs, **close)
    torch.testing.assert_close(found.features, right.features, **close)
    torch.testing.assert_close(found.gradients, right.gradients, **close)
    assert float(found.loss_error.max()) < 1e-6


@pytest.mark.parametrize("phi", ["tanh", "relu"])
def test_two_layers_agree_with_particles(phi):
    own = two_tasks(points=4, steps=15, phi=phi)
    found, right = causal(own, **FEW), particles(own, samples=8192)
    assert off(found.losses, right.losses) < 0.02
    assert off(found.features, right.features) < 0.05
    assert off(found.gradients, right.gradients) < 0.05


@pytest.mark.parametrize(
    ("options", "reach"),
    [
        ({"gamma0": 0.5}, 0.025),
        ({"gamma0": 1.5}, 0.025),
        ({"gamma0": 0.5, "phi": "relu"}, 0.04),
        ({"readout_std": 0.0, "heads": "per_task"}, 0.02),
        ({"readout_std": 0.0, "depth": 3}, 0.02),
        ({"momentum": 0.5, "weight_decay": 0.1, "lr": 0.2}, 0.025),
        ({"loss": "cross_entropy"}, 0.02),
        ({"batch_size": 2}, 0.025),
    ],
    ids=str,
)
def test_wide_networks_agree(options, reach):
    own = two_tasks(points=4, **{"steps": 12, "depth": 2, "phi": "tanh", "lr": 0.4} | options)
    curves = own.losses(networks(own, 512, 12).outputs).mean(0)
    assert off(causal(own, **FEW).losses, curves) < reach


def test_without_responses_networks_disagree():
    own = two_tasks(points=4, steps=12, depth=2, phi="tanh", lr=0.4, gamma0=0.5)
    curves = own.losses(networks(own, 512, 12).outputs).mean(0)
    assert off(causal(own, **FEW, responses=False).losses, curves) > 0.08


def test_responses_are_mean_derivatives():
    # The first layer by itself, with what the second does to it taken from the solution.
    own = two_tasks(points=2, steps=2, depth=2, phi="tanh", gamma0=1.5, lr=0.5)
    times, points = own.steps + 1, own.points
    found = fixed_point(own, kept=range(times), samples=4096, damping=0.5)
    n = times * points
    g_above, phi = found.gradients[1].view(n, n), found.features[0].view(n, n)
    b = torch.linalg.solve(phi, found.responses["gradients"][0].view(n, n).T).T
    weights = own.schedule.weights.unsqueeze(-1) * own.schedule.lr[:, None, None]
    pull = torch.zeros(times, points).double()
    pull[:-1] = (own.gamma0 * weights * found.errors[:-1]).squeeze(-1)
    before = torch.ones(times, times).double().tril(-1).repeat_interleave(points, 0)
    before = before.repeat_interleave(points, 1)
    up = before * torch.kron(torch.ones(times, times).double(), own.kernel) * pull.flatten()
    down = b + before * g_above * pull.flatten()

    def features(r, u):
        h, z = u, r
        for _ in range(2 * times):  # nilpotent: exact after as many turns
            z = r + down @ torch.tanh(h)
            h = u + up @ ((1 - torch.tanh(h).square()) * z)
        return torch.tanh(h)

    u = torch.linalg.cholesky(own.kernel) @ drawn(0, points, 1000)
    r = torch.linalg.cholesky(g_above) @ drawn(1, n, 1000)
    a = vmap(jacrev(features))(r.T, u.repeat(times, 1).T).mean(0)
    response = found.responses["features"][0].view(n, n)
    assert off(response, a @ g_above) < 0.05


def test_outputs_are_zero_before_training():
    for phi in ("tanh", "relu"):
        for options in ({}, {"outputs": 2, "heads": "per_task"}):
            found = causal(two_tasks(depth=3, phi=phi, steps=1, gamma0=0.01, **options), **FEW)
            assert float(found.outputs[0].abs().max()) < 1e-10


def test_same_seed_same_answer():
    own = two_tasks(depth=2, phi="tanh")
    first, again, other = (causal(own, **FEW, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first.outputs, again.outputs)
    assert torch.equal(first.features, again.features)
    assert not torch.equal(first.outputs, other.outputs)


def test_standard_errors_cover_what_another_seed_finds():
    own = two_tasks(points=4, depth=2, phi="relu", gamma0=0.3)
    found = [causal(own, samples=2048, groups=8, seed=seed) for seed in range(6)]
    spread = torch.stack([one.losses for one in found]).std(0)[1:]
    claimed = torch.stack([one.loss_error for one in found]).mean(0)[1:]
    assert 0.5 < float(spread.norm() / claimed.norm()) < 2


def test_order_of_points_and_probes_change_nothing_beyond_chance():
    plain = two_tasks(points=3, depth=2, phi="tanh")
    watched = two_tasks(
        points=3, depth=2, phi="tanh", probes=(drawn(9, 2, 6), torch.zeros(2, 1), 0)
    )
    a, b = causal(plain, **FEW), causal(watched, **FEW)
    error = (a.loss_error.square() + b.loss_error.square()).sum().sqrt()
    assert float((a.losses - b.losses).norm()) < 3 * float(error)
    assert off(b.outputs[:, :6], a.outputs) < 0.03
    order = torch.tensor([2, 0, 1])
    parts = [plain.inputs[:3], plain.inputs[3:]], [plain.targets[:3], plain.targets[3:]]
    shuffled = problem(
        *([part[order] for part in both] for both in parts),
        6, lr=0.3, gamma0=1.0, phi="tanh", depth=2,
    )  # fmt: skip
    c = causal(shuffled, **FEW)
    assert off(c.outputs[:, torch.cat([order, order + 3]).argsort()], a.outputs) < 0.03


def test_points_that_repeat():
    # A singular kernel: the second task is the first again.
    own = two_tasks(points=3)
    x, y = own.inputs[:3], own.targets[:3]
    found = causal(problem([x, x], [y, y], 5, gamma0=1.0, depth=2, phi="tanh"), **FEW)
    torch.testing.assert_close(found.outputs[:, :3], found.outputs[:, 3:])
    torch.testing.assert_close(found.losses[:, 0], found.losses[:, 1])


def test_single_precision_is_close():
    own = two_tasks(points=4, depth=2, phi="tanh")
    found = causal(own.to(torch.float32), **FEW)
    assert found.outputs.dtype == torch.float32
    assert off(found.losses.double(), causal(own, **FEW).losses) < 0.03


def test_progress_counts_all_groups():
    seen = []
    causal(two_tasks(steps=2), **FEW, progress=lambda done, of: seen.append((done, of)))
    assert seen == [(i, 16) for i in range(1, 17)]


def test_paths_of_more_directions_than_samples_follow_are_warned_of():
    own = two_tasks(points=4, steps=16, depth=2, phi="relu", gamma0=0.3)
    with pytest.warns(UserWarning, match="more than 16 directions, the most that 64 samples"):
        causal(own, samples=128, groups=2)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"groups": 1}, "groups must be an integer of 2 or more, got 1"),
        ({"samples": 0}, "samples must be an integer of 1 or more, got 0"),
        ({"samples": 64}, r"samples must be 768 or more, .* got 64"),
        ({"tolerance": 0.0}, r"tolerance must lie between 2e-14, .* and 1, got 0.0"),
        ({"memory": 1000}, "solver causal needs about"),
    ],
    ids=str,
)
def test_arguments(options, said):
    with pytest.raises(ValueError, match=said):
        causal(two_tasks(points=6), **options)
