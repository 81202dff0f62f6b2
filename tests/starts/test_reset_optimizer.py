from collections.abc import Callable, Iterable

import pytest
import torch
from torch import Tensor, nn
from torch.optim import (
    ASGD,
    LBFGS,
    SGD,
    Adagrad,
    Adam,
    AdamW,
    NAdam,
    Optimizer,
    RMSprop,
    Rprop,
)

from holdfast.starts import reset_optimizer_state

Make = Callable[[Iterable[Tensor]], Optimizer]
OPTIMIZERS: dict[str, Make] = {
    "sgd": lambda p: SGD(p, 0.1),
    "momentum": lambda p: SGD(p, 0.1, momentum=0.9),
    "adam": lambda p: Adam(p, 0.1, amsgrad=True),
    "adamw_fused": lambda p: AdamW(p, 0.1, fused=True),
    "nadam": lambda p: NAdam(p, 0.1),
    "rmsprop": lambda p: RMSprop(p, 0.1, momentum=0.5, centered=True),
    "adagrad": lambda p: Adagrad(p, 0.1, initial_accumulator_value=0.5),
    "rprop": lambda p: Rprop(p, 0.1),
}


def step(optimizer: Optimizer, parameters: list[nn.Parameter], seed: int) -> None:
    draws = torch.Generator().manual_seed(seed)
    for p in parameters:
        p.grad = torch.randn(p.shape, generator=draws, dtype=p.dtype)
    optimizer.step()


def parameters() -> list[nn.Parameter]:
    return [nn.Parameter(torch.ones(3, 2).double()), nn.Parameter(torch.ones(4).double())]


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_steps_are_then_those_of_a_new_optimizer(kind: str) -> None:
    mine, theirs = parameters(), parameters()
    optimizer = OPTIMIZERS[kind](mine)
    for i in range(3):
        step(optimizer, mine, i)
    reset_optimizer_state(optimizer, mine)
    with torch.no_grad():
        for p, q in zip(mine, theirs, strict=True):
            p.copy_(q)
    other = OPTIMIZERS[kind](theirs)
    for i in range(3, 6):
        step(optimizer, mine, i)
        step(other, theirs, i)
    for p, q in zip(mine, theirs, strict=True):
        torch.testing.assert_close(p, q, rtol=1e-12, atol=1e-12)


def test_others_and_other_rows_keep_what_is_remembered() -> None:
    mine = parameters()
    optimizer = Adam(mine)
    step(optimizer, mine, 0)
    kept = {k: v.clone() for k, v in optimizer.state[mine[1]].items()}
    before = optimizer.state[mine[0]]["exp_avg"].clone()
    reset_optimizer_state(optimizer, mine[:1], rows=[2])
    assert all(torch.equal(kept[k], v) for k, v in optimizer.state[mine[1]].items())
    now = optimizer.state[mine[0]]
    assert torch.equal(now["exp_avg"][:2], before[:2])
    assert now["exp_avg"][2].abs().max() == 0
    assert now["step"] == 1


def test_unknown_parameters_have_no_state() -> None:
    mine = parameters()
    optimizer = Adam(mine)
    reset_optimizer_state(optimizer, [nn.Parameter(torch.ones(2))])
    reset_optimizer_state(optimizer, mine)


@pytest.mark.parametrize("make", [lambda p: ASGD(p, 0.1), LBFGS])
def test_state_of_unknown_first_value_is_refused(make: Make) -> None:
    mine = parameters()
    optimizer = make(mine)

    def closure() -> float:
        optimizer.zero_grad()
        loss = sum((p**2).sum() for p in mine)
        loss.backward()
        return float(loss.detach())

    optimizer.step(closure)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="make a new optimizer"):
        reset_optimizer_state(optimizer, mine)
