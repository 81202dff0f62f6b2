"""An adapted network as the module it is: state, copies, precisions, training, export."""

import copy

import pytest
import torch
import torch.distributed as dist
from adapted_network import adapted, batch, network, train
from perturbed_cases import shake
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from holdfast.methods import halrp


@pytest.mark.parametrize("through", ["memory", "safetensors"])
def test_state_goes_to_a_fresh_model(through, tmp_path):
    model, x = adapted(3), batch()
    model.add("wide", {"5": 6}, outputs=7)
    model.add_free("free", beginning=1)
    shake(nn.ParameterList(p for _, p in model.own("free")))
    model.fold(2)
    state = model.state_dict()
    assert not any("folded" in n for n in state)
    if through == "safetensors":
        save_file(state, tmp_path / "model.safetensors")
        state = load_file(tmp_path / "model.safetensors")
    fresh = halrp.adapt(network(seed=1), heads=["8"]).eval()
    fresh.add("gone", 3)
    fresh.activate("gone")
    fresh.load_state_dict(state)
    assert fresh.tasks == model.tasks
    assert fresh.active is None
    assert not any(p.requires_grad for p in fresh.base_parameters())
    fresh.train().eval().check_base()
    for task in (0, 1, 2, "wide", "free"):
        assert torch.equal(fresh(x, task), model.unfold()(x, task))
    assert fresh.merge("wide")(x).shape == (5, 7)
    with pytest.raises(ValueError, match=r"adapted with conv='flat', this one has 'separable'"):
        halrp.adapt(network(), heads=["8"], conv="separable").load_state_dict(state)


def test_copies_are_independent():
    model, x = adapted(), batch()
    model.fold(1)
    twin, before = copy.deepcopy(model), model(x)
    assert torch.equal(twin(x), before)
    assert torch.equal(twin(x, 0), model(x, 0))
    shake(twin.unfold())
    assert torch.equal(model(x), before)
    assert not torch.equal(twin(x), before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_other_precisions(dtype):
    model, x = adapted(), batch()
    expected = model(x, 1)
    model.to(dtype)
    assert all(p.dtype == dtype for p in model.parameters())
    near = {"rtol": 0, "atol": 1e-4 if dtype == torch.float32 else 0.5}
    assert torch.allclose(model(x.to(dtype), 1).double(), expected, **near)
    assert torch.allclose(model.merge(1)(x.to(dtype)).double(), expected, **near)
    with torch.no_grad():
        model.model[5].base.weight[0, 0] += 1
    with pytest.raises(ValueError, match="base has changed"):
        model.merge(1)
    model.to(torch.float64)  # a cast does not hide it
    with pytest.raises(ValueError, match="base has changed"):
        model.merge(1)


def test_autocast_gives_what_plain_layers_give():
    model, x = adapted().float(), batch().float()
    train(model.double(), 1, steps=1)
    model.float()
    with torch.autocast("cpu", torch.bfloat16):
        own, plain = model(x, 1), model.merge(1)(x)
    assert own.dtype == plain.dtype
    assert torch.allclose(own.float(), model(x, 1), rtol=0.1, atol=0.3)
    with torch.autocast("cpu", torch.bfloat16):
        assert model.model[5].base(x.flatten(1)[:, :16]).dtype == torch.bfloat16
        assert model.activate(1).model[5](x.flatten(1)[:, :16]).dtype == torch.bfloat16


def test_distributed_training_of_one_task(tmp_path):
    """No parameter that is trained goes without a gradient, which the reducer would wait for."""
    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'x'}", rank=0, world_size=1)
    try:
        model, x, y = adapted(), batch(8), torch.arange(8) % 3
        model.train_only(1)
        parallel = DistributedDataParallel(model)
        for _ in range(2):
            model.zero_grad()
            functional.cross_entropy(parallel(x, 1), y).backward()
        found = [p.grad for _, p in model.own(1)]
        functional.cross_entropy(model(x, 1), y).backward()
        assert all(g is not None for g in found)
        assert all(p.grad is None for p in model.base_parameters())
    finally:
        dist.destroy_process_group()


def test_a_task_is_exported_as_a_graph():
    model, x = adapted(), batch()
    graph = torch.export.export(model.activate(1), (x,)).module()
    assert torch.allclose(graph(x), model(x), rtol=0, atol=1e-12)
