import copy

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from holdfast.nets.redraw import check_redrawable, fresh_parameters, redraw
from holdfast.seeds import seeded


def net() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 8), nn.LayerNorm(8)
    )


class Bare(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))


class Own(nn.Module):
    """Draws its inner layer its own way."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 4)
        self.bare = Bare()
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.normal_(self.inner.weight)
        nn.init.constant_(self.bare.scale, 7.0)


def test_equals_a_newly_made_module_of_the_same_draws() -> None:
    module = net()
    redraw(module, 3, "fresh", 1)
    with seeded(3, "fresh", 1):
        fresh = [nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Linear(16, 8), nn.LayerNorm(8)]
    drawn = [layer for layer in module if not isinstance(layer, nn.Flatten)]
    for a, b in zip(drawn, fresh, strict=True):
        assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))


def test_depends_on_seed_and_purpose_alone() -> None:
    a, b, c = net(), net(), net()
    b(torch.randn(5, 1, 4, 4))  # running statistics moved
    redraw(a, 0, "x")
    state = torch.random.get_rng_state()
    redraw(b, 0, "x")
    assert torch.equal(state, torch.random.get_rng_state())
    redraw(c, 0, "y")
    first, second = a.state_dict(), b.state_dict()
    assert all(torch.equal(first[k], second[k]) for k in first)
    assert not torch.equal(first["0.weight"], c.state_dict()["0.weight"])


def test_a_modules_own_reset_has_the_last_word() -> None:
    module = Own()
    with torch.no_grad():
        module.bare.scale.zero_()
    redraw(module, 0)
    assert torch.equal(module.bare.scale, torch.full((3,), 7.0))
    assert module.inner.weight.abs().max() > 0.5  # nn.Linear's own draw stays within 0.5


def test_attention_is_redrawn_whole() -> None:
    module = nn.MultiheadAttention(4, 2)
    before = copy.deepcopy(module.state_dict())
    redraw(module, 1)
    weights = [k for k in before if k.endswith("weight")]
    assert weights
    assert all(not torch.equal(before[k], module.state_dict()[k]) for k in weights)


def test_frozen_submodules_are_left_alone() -> None:
    module = nn.Sequential(net(), Bare(), net())
    module[0].requires_grad_(False)
    module[1].requires_grad_(False)  # could not be redrawn
    module[0](torch.randn(5, 1, 4, 4))
    before = copy.deepcopy(module.state_dict())
    redraw(module, 1)
    after = module.state_dict()
    assert all(torch.equal(before[k], after[k]) for k in before if k[0] in "01")
    assert not torch.equal(before["2.0.weight"], after["2.0.weight"])


@pytest.mark.parametrize(
    ("module", "named"),
    [
        (nn.Sequential(nn.Linear(2, 2), Bare()), r"1 \(Bare\)"),
        (Bare(), r"the module \(Bare\)"),
        (nn.Sequential(weight_norm(nn.Linear(2, 2))), r"0 \(ParametrizedLinear\)"),
    ],
)
def test_refuses_what_it_cannot_draw(module: nn.Module, named: str) -> None:
    before = copy.deepcopy(module.state_dict())
    with pytest.raises(ValueError, match=named):
        check_redrawable(module)
    with pytest.raises(ValueError, match=named):
        redraw(module, 0)
    assert all(torch.equal(before[k], v) for k, v in module.state_dict().items())


@pytest.mark.parametrize("name", ["inner", "bare"])
def test_fresh_parameters_are_those_of_redraw_and_change_nothing(name: str) -> None:
    module = nn.Sequential(Own(), nn.BatchNorm1d(4))
    state = copy.deepcopy(module.state_dict())
    draws = torch.get_rng_state()
    part = f"0.{name}"
    fresh = fresh_parameters(module, part, 3, "unit", 1)
    assert torch.equal(torch.get_rng_state(), draws)
    assert all(torch.equal(v, state[k]) for k, v in module.state_dict().items())
    redraw(module[0], 3, "unit", 1)  # the outermost that says how it draws
    for key, value in module.get_submodule(part).named_parameters(recurse=False):
        assert torch.equal(fresh[key], value)


def test_fresh_parameters_refuses_what_nothing_draws() -> None:
    with pytest.raises(ValueError, match="cannot draw new weights for the module"):
        fresh_parameters(nn.Sequential(Bare()), "0", 0)
