import copy
import inspect
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from plastic_nets import NETS, learner, nested, small
from torch import nn

from holdfast import nets
from holdfast.nets.redraw import redraw
from holdfast.starts import ShrinkPerturb, shrink_perturb_


def net(seed: int = 0) -> nn.Module:
    return nets.mlp((3,), (4, 4), norm="batch", seed=seed).double()


@settings(max_examples=20, deadline=None)
@given(st.floats(0, 2), st.floats(0, 2))
def test_each_parameter_is_the_mixture(shrink: float, perturb: float) -> None:
    one, fresh = net(0), net(1)
    old, new = dict(copy.deepcopy(one).named_parameters()), dict(fresh.named_parameters())
    shrink_perturb_(one, fresh, shrink, perturb)
    for name, p in one.named_parameters():
        expected = shrink * old[name] + perturb * new[name]
        torch.testing.assert_close(p, expected, rtol=1e-12, atol=1e-12)


def test_published_defaults_and_ends() -> None:
    one, fresh = net(0), net(1)
    old = copy.deepcopy(one)
    shrink_perturb_(one, fresh)
    expected = 0.4 * old.linear1.weight + 0.1 * fresh.linear1.weight
    torch.testing.assert_close(one.linear1.weight, expected)
    torch.testing.assert_close(one.norm1.weight, torch.full((4,), 0.5).double())
    one = copy.deepcopy(old)
    shrink_perturb_(one, fresh, 1.0, 0.0)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), old.parameters(), strict=True))
    shrink_perturb_(one, fresh, 0.0, 1.0)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), fresh.parameters(), strict=True))


def test_norm_layers() -> None:
    one, fresh = net(0), net(1)
    one(torch.randn(8, 3).double() + 4)
    one.linear2.requires_grad_(False)
    one.norm2.requires_grad_(False)
    old = copy.deepcopy(one.state_dict())
    shrink_perturb_(one, fresh, norms="keep")
    now = one.state_dict()
    # Frozen layers stay, their statistics too; those of others begin anew.
    assert all(torch.equal(now[k], old[k]) for k in now if k.startswith(("linear2", "norm2")))
    assert now["norm1.running_mean"].abs().max() == 0
    assert torch.equal(now["norm1.running_var"], torch.ones(4).double())
    assert now["norm1.num_batches_tracked"] == 0
    assert torch.equal(now["norm1.weight"], old["norm1.weight"])


@pytest.mark.parametrize("name", NETS)
def test_every_architecture(name: str) -> None:
    one, x = small(name)
    frozen = {k: p.clone() for k, p in one.named_parameters() if not p.requires_grad}
    context = replace(nested(), index=1)
    fresh = copy.deepcopy(one)
    redraw(fresh, context.seed, "shrink_perturb", 1)
    old = {k: p.clone() for k, p in one.named_parameters() if p.requires_grad}
    start = ShrinkPerturb(0.5, 0.25)
    start.check(one, context.stream)
    start.prepare(one, context)
    for key, before in old.items():
        mixed = 0.5 * before + 0.25 * fresh.get_parameter(key)
        torch.testing.assert_close(one.get_parameter(key).detach(), mixed.detach())
    assert all(torch.equal(one.get_parameter(k), p) for k, p in frozen.items())
    assert all(p.is_leaf for p in one.parameters())
    assert bool(one(x).isfinite().all())


def test_the_first_task_begins_as_drawn() -> None:
    one = learner(nets.mlp((3,), (4,)), shape=(3,))
    before = copy.deepcopy(one.state_dict())
    ShrinkPerturb().prepare(one, nested(index=0))
    assert all(torch.equal(before[k], v) for k, v in one.state_dict().items())


def test_an_optimizer_that_is_carried_on_forgets() -> None:
    one = learner(nets.mlp((3,), (4,)), shape=(3,))
    optimizer = torch.optim.Adam(one.parameters())
    one(torch.randn(5, 3)).sum().backward()
    optimizer.step()
    ShrinkPerturb().prepare(one, replace(nested(), optimizer=lambda: optimizer))
    for p in one.parameters():
        assert all(float(v.abs().max()) == 0 for v in optimizer.state[p].values())


def test_refusals() -> None:
    one = net()
    before = copy.deepcopy(one.state_dict())
    with pytest.raises(ValueError, match=r"shrink must be a number of at least 0, got -0\.1"):
        ShrinkPerturb(shrink=-0.1)
    with pytest.raises(TypeError, match="perturb"):
        shrink_perturb_(one, net(1), perturb="a")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="norms must be one of"):
        inspect.unwrap(ShrinkPerturb.__init__)(object.__new__(ShrinkPerturb), norms="drop")
    other = nets.mlp((3,), (4, 5), norm="batch")
    with pytest.raises(ValueError, match=r"model has linear2.weight of shape \(4, 4\)"):
        shrink_perturb_(one, other)
    assert all(torch.equal(before[k], v) for k, v in one.state_dict().items())
    unknown = learner(nets.mlp((3,), (4,)), shape=(3,))
    unknown.backbone.scale = nn.Module()
    unknown.backbone.scale.gain = nn.Parameter(torch.ones(2))
    with pytest.raises(ValueError, match=r"cannot draw new weights for backbone.scale"):
        ShrinkPerturb().check(unknown, nested().stream)
