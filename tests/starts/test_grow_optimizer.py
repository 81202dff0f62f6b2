"""After growth an optimizer does to old rows what it would have done to them."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn, optim

from holdfast.starts.grow_optimizer import grow_optimizer
from holdfast.starts.heads import Replacement, linear_head

WIDTH, OLD, NEW = 5, 3, 2

OPTIMIZERS: dict[str, Callable[[Any], optim.Optimizer]] = {
    "sgd": lambda p: optim.SGD(p, lr=0.1),
    "momentum": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.1),
    "adam": lambda p: optim.Adam(p, lr=0.1, weight_decay=0.1),
    "fused adam": lambda p: optim.Adam(p, lr=0.1, fused=True),
    "amsgrad": lambda p: optim.Adam(p, lr=0.1, amsgrad=True),
    "adamw": lambda p: optim.AdamW(p, lr=0.1),
    "nadam": lambda p: optim.NAdam(p, lr=0.1),
    "adamax": lambda p: optim.Adamax(p, lr=0.1),
    "rmsprop": lambda p: optim.RMSprop(p, lr=0.1, momentum=0.9, centered=True),
    "adagrad": lambda p: optim.Adagrad(p, lr=0.1, initial_accumulator_value=0.3),
    "adadelta": lambda p: optim.Adadelta(p, lr=0.1),
    "rprop": lambda p: optim.Rprop(p, lr=0.1),
}


def trained(name: str) -> tuple[nn.Linear, optim.Optimizer]:
    torch.manual_seed(0)
    layer = nn.Linear(WIDTH, OLD)
    optimizer = OPTIMIZERS[name]([{"params": [layer.weight]}, {"params": [layer.bias], "lr": 0.01}])
    for number in range(3):
        step(layer, optimizer, OLD, number)
    return layer, optimizer


def step(layer: nn.Linear, optimizer: optim.Optimizer, rows: int, number: int = 9) -> None:
    """A step with gradients that are the same on the rows there are."""
    draw = torch.Generator().manual_seed(number)
    whole = torch.randn(OLD + NEW, WIDTH + 1, generator=draw)
    layer.weight.grad, layer.bias.grad = whole[:rows, :-1].clone(), whole[:rows, -1].clone()
    optimizer.step()


def grow(layer: nn.Linear) -> tuple[Replacement, ...]:
    row = torch.ones(WIDTH + 1).double()
    return linear_head(layer).write({OLD: row, OLD + 1: row}, {OLD: OLD, OLD + 1: OLD + 1})


def states(optimizer: optim.Optimizer, p: Tensor) -> dict[str, Tensor]:
    return {k: v for k, v in optimizer.state[p].items() if isinstance(v, Tensor) and v.ndim}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_step_on_old_rows_is_that_without_growth(name: str) -> None:
    still, of_still = copy.deepcopy(trained(name))
    layer, optimizer = trained(name)
    grow_optimizer(optimizer, grow(layer))
    assert [g["params"] for g in optimizer.param_groups] == [[layer.weight], [layer.bias]]
    assert optimizer.param_groups[1]["lr"] == 0.01
    for p, old in ((layer.weight, still.weight), (layer.bias, still.bias)):
        for key, value in states(optimizer, p).items():
            assert torch.equal(value[:OLD], of_still.state[old][key])
            assert not value.requires_grad
    for number in range(3, 6):
        step(still, of_still, OLD, number)
        step(layer, optimizer, OLD + NEW, number)
    assert not torch.equal(still.weight, trained(name)[0].weight)
    torch.testing.assert_close(layer.weight[:OLD], still.weight, rtol=0, atol=1e-7)
    torch.testing.assert_close(layer.bias[:OLD], still.bias, rtol=0, atol=1e-7)
    assert not (layer.weight[OLD:] == 1).any()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_new_rows_begin_as_the_optimizer_begins(name: str) -> None:
    layer, optimizer = trained(name)
    grow_optimizer(optimizer, grow(layer))
    first = {"adagrad": {"sum": 0.3}, "rprop": {"step_size": 0.1}}.get(name, {})
    for p in (layer.weight, layer.bias):
        for key, value in states(optimizer, p).items():
            lr = 0.01 if p is layer.bias and key == "step_size" else None
            assert torch.equal(value[OLD:], torch.full_like(value[OLD:], lr or first.get(key, 0)))


def test_filled_spare_rows_lose_their_state() -> None:
    layer, optimizer = trained("adam")
    before = optimizer.state[layer.weight]["exp_avg"].clone()
    head = linear_head(layer, [0, None, 2])
    grow_optimizer(optimizer, head.write({1: torch.ones(WIDTH + 1).double()}, {1: 5}))
    after = optimizer.state[layer.weight]["exp_avg"]
    assert torch.equal(after[[0, 2]], before[[0, 2]])
    assert (after[1] == 0).all()


def test_a_schedule_goes_on() -> None:
    layer, optimizer = trained("momentum")
    schedule = optim.lr_scheduler.StepLR(optimizer, 2, gamma=0.5)
    optimizer.step()
    schedule.step()
    grow_optimizer(optimizer, grow(layer))
    step(layer, optimizer, OLD + NEW)
    schedule.step()
    assert optimizer.param_groups[0]["lr"] == 0.05
    again = OPTIMIZERS["momentum"]([{"params": [layer.weight]}, {"params": [layer.bias]}])
    again.load_state_dict(optimizer.state_dict())


def test_an_optimizer_that_never_stepped_has_no_state_to_grow() -> None:
    layer = nn.Linear(WIDTH, OLD)
    optimizer = optim.Adam(layer.parameters())
    grow_optimizer(optimizer, grow(layer))
    assert len(optimizer.state) == 0
    assert optimizer.param_groups[0]["params"] == [layer.weight, layer.bias]


@pytest.mark.parametrize("build", [optim.Adafactor, optim.LBFGS])
def test_state_without_rows_is_refused_and_nothing_changed(build: Any) -> None:
    layer = nn.Linear(WIDTH, OLD)
    optimizer = build(layer.parameters())

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = layer(torch.ones(2, WIDTH)).square().sum()
        loss.backward()
        return loss

    for _ in range(2):
        optimizer.step(closure)
    held = list(optimizer.param_groups[0]["params"])
    with pytest.raises(ValueError, match=r"keeps '\w+' of shape .* has no rows that could be kept"):
        grow_optimizer(optimizer, grow(layer))
    assert all(a is b for a, b in zip(optimizer.param_groups[0]["params"], held, strict=True))


def test_a_parameter_the_optimizer_does_not_hold_is_refused() -> None:
    layer = nn.Linear(WIDTH, OLD)
    optimizer = optim.SGD([layer.weight], lr=0.1)
    held = layer.weight
    with pytest.raises(ValueError, match=r"does not hold a parameter of shape \(3,\)"):
        grow_optimizer(optimizer, grow(layer))
    assert optimizer.param_groups[0]["params"][0] is held
    other = nn.Parameter(torch.zeros(OLD + 1, WIDTH + 1))
    with pytest.raises(ValueError, match=r"cannot have grown by rows to \(4, 6\)"):
        grow_optimizer(optimizer, [Replacement(held, other, (OLD,))])
