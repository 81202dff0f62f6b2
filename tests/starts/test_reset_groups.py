import copy
from dataclasses import replace

import pytest
import torch
from plastic_nets import NETS, learner, nested, small
from torch import nn

from holdfast import nets
from holdfast.nets import TaskHeads, groups
from holdfast.starts import ResetGroups, reset_groups_


def mlp() -> nn.Module:
    return nets.mlp((3,), (4, 4, 4), norm="batch")


def test_the_last_groups_alone_are_drawn_with_their_statistics() -> None:
    one = mlp()
    one(torch.randn(6, 3) + 3)
    before = copy.deepcopy(one.state_dict())
    chosen = reset_groups_(one, 2, seed=1)
    assert [g.name for g in chosen] == ["linear2", "linear3"]
    now = one.state_dict()
    for key in now:
        if key[-8:-7] == "1" or key.startswith(("linear1", "norm1")):
            assert torch.equal(now[key], before[key]), key
    for layer in ("linear2", "linear3"):
        assert not (now[f"{layer}.weight"] == before[f"{layer}.weight"]).any()
        assert now[f"{layer}.weight"].abs().max() <= 0.5  # as torch.nn.Linear draws
    for norm in ("norm2", "norm3"):
        assert now[f"{norm}.running_mean"].abs().max() == 0
        assert now[f"{norm}.num_batches_tracked"] == 0


def test_draws_depend_on_the_seed_and_not_on_the_other_groups() -> None:
    a, b, c = mlp(), mlp(), mlp()
    state = torch.get_rng_state()
    reset_groups_(a, 1, seed=2)
    reset_groups_(b, 3, seed=2)
    reset_groups_(c, 1, seed=3)
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(a.linear3.weight, b.linear3.weight)
    assert not torch.equal(a.linear3.weight, c.linear3.weight)


@pytest.mark.parametrize("name", NETS)
def test_every_architecture(name: str) -> None:
    one, x = small(name)
    found = groups(one)
    before = copy.deepcopy(one.state_dict())
    start = ResetGroups(k=2)
    context = replace(nested(), index=1)
    start.check(one, context.stream)
    assert start.prepare(one, context) == {"reset": [g.name for g in found[-2:]]}
    drawn = {n for g in found[-2:] for n in g.parameters if one.get_parameter(n).requires_grad}
    for key, p in one.named_parameters():
        assert torch.equal(p, before[key]) == (key not in drawn or _constant(key, before[key])), key
    assert bool(one(x).isfinite().all())


def _constant(name: str, before: torch.Tensor) -> bool:
    """Gains, and biases that begin at zero, are drawn to what they were."""
    return bool((before == before.flatten()[0]).all()) and before.numel() > 1


def test_all_groups_are_a_fresh_start() -> None:
    one, two = mlp(), mlp()
    with torch.no_grad():
        for p in two.parameters():
            p.mul_(3)
    two(torch.randn(6, 3))
    reset_groups_(one, 3, seed=1)
    reset_groups_(two, 3, seed=1)
    assert all(torch.equal(one.state_dict()[k], v) for k, v in two.state_dict().items())


def test_by_name_and_with_the_users_optimizer() -> None:
    one = mlp()
    optimizer = torch.optim.SGD(one.parameters(), 0.1, momentum=0.9)
    one(torch.randn(6, 3)).square().sum().backward()
    optimizer.step()
    reset_groups_(one, names=["linear2"], optimizer=optimizer)
    buffers = {n: optimizer.state[p]["momentum_buffer"] for n, p in one.named_parameters()}
    assert buffers["linear2.weight"].abs().max() == 0
    assert buffers["norm2.weight"].abs().max() == 0
    assert buffers["linear1.weight"].abs().max() > 0


def test_a_layer_that_cannot_be_drawn_matters_only_where_it_is_drawn() -> None:
    bare = nn.Module()
    bare.gain = nn.Parameter(torch.ones(3))
    net = nn.Sequential(bare, nn.Linear(3, 3))
    reset_groups_(net, 1)
    with pytest.raises(ValueError, match=r"cannot draw new weights for the module \(Module\)"):
        reset_groups_(net, 2)


def test_frozen_parameters_stay() -> None:
    one = mlp()
    one.linear3.bias.requires_grad_(False)
    bias, weight = one.linear3.bias.clone(), one.linear3.weight.clone()
    reset_groups_(one, 1)
    assert torch.equal(one.linear3.bias, bias)
    assert not torch.equal(one.linear3.weight, weight)


def test_a_head_a_task_is_a_group_before_there_is_one() -> None:
    one = nets.Learner(nets.mlp((3,), (4,)), TaskHeads(4))
    ResetGroups(k=2).check(one, nested().stream)
    ResetGroups(names=["head"]).check(one, nested().stream)
    assert one.heads.tasks == []


def test_refusals() -> None:
    one = learner(nets.mlp((3,), (4, 4)), shape=(3,))
    stream = nested().stream
    with pytest.raises(ValueError, match="give one of k and names"):
        ResetGroups()
    with pytest.raises(ValueError, match="give one of k and names"):
        reset_groups_(one, 1, names=["head"])
    with pytest.raises(ValueError, match="k must be a positive integer, got 0"):
        ResetGroups(k=0)
    with pytest.raises(ValueError, match="names must be a list"):
        ResetGroups(names="head")
    with pytest.raises(ValueError, match=r"from 1 to 3.*linear1, linear2, head"):
        ResetGroups(k=4).check(one, stream)
    with pytest.raises(ValueError, match=r"'stage4'.*linear1, linear2, head"):
        ResetGroups(names=["stage4"]).check(one, stream)
