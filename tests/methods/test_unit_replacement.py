import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from holdfast import nets
from holdfast.methods import ReplaceableUnits
from holdfast.nets.redraw import redraw
from holdfast.nets.scaled import Scaling, scale
from holdfast.seeds import seeded

X = torch.randn(6, 1, 6, 6, generator=torch.Generator().manual_seed(0))
OPTIMIZERS: dict[str, Any] = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
    "adam": lambda p: torch.optim.Adam(p, lr=0.01, amsgrad=True),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.01, momentum=0.5, centered=True),
}


def net() -> nn.Module:
    return nets.cnn((1, 6, 6), channels=(3,), hidden=(5, 4), norm="batch")


def trained(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int = 3) -> None:
    for _ in range(steps):
        optimizer.zero_grad()
        model(X).square().sum().backward()
        optimizer.step()


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_exactly_the_weights_of_the_units_begin_anew(kind: str) -> None:
    model = net()
    optimizer = OPTIMIZERS[kind](model.parameters())
    trained(model, optimizer)
    units = ReplaceableUnits(model, X, seed=4)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    kept = copy.deepcopy(optimizer.state_dict()["state"])
    units.replace({"conv1": torch.tensor([1]), "linear1": torch.tensor([0, 3])}, optimizer)
    changed = {name: torch.zeros_like(v, dtype=torch.bool) for name, v in before.items()}
    for layer, rows in (("conv1", [1]), ("linear1", [0, 3])):
        for own in ("weight", "bias"):
            changed[f"{layer}.{own}"][rows] = True
        for own in ("weight", "bias", "running_mean", "running_var"):
            changed[f"{layer}_norm.{own}"][rows] = True
    changed["linear1.weight"][:, 9:18] = True  # a channel is nine columns
    changed["linear2.weight"][:, [0, 3]] = True
    for name, now in model.state_dict().items():
        where = changed[name]
        assert torch.equal(now[~where], before[name][~where]), name
    assert not model.linear1.weight[:, 9:18].any()  # also where both ends are new
    assert not model.linear2.weight[:, [0, 3]].any()
    for layer, rows in (("conv1_norm", [1]), ("linear1_norm", [0, 3])):
        norm = model.get_submodule(layer)
        assert (norm.weight[rows] == 1).all()
        assert (norm.running_var[rows] == 1).all()
        assert not norm.bias[rows].any()
        assert not norm.running_mean[rows].any()
    state = optimizer.state_dict()["state"]
    for i, (name, _) in enumerate(model.named_parameters()):
        for key, value in state[i].items():
            if isinstance(value, Tensor) and value.ndim:
                assert not value[changed[name]].any(), (name, key)
                assert torch.equal(value[~changed[name]], kept[i][key][~changed[name]])
            else:
                assert value == kept[i][key]


def test_new_rows_are_those_of_fresh_layers_each_given_once() -> None:
    model = net()
    units = ReplaceableUnits(model, X, seed=4)
    given: list[Tensor] = []
    for who in ([0, 1], [2], [1, 0], [3, 4, 2], [2, 0]):
        units.replace({"linear1": torch.tensor(who)}, None)
        given += [row.clone() for row in model.linear1.weight.detach()[who]]
    assert len({tuple(row.tolist()) for row in given}) == 10
    for number in (0, 1):
        fresh = net()
        redraw(fresh.linear1, 4, "unit", "linear1", number)
        assert torch.equal(torch.stack(given[5 * number : 5 * number + 5]), fresh.linear1.weight)


def test_goes_on_from_its_state_and_from_the_seed_alone() -> None:
    made = []
    for stop in (False, True):
        with seeded(1, "test"):
            model = net()
        units = ReplaceableUnits(model, X, seed=4)
        for who in ([0, 1, 2], [4, 3]):
            units.replace({"linear1": torch.tensor(who)}, None)
            torch.rand(3)
            if stop:
                state = units.state_dict()
                units = ReplaceableUnits(model, X, seed=4)
                units.load_state_dict(state)
        made.append(model.state_dict())
    assert all(torch.equal(made[0][k], made[1][k]) for k in made[0])


class Drawn(nn.Module):
    """Draws its layers its own way."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 6), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(torch.relu(self.first(x)))

    def reset_parameters(self) -> None:
        nn.init.normal_(self.first.weight, 50.0)
        nn.init.constant_(self.first.bias, 9.0)
        nn.init.normal_(self.second.weight)


def test_new_weights_are_drawn_as_the_net_draws_its_own() -> None:
    model = Drawn()
    units = ReplaceableUnits(model, torch.zeros(2, 4), seed=0)
    units.replace({"first": torch.tensor([1, 2])}, None)
    assert (model.first.weight[[1, 2]] > 40).all()
    assert (model.first.weight[[0, 3, 4, 5]] < 1).all()
    assert (model.first.bias[[1, 2]] == 9).all()
    units.replace({"first": torch.tensor([1])}, None, biases=False)
    assert model.first.bias[1] == 0
    assert model.first.bias[2] == 9


def test_scaled_layers_get_raw_weights() -> None:
    model = nn.Sequential(nn.Linear(4, 500), nn.ReLU(), nn.Linear(500, 2))
    scale(model[0], 0.01, Scaling("mup", {"weight": "input", "bias": "vector"}, std=3.0))
    units = ReplaceableUnits(model, torch.zeros(2, 4), seed=0)
    units.replace({"0": torch.arange(500)}, None)
    assert float(model[0].weight.detach().std()) == pytest.approx(3.0, rel=0.1)
    assert units.paths[0].readers[0].reads[0].multiplier == 1.0


def test_frozen_layers_are_passed_over() -> None:
    model = net()
    model.linear1.requires_grad_(False)
    units = ReplaceableUnits(model, X, seed=0)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    units.replace({"conv1": torch.tensor([0]), "linear1": torch.tensor([0])}, None)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_refuses_a_state_that_has_no_rows() -> None:
    model = net()
    optimizer = torch.optim.Adafactor(model.parameters())
    trained(model, optimizer, 1)
    units = ReplaceableUnits(model, X, seed=0)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    with pytest.raises(ValueError, match=r"Adafactor keeps 'row_var' of shape .* use SGD, Adam"):
        units.replace({"linear1": torch.tensor([0])}, optimizer)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_refuses_a_network_without_such_units() -> None:
    with pytest.raises(ValueError, match=r"conv1: its output is added to another tensor; .*; \.\."):
        ReplaceableUnits(nets.residual((1, 8, 8), width=2, depth=3), torch.zeros(2, 1, 8, 8), 0)
    with pytest.raises(ValueError, match=r"it has no torch\.nn\.Linear or convolution"):
        ReplaceableUnits(nn.ReLU(), torch.zeros(2, 3), 0)
