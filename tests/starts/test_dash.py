import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from plastic_nets import NETS, learner, nested, small
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils.parametrizations import weight_norm

from holdfast import nets
from holdfast.starts import Dash, dash_

Pair = tuple[Tensor, Tensor]


def net() -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 4)]
    return nn.Sequential(*layers).double()


def chunks(count: int = 3) -> list[Pair]:
    draws = torch.Generator().manual_seed(1)
    return [
        (torch.randn(5, 2, 4, 4, generator=draws).double(), torch.arange(5) % 4)
        for _ in range(count)
    ]


def loss(model: nn.Module, batch: Pair) -> Tensor:
    return cross_entropy(model(batch[0]), batch[1])


def naive(model: nn.Module, batches: list[Pair], alpha: float, floor: float) -> dict[str, Tensor]:
    """Row by row and kernel by kernel, with the average written out."""
    model = copy.deepcopy(model).eval()
    gradients = []
    for batch in batches:
        model.zero_grad()
        loss(model, batch).backward()
        gradients.append({n: p.grad.numpy().copy() for n, p in model.named_parameters()})
    weights = [alpha * (1 - alpha) ** (len(batches) - 1 - k) for k in range(len(batches))]
    out = {n: p.detach().clone() for n, p in model.named_parameters()}
    for name in ("0.weight", "4.weight"):
        w = out[name].numpy()
        d = -sum(c * g[name] for c, g in zip(weights, gradients, strict=True))
        places = np.ndindex(w.shape[:2] if w.ndim == 4 else w.shape[:1])
        for at in places:
            a, b = w[at].ravel(), d[at].ravel()
            cosine = a @ b / (np.linalg.norm(a) * np.linalg.norm(b))
            w[at] *= min(max(cosine, floor), 1.0)
    return out


@pytest.mark.parametrize(("alpha", "floor"), [(0.3, 0.3), (1.0, 0.0), (0.7, 0.1)])
def test_matches_the_definition(alpha: float, floor: float) -> None:
    one = net()
    expected = naive(one, chunks(), alpha, floor)
    dash_(one, chunks(), loss, alpha=alpha, floor=floor)
    for name, p in one.named_parameters():
        torch.testing.assert_close(p.detach(), expected[name], rtol=1e-10, atol=1e-12)


def test_rows_are_scaled_and_nothing_else_happens() -> None:
    one = net()
    one.train()
    one[4].weight.grad = torch.ones_like(one[4].weight)
    before = copy.deepcopy(one.state_dict())
    factors = dash_(one, chunks(), loss)
    assert {name: tuple(f.shape) for name, f in factors.items()} == {
        "0.weight": (3, 2), "4.weight": (4,),
    }  # fmt: skip
    for name, own in factors.items():
        assert own.min() >= 0.3
        assert own.max() <= 1.0
        spread = own.view(*own.shape, *[1] * (before[name].ndim - own.ndim))
        torch.testing.assert_close(one.state_dict()[name], before[name] * spread)
    rest = [k for k in before if k not in factors]
    assert all(torch.equal(one.state_dict()[k], before[k]) for k in rest)
    assert one.training
    assert bool((one[4].weight.grad == 1).all())


def test_only_the_direction_of_the_gradient_counts() -> None:
    one, two = net(), net()
    first = dash_(one, chunks(), loss)
    second = dash_(two, chunks(), lambda m, b: 1e-12 * loss(m, b))
    for name in first:
        torch.testing.assert_close(first[name], second[name], rtol=1e-8, atol=1e-12)


def test_what_points_along_the_descent_stays_and_dead_rows_go_to_the_floor() -> None:
    layer = nn.Linear(3, 3, bias=False).double()
    layer.weight.data = torch.tensor([[1.0, 2, 2], [-1, -2, -2], [2, -1, 0]]).double()
    descent = torch.tensor([[1.0, 2, 2], [1, 2, 2], [0, 0, 0]]).double()
    factors = dash_(layer, [descent], lambda m, d: -(m.weight * d).sum(), floor=0.25)
    assert factors["weight"].tolist() == pytest.approx([1.0, 0.25, 0.25])


def test_biases_as_one_vector() -> None:
    layer = nn.Linear(1, 2).double()
    layer.bias.data = torch.tensor([3.0, 4.0]).double()
    factors = dash_(layer, [torch.ones(1, 1).double()], lambda m, x: -m(x)[0, 0], biases=True)
    assert factors["bias"].tolist() == pytest.approx([0.6])
    assert layer.bias.tolist() == pytest.approx([1.8, 2.4])


@pytest.mark.parametrize("name", NETS)
def test_every_architecture(name: str) -> None:
    one, x = small(name)
    before = {n: p.clone() for n, p in one.named_parameters()}
    factors = dash_(one, [x[:2], x[2:]], lambda m, b: m(b).logsumexp(1).mean())
    assert factors
    assert "heads.weight" in factors
    for key, p in one.named_parameters():
        if key in factors:
            size = before[key].flatten(min(p.ndim - 1, 2)).norm(dim=-1) * factors[key]
            torch.testing.assert_close(p.flatten(min(p.ndim - 1, 2)).norm(dim=-1), size)
        else:
            assert torch.equal(p, before[key])
    assert bool(one(x).isfinite().all())


def test_in_a_run_a_batch_of_each_chunk_in_order() -> None:
    context = nested((4, 10, 12))
    one = learner(nets.mlp((3,), (4,)), shape=(3,))
    two = copy.deepcopy(one)
    done = Dash().prepare(one, context)
    x, y = context.task.train.x, context.task.train.y
    pieces = [(x[a:b], y[a:b]) for a, b in ((0, 4), (4, 10), (10, 12))]
    factors = dash_(two, pieces, loss)
    every = torch.cat([f.flatten() for f in factors.values()])
    assert done == {
        "chunks": 3,
        "samples": 12,
        "factor": pytest.approx(every.mean().item()),
        "at_floor": pytest.approx((every <= 0.3).float().mean().item()),
    }
    for a, b in zip(one.parameters(), two.parameters(), strict=True):
        torch.testing.assert_close(a, b)
    assert Dash().prepare(one, nested(index=0)) is None
    few = Dash(samples=3).prepare(one, context)
    assert few is not None
    assert few["samples"] == 8


def test_an_optimizer_that_is_carried_on_forgets_what_was_scaled() -> None:
    one = learner(nets.mlp((3,), (4,)), shape=(3,))
    optimizer = torch.optim.Adam(one.parameters())
    one(torch.randn(5, 3)).sum().backward()
    optimizer.step()
    Dash().prepare(one, replace(nested(), optimizer=lambda: optimizer))
    state = {n: optimizer.state[p]["step"].item() for n, p in one.named_parameters()}
    assert state == {
        "backbone.linear1.weight": 0, "backbone.linear1.bias": 1,
        "heads.weight": 0, "heads.bias": 1,
    }  # fmt: skip


def test_refusals() -> None:
    one = net()
    before = copy.deepcopy(one.state_dict())
    for name, options in (
        ("alpha must be a number of at least 0 and at most 1", {"alpha": 1.5}),
        ("alpha must be above 0", {"alpha": 0.0}),
        ("floor must be a number", {"floor": -0.1}),
    ):
        with pytest.raises(ValueError, match=name):
            Dash(**options)
        with pytest.raises(ValueError, match=name):
            dash_(one, chunks(), loss, **options)
    with pytest.raises(ValueError, match="samples must be a positive integer"):
        Dash(samples=0)
    with pytest.raises(ValueError, match="batches is empty"):
        dash_(one, [], loss)
    with pytest.raises(ValueError, match="for batch 2 it gave nan"):
        dash_(one, chunks(), _bad_second())
    with pytest.raises(ValueError, match=r"finite scalar.*\(5, 4\)"):
        dash_(one, chunks(), lambda m, b: m(b[0]))
    assert all(torch.equal(before[k], v) for k, v in one.state_dict().items())
    with pytest.raises(ValueError, match="must have a linear layer or a convolution"):
        dash_(nn.BatchNorm1d(3), chunks(), loss)
    with pytest.raises(ValueError, match="cannot shrink 1: a parametrization"):
        dash_(nn.Sequential(nn.Linear(2, 2), weight_norm(nn.Linear(2, 2))), chunks(), loss)


def _bad_second():
    calls = []

    def failing(model: nn.Module, batch: Pair) -> Tensor:
        calls.append(0)
        return loss(model, batch) * (float("nan") if len(calls) == 2 else 1.0)

    return failing
