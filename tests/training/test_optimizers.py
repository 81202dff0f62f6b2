"""Optimizers against torch's plain forms, and their state across growth and checkpoints."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop

from holdfast.training.optimizers import (
    build_optimizer,
    carry_state,
    load_optimizer_state,
    optimizer_state,
    trainable,
)
from holdfast.training.options import Training

CASES: dict[str, dict[str, Any]] = {
    "sgd": {"optimizer": "sgd"},
    "sgd_decay": {"optimizer": "sgd", "weight_decay": 0.1},
    "momentum": {"optimizer": "sgd", "momentum": 0.9, "weight_decay": 0.01},
    "adam": {"optimizer": "adam", "weight_decay": 0.1, "betas": (0.8, 0.95)},
    "adamw": {"optimizer": "adamw", "weight_decay": 0.1},
    "adamw_plain": {"optimizer": "adamw"},
    "rmsprop": {"optimizer": "rmsprop", "rms_decay": 0.9, "weight_decay": 0.1},
    "rmsprop_momentum": {"optimizer": "rmsprop", "momentum": 0.9},
}


def plain(parameters: list[nn.Parameter], training: Training) -> Optimizer:
    """What a person would write with torch alone, one parameter at a time."""
    common: dict[str, Any] = {
        "lr": training.lr, "weight_decay": training.weight_decay, "foreach": False, "fused": False,
    }  # fmt: skip
    if training.optimizer == "sgd":
        return SGD(parameters, momentum=training.momentum, **common)
    if training.optimizer == "rmsprop":
        del common["fused"]
        return RMSprop(parameters, alpha=training.rms_decay, momentum=training.momentum, **common)
    kind = Adam if training.optimizer == "adam" else AdamW
    return kind(parameters, betas=training.betas, **common)


def shapes(seed: int = 0) -> dict[str, nn.Parameter]:
    """Parameters of all sorts: matrix, vector, number, channels last, transposed, strided."""
    draws = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=draws)

    return {
        "matrix": nn.Parameter(draw(5, 3)),
        "vector": nn.Parameter(draw(4)),
        "number": nn.Parameter(draw()),
        "image": nn.Parameter(draw(4, 3, 2, 2).to(memory_format=torch.channels_last)),
        "turned": nn.Parameter(draw(3, 6).t()),
        "strided": nn.Parameter(draw(4, 8)[:, ::2]),
        "double": nn.Parameter(draw(7).double()),
    }


def give_gradients(parameters: dict[str, nn.Parameter], step: int, *without: str) -> None:
    draws = torch.Generator().manual_seed(1000 + step)
    for name, p in parameters.items():
        # contiguous whatever the parameter's own strides, as a method may leave them
        gradient = torch.randn(p.shape, generator=draws).to(p.dtype)
        p.grad = None if name in without else gradient


def values(parameters: dict[str, nn.Parameter]) -> list[Tensor]:
    return [p.detach().clone() for p in parameters.values()]


@pytest.mark.parametrize("kinds", [("matrix", "vector", "number"), tuple(shapes())])
@pytest.mark.parametrize("case", CASES)
def test_equals_torch_s_plain_form(case: str, kinds: tuple[str, ...]) -> None:
    training = Training(lr=0.05, **CASES[case])
    ours, theirs = ({k: v for k, v in shapes().items() if k in kinds} for _ in range(2))
    a, b = build_optimizer(ours, training), plain(list(theirs.values()), training)
    for step in range(6):
        # The vector gets its first gradient late, the matrix its last early.
        without = ["vector"] if step < 2 else ["matrix"] if step == 5 else []
        for parameters, optimizer in ((ours, a), (theirs, b)):
            give_gradients(parameters, step, *without)
            optimizer.step()
        for mine, other in zip(values(ours), values(theirs), strict=True):
            torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-6)


def test_trainable_leaves_out_frozen_and_empty_parameters() -> None:
    net = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2))
    net[0].weight.requires_grad_(False)
    net.register_parameter("rows", nn.Parameter(torch.empty(0, 3)))
    assert list(trainable(net)) == ["0.bias", "1.weight", "1.bias"]


def test_nothing_to_train() -> None:
    with pytest.raises(ValueError, match="no parameters that require a gradient"):
        build_optimizer({}, Training())


@pytest.mark.parametrize("case", CASES)
def test_state_survives_in_an_optimizer_made_anew(case: str) -> None:
    """A new optimizer that is given the old one's state goes on as the old one would have."""
    training = Training(lr=0.05, **CASES[case])
    parameters, other = shapes(), shapes()
    old, kept = build_optimizer(parameters, training), build_optimizer(other, training)
    for step in range(3):
        for p, optimizer in ((parameters, old), (other, kept)):
            give_gradients(p, step, "vector")
            optimizer.step()
    new = build_optimizer(parameters, training)
    carry_state(old, list(parameters), new, parameters)
    for step in range(3, 6):
        for p, optimizer in ((parameters, new), (other, kept)):
            give_gradients(p, step)
            optimizer.step()
    for mine, theirs in zip(values(parameters), values(other), strict=True):
        assert torch.equal(mine, theirs)


@pytest.mark.parametrize("case", ["momentum", "adam", "adamw"])
def test_grown_rows_start_with_zero_moments(case: str) -> None:
    training = Training(lr=0.05, **CASES[case])
    before = {"rows": nn.Parameter(torch.ones(2, 3)), "gone": nn.Parameter(torch.ones(2))}
    old = build_optimizer(before, training)
    for step in range(3):
        give_gradients(before, step)
        old.step()
    after = {
        "new": nn.Parameter(torch.ones(4)),
        "rows": nn.Parameter(torch.cat([before["rows"].detach(), torch.ones(3, 3)])),
    }
    new = build_optimizer(after, training)
    carry_state(old, list(before), new, after)
    held = 0
    for key, value in new.state[after["rows"]].items():
        was = old.state[before["rows"]][key]
        if key == "step":
            assert value == was
            continue
        held += 1
        assert torch.equal(value[:2], was)
        assert bool(was.any())
        assert not bool(value[2:].any())
    assert held == (1 if case == "momentum" else 2)
    assert not any(bool(v.any()) for v in new.state[after["new"]].values())
    give_gradients(after, 9)
    new.step()


def test_parameters_of_another_shape_start_anew() -> None:
    training = Training(lr=0.05, optimizer="adam")
    before = {"a": nn.Parameter(torch.ones(2, 3)), "b": nn.Parameter(torch.ones(4))}
    old = build_optimizer(before, training)
    give_gradients(before, 0)
    old.step()
    after = {"a": nn.Parameter(torch.ones(2, 5)), "b": nn.Parameter(torch.ones(3))}
    new = build_optimizer(after, training)
    carry_state(old, list(before), new, after)
    assert not new.state[after["a"]]
    assert not new.state[after["b"]]


@pytest.mark.parametrize("case", CASES)
def test_state_goes_through_a_tree(case: str) -> None:
    training = Training(lr=0.05, **CASES[case])
    parameters, other = shapes(), shapes()
    whole, again = build_optimizer(parameters, training), build_optimizer(other, training)
    for step in range(3):
        give_gradients(parameters, step, "vector")
        whole.step()
    for p, q in zip(parameters.values(), other.values(), strict=True):
        q.data.copy_(p.data)
    names = list(parameters)
    tree = optimizer_state(whole, names)
    assert set(tree) <= set(names)
    # as a checkpoint gives it back
    tree = {
        k: {n: v.clone(memory_format=torch.contiguous_format) if isinstance(v, Tensor) else v
            for n, v in state.items()}
        for k, state in tree.items()
    }  # fmt: skip
    load_optimizer_state(again, names, tree)
    for step in range(3, 6):
        for p, optimizer in ((parameters, whole), (other, again)):
            give_gradients(p, step)
            optimizer.step()
    for mine, theirs in zip(values(parameters), values(other), strict=True):
        assert torch.equal(mine, theirs)
