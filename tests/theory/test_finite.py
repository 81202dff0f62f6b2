import dataclasses
from itertools import pairwise

import pytest
import torch
from torch import nn

from holdfast import richness
from holdfast.theory import problem
from holdfast.theory.finite import networks
from holdfast.theory.stacked import Stack, train

LAYERS = {"relu": nn.ReLU, "tanh": nn.Tanh, "linear": nn.Identity}


def small(seed=0, points=3, features=5, outputs=1, **options):
    draw = torch.Generator().manual_seed(seed)
    x = [torch.randn(points, features, generator=draw, dtype=torch.float64) for _ in range(2)]
    y = [torch.randn(points, outputs, generator=draw, dtype=torch.float64) for _ in range(2)]
    if options.get("loss") == "cross_entropy":
        y = [torch.randint(outputs, (points,), generator=draw) for _ in range(2)]
    probes = (torch.randn(2, features, generator=draw), torch.zeros(2, outputs).double(), 0)
    if options.get("loss") == "cross_entropy":
        probes = (probes[0], torch.zeros(2, dtype=torch.int64), 0)
    return problem(x, y, **{"steps": 8, "gamma0": 0.7, "lr": 0.3, "probes": probes} | options)


def by_torch(asked, width, seed, centred):
    """A parametrized model and torch's SGD: outputs over time, and the same start as a stack."""
    sizes = [asked.inputs.shape[1], *[width] * asked.depth]
    layers = []
    for below, above in pairwise(sizes):
        layers += [nn.Linear(below, above, bias=False), LAYERS[asked.activation.name]()]
    layers.append(nn.Linear(width, asked.heads * asked.outputs, bias=False))
    model = nn.Sequential(*layers).double()
    richness.parametrize(
        model, "mup", gamma0=asked.gamma0, base_width=1, gain=1.0,
        readout_std=int(asked.readout_std), seed=seed, readout=str(len(layers) - 1),
    )  # fmt: skip
    raw = [p.detach().clone() for p in model.parameters()]
    fields = asked.inputs @ raw[0].T / asked.inputs.shape[1] ** 0.5
    start = Stack(fields[None], [w[None] for w in raw[1:-1]], raw[-1][None])
    schedule = asked.schedule
    rows = asked.head[:, None] * asked.outputs + torch.arange(asked.outputs)

    def read():
        return model(asked.inputs).gather(1, rows)

    begun = read().detach() if centred else 0.0
    groups = richness.param_groups(model, "sgd", 1.0, schedule.weight_decay)
    optimizer = torch.optim.SGD(groups, momentum=schedule.momentum)
    seen = []
    for weights, lr in zip(schedule.weights, schedule.lr, strict=True):
        f = read() - begun
        seen.append(f.detach())
        if asked.loss == "mse":
            each = (f - asked.targets).square().sum(1) / 2
        else:
            each = nn.functional.cross_entropy(f, asked.targets, reduction="none")
        for group in optimizer.param_groups:
            group["lr"] = float(lr) * group["factor"]
        optimizer.zero_grad()
        (weights @ each).backward()
        optimizer.step()
    seen.append((read() - begun).detach())
    return torch.stack(seen), start


CASES = {
    "linear": {"phi": "linear"},
    "relu, two layers deep": {"phi": "relu", "depth": 2},
    "tanh, three deep, zero readout, a head each": {
        "phi": "tanh", "depth": 3, "readout_std": 0.0, "heads": "per_task",
    },
    "cross-entropy of three classes": {"loss": "cross_entropy", "outputs": 3, "depth": 2},
    "two outputs, a head each": {"outputs": 2, "heads": "per_task"},
    "minibatches, rates and momentum": {
        "batch_size": 2, "lr": [0.3, 0.1], "momentum": 0.9, "depth": 2,
    },
    "weight decay and momentum": {"weight_decay": 0.1, "momentum": 0.5, "depth": 2},
    "weight decay": {"weight_decay": 0.2},
}  # fmt: skip


@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_it_is_the_model_that_richness_parametrizes_in_absolute_units(case, centred):
    asked = small(**case)
    wanted, starts = zip(*[by_torch(asked, 6, seed, centred) for seed in (0, 1)], strict=True)
    fields, hidden, last = zip(*starts, strict=True)
    stack = Stack(
        torch.cat(fields),
        [torch.cat(w) for w in zip(*hidden, strict=True)],
        torch.cat(last),
    )
    found = train(asked, stack, (0,), centred)
    assert torch.allclose(found.outputs, torch.stack(wanted), rtol=1e-10, atol=1e-10)
    moved = found.outputs[:, -1] - found.outputs[:, 0]
    assert float(moved.abs().max()) > 0.01


def test_kernels_are_means_over_neurons_of_activations_and_of_gradients_by_autograd():
    asked = small(depth=3, phi="tanh", outputs=2, heads="per_task")
    _, start = by_torch(asked, 6, 0, True)
    found = train(asked, start, (0, 8), True)
    raw = [start.fields[0], *[w[0] for w in start.hidden]]
    h = [raw[0].requires_grad_()]
    for weights in raw[1:]:
        h.append(torch.tanh(h[-1]) @ weights.T / 6**0.5)
    width, points, outputs = 6, asked.points, asked.outputs
    for layer in range(3):
        phi = torch.tanh(h[layer]).detach()
        for mu in range(points):
            for nu in range(points):
                by_hand = sum(phi[mu, i] * phi[nu, i] for i in range(width)) / width
                assert found.features[0, layer, 0, mu, 0, nu] == pytest.approx(float(by_hand))
        g = []
        for mu in range(points):
            for c in range(outputs):
                w = start.readouts[0, int(asked.head[mu]) * outputs + c]
                scaled = w @ torch.tanh(h[-1][mu]) / width**0.5
                (grad,) = torch.autograd.grad(scaled, h[layer], retain_graph=True)
                g.append(grad[mu] * width**0.5)
        by_hand = torch.stack(g) @ torch.stack(g).T / width
        assert torch.allclose(found.gradients[0, layer, 0, :, 0], by_hand)


@pytest.mark.parametrize("phi", ["tanh", "linear"])
def test_outputs_move_along_the_tangent_kernel_of_the_time(phi):
    rates = [0.5, 1e-6]  # the first task moves the kernel, the second follows it
    asked = small(depth=2, phi=phi, outputs=2, heads="per_task", lr=rates)
    one = networks(asked, 5, [4], kept=[0, 8]).of(0)
    weights = asked.schedule.weights[8].unsqueeze(1)
    wanted = 1e-6 * one.tangent_kernel(1) @ (weights * one.errors[8]).flatten()
    moved = one.outputs[9] - one.outputs[8]
    assert torch.allclose(moved.flatten(), wanted, rtol=1e-4, atol=1e-12)
    assert not torch.allclose(one.tangent_kernel(0), one.tangent_kernel(1), rtol=0.1)


def test_a_network_is_the_same_in_any_company_and_another_at_any_other_width():
    asked = small(depth=2)
    three, one = networks(asked, 6, 3), networks(asked, 6, [2])
    assert torch.allclose(three.outputs[2], one.outputs[0], rtol=1e-12, atol=0)
    assert torch.allclose(three.features[2], one.features[0], rtol=1e-12, atol=0)
    assert not torch.allclose(three.outputs[0], three.outputs[1], rtol=0.1)
    assert not torch.allclose(networks(asked, 7, 1).outputs[0], three.outputs[0], rtol=0.1)


def test_centred_outputs_start_at_0_and_plain_ones_do_not_unless_readouts_are_0():
    asked = small(depth=2)
    assert bool((networks(asked, 6, 2).outputs[:, 0] == 0).all())
    plain = networks(asked, 6, 2, centred=False)
    assert float(plain.outputs[:, 0].abs().min()) > 0
    still = dataclasses.replace(asked, readout_std=0.0)
    both = [networks(still, 6, 2, centred=c).outputs for c in (True, False)]
    assert bool((both[0] == both[1]).all())


def test_forgetting_is_what_a_loss_has_risen_by_since_its_task_ended():
    asked = small(outputs=2)
    found = networks(asked, 6, 2)
    for seed in range(2):
        f = found.outputs[seed]
        first = [sum((asked.targets[m] - f[t, m]).square().sum() for m in range(3)) / 6
                 for t in (8, 16)]  # fmt: skip
        assert float(found.forgetting[seed, 0]) == pytest.approx(float(first[1] - first[0]))
        assert float(found.forgetting[seed, 1]) == 0
        one = found.of(seed)
        assert torch.equal(one.forgetting, found.forgetting[seed])
        assert one.settings == {"width": 6, "seed": seed, "centred": True}
    assert found.kept == (0, 8, 16)


def test_another_precision_is_kept():
    found = networks(small(depth=2).to(torch.float32), 6, 2)
    assert found.outputs.dtype == found.features.dtype == torch.float32


def test_progress_is_told():
    told = []
    networks(small(), 4, 2, progress=lambda done, of: told.append((done, of)))
    assert told == [(i, 16) for i in range(1, 17)]


@pytest.mark.parametrize(
    ("width", "seeds", "options", "message"),
    [
        (0, 2, {}, "width must be a positive integer, got 0"),
        (-3, 2, {}, "width must be a positive integer, got -3"),
        (4, 0, {}, "seeds must be a positive number of seeds or a list of them, got 0"),
        (4, [0, -1], {}, r"seeds must be .* got \[0, -1\]"),
        (4, [1, 1], {}, r"seeds holds a seed twice: \[1, 1\]"),
        (64, 9, {"memory": 2**18}, r"training at width 64 needs about .* up to \d seeds would fit"),
        (4, 2, {"kept": [17]}, "kept must be times from 0 to 16"),
    ],
)
def test_what_cannot_be_trained_is_refused(width, seeds, options, message):
    with pytest.raises(ValueError, match=message):
        networks(small(), width, seeds, **options)
