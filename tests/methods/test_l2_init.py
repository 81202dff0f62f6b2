from itertools import pairwise
from typing import Any

import pytest
import torch
from tiny_loop import TinyLoop, make_learner, make_stream, same, tensors
from torch import nn

import holdfast
from holdfast import nets
from holdfast.methods import Finetune, L2Init, held_parameters, pull_to_start
from holdfast.nets.redraw import redraw
from holdfast.seeds import derive
from holdfast.streams.stream import Scenario


@pytest.mark.parametrize("strength", [0.1, 3.0])
def test_fixed_point_of_least_squares(strength: float) -> None:
    """theta = (X^T X / n + strength I)^-1 (X^T y / n + strength theta_0)."""
    draws = torch.Generator().manual_seed(0)
    x = torch.randn(30, 4, dtype=torch.float64, generator=draws)
    y = torch.randn(30, 2, dtype=torch.float64, generator=draws)
    model = nn.Linear(4, 2, bias=False).double()
    start = {name: p.detach().clone() for name, p in held_parameters(model).items()}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2)
    for _ in range(500):
        optimizer.zero_grad()
        ((model(x) - y).square().sum(1) / 2).mean().backward()
        pull_to_start(model, start, strength)
        optimizer.step()
    left = x.T @ x / len(x) + strength * torch.eye(4, dtype=torch.float64)
    right = x.T @ y / len(x) + strength * start["weight"].T
    wanted = torch.linalg.solve(left, right).T
    torch.testing.assert_close(model.weight.detach(), wanted, rtol=1e-10, atol=1e-12)


def test_as_a_method_it_has_the_same_fixed_point() -> None:
    stream = make_stream("domain_incremental", tasks=1, regression=True, dtype=torch.float64)
    learner = make_learner(stream)
    learner.backbone = nn.Identity()
    learner.heads.linear = nn.Linear(5, 2).double()
    start = [p.detach().clone() for p in learner.heads.parameters()]
    loop = TinyLoop(L2Init(strength=0.5), learner, stream, epochs=1000)
    loop.batch_size = 1000
    loop.run()
    # The mean over samples of half the squared distance, and the spring's.
    x, y = stream[0].train.x, stream[0].train.y
    rows = torch.cat([x, torch.ones(len(x), 1, dtype=x.dtype)], 1)
    centre = torch.cat([start[0], start[1][:, None]], 1)
    scale = 1e-3  # of the loop's weight decay
    left = rows.T @ rows / len(x) + (0.5 + scale) * torch.eye(6, dtype=x.dtype)
    wanted = torch.linalg.solve(left, rows.T @ y / len(x) + 0.5 * centre.T).T
    found = torch.cat([learner.heads.linear.weight, learner.heads.linear.bias[:, None]], 1)
    torch.testing.assert_close(found.detach(), wanted, rtol=1e-8, atol=1e-9)


def starts_of_tasks(loop: TinyLoop) -> list[dict[str, Any]]:
    """theta_0 in each task, after its first step."""
    steps = (loop.method.state_dict()["start"] for _ in loop.steps() if first_step(loop))
    return list(steps)


def first_step(loop: TinyLoop) -> bool:
    return loop.open and (loop.epoch, loop.step) == (0, 1)


@pytest.mark.parametrize("scenario", ["class_incremental", "task_incremental"])
def test_rows_that_arrive_later_begin_where_they_arrive(scenario: Scenario) -> None:
    stream = make_stream(scenario)
    learner = make_learner(stream, norm=True)
    first = {n: p.detach().clone() for n, p in learner.named_parameters()}
    loop = TinyLoop(L2Init(), learner, stream)
    arrived = starts_of_tasks(loop)
    assert set(arrived[0]) >= {"backbone.0.weight", "backbone.0.bias"}
    assert not any(name.startswith("backbone.1") for name in arrived[0])  # batch norm
    for start in arrived:
        assert torch.equal(start["backbone.0.weight"], first["backbone.0.weight"])
    for older, newer in pairwise(arrived):
        for name, value in older.items():
            assert torch.equal(newer[name][: len(value)], value)
    grown = sum(len(v) for n, v in arrived[2].items() if n.startswith("heads") and v.ndim == 2)
    assert grown == 7


def test_new_rows_are_not_pulled_at_first() -> None:
    stream = make_stream()
    loop = TinyLoop(L2Init(strength=5.0), make_learner(stream), stream).until(1)
    context = loop.begin()
    batch = next(context.source.epoch(7, 0))
    plain = {}
    for method in (Finetune(), loop.method):
        loop.learner.zero_grad()
        loss, logits = method.loss(loop.learner, batch, context)
        assert torch.equal(loss, context.criterion(logits, batch.y))
        loss.backward()
        method.after_backward(loop.learner, batch, context)
        plain[type(method)] = loop.learner.heads.weight.grad.clone()
    assert torch.equal(plain[L2Init][2:], plain[Finetune][2:])
    assert not torch.equal(plain[L2Init][:2], plain[Finetune][:2])


def test_norm_layers_are_held_when_asked() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3), nn.BatchNorm1d(3), nn.GroupNorm(1, 3))
    assert set(held_parameters(model)) == {"0.weight", "0.bias"}
    assert len(held_parameters(model, norms=True)) == 8
    model[0].bias.requires_grad_(False)
    assert set(held_parameters(model)) == {"0.weight"}


def test_redraw_gives_each_task_a_start_of_its_own() -> None:
    stream = make_stream()
    learner = make_learner(stream)
    loop = TinyLoop(L2Init(redraw=True), learner, stream)
    first = learner.backbone[0].weight.detach().clone()
    starts = starts_of_tasks(loop)
    assert torch.equal(starts[0]["backbone.0.weight"], first)
    other = make_learner(stream)
    for i in (0, 1):
        other.accommodate(i, stream[i])
    redraw(other, derive(0, "l2_init", 1))
    assert torch.equal(starts[1]["backbone.0.weight"], other.backbone[0].weight)
    assert torch.equal(starts[1]["heads.weight"], other.heads.weight)
    assert not torch.equal(starts[2]["backbone.0.weight"], starts[1]["backbone.0.weight"])


def test_strength_zero_is_plain_training() -> None:
    stream = make_stream()
    plain = TinyLoop(Finetune(), make_learner(stream), stream).run()
    none = TinyLoop(L2Init(strength=0.0), make_learner(stream), stream).run()
    assert same(tensors(plain), tensors(none))


def test_refuses_what_it_cannot_do() -> None:
    with pytest.raises(ValueError, match=r"strength must be a number of at least 0, got -1\.0"):
        L2Init(strength=-1.0)
    model = nn.Linear(2, 3)
    with pytest.raises(ValueError, match=r"'weight' of shape \(1, 2\), which has shape \(3, 2\)"):
        pull_to_start(model, {"weight": torch.zeros(1, 2)}, 1.0)
    with pytest.raises(ValueError, match=r"'other' .* is no parameter of the model"):
        pull_to_start(model, {"other": torch.zeros(1, 2)}, 1.0)

    class Bare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.flatten(1) * self.scale

    stream = holdfast.streams.permuted(holdfast.digits().subset(per_class=3), tasks=2)
    with pytest.raises(ValueError, match=r"cannot draw new weights for backbone\.0"):
        holdfast.run(stream, nn.Sequential(Bare()), L2Init(redraw=True))
    holdfast.run(stream, nets.mlp(stream.input_shape, hidden=(4,)), L2Init(redraw=True))
