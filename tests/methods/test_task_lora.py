from typing import get_args

import pytest
import torch
from tiny_loop import TinyLoop, make_learner, make_stream, same, tensors
from torch import nn

from holdfast.methods import TaskLoRA
from holdfast.methods.halrp import Adapted, ConvMode
from holdfast.nets.heads import TaskHeads
from holdfast.nets.learner import Learner


def with_task(net: nn.Module, **options) -> Adapted:
    learner, stream = Learner(net, TaskHeads(4)), make_stream("task_incremental")
    learner.accommodate(0, stream[0])
    method = TaskLoRA(base="pretrained", **options)
    method.check(learner, stream)
    method._course.begin(learner, 0, seed=3)
    assert isinstance(learner.backbone, Adapted)
    return learner.backbone


@torch.no_grad()
@pytest.mark.parametrize("scale", [1.0, 2.5])
def test_computes_the_formula(scale: float) -> None:
    """W_0 + scale U V, of linear layers and kernels as (out) x (in kh kw)."""
    draws = torch.Generator().manual_seed(0)
    for layer, shape in ((nn.Linear(5, 4), (7, 5)), (nn.Conv2d(3, 4, 3), (7, 3, 6, 6))):
        backbone = with_task(nn.Sequential(layer).double(), rank=2, scale=scale)
        own = backbone.model[0].tasks["0"]
        for p in own.parameters():
            p.copy_(torch.randn(p.shape, generator=draws, dtype=p.dtype))
        x = torch.randn(shape, generator=draws, dtype=torch.float64)
        wanted = backbone.merge(None)
        change = torch.zeros(4, own.V.shape[1], dtype=torch.float64)
        for k in range(2):
            change += scale * torch.outer(own.U[:, k], own.V[k])
        wanted[0].weight += change.reshape(layer.weight.shape)
        wanted[0].bias.copy_(own.bias)
        torch.testing.assert_close(backbone(x, 0), wanted(x), rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(backbone.merge(0)(x), wanted(x), rtol=1e-12, atol=1e-12)
        folded = backbone.fold(0)(x)
        torch.testing.assert_close(folded, wanted(x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("conv", get_args(ConvMode))
def test_ranks_as_asked_or_as_large_as_can_be(conv: ConvMode) -> None:
    net = nn.Sequential(nn.Conv2d(2, 16, 3, padding=1), nn.Flatten(), nn.Linear(144, 2))
    backbone = with_task(net, rank=4, conv=conv)
    kernel, linear = (backbone.model[i].tasks["0"] for i in (0, 2))
    rows, columns = {"constant": (16, 2), "flat": (16, 18), "separable": (48, 6)}[conv]
    rank = min(4, rows, columns)
    assert kernel.U.shape == (rows, rank)
    assert kernel.V.shape == (rank, columns)
    assert linear.rank == 2
    assert not kernel.U.any()
    bound = columns**-0.5
    assert 0.5 * bound < kernel.V.abs().max() < bound


def test_the_draw_is_that_of_the_seed_and_the_task() -> None:
    stream = make_stream("task_incremental")

    def drawn(seed: int, epochs: int = 1) -> list[torch.Tensor]:
        state = torch.get_rng_state()
        loop = TinyLoop(TaskLoRA(rank=2), make_learner(stream), stream, epochs, seed)
        found = []
        for i in (1, 2):
            loop.until(i).begin()
            found.append(loop.learner.backbone.model[0].tasks[str(i)].V.detach().clone())
        assert torch.equal(state, torch.get_rng_state())
        return found

    first, again, other = drawn(0), drawn(0, epochs=2), drawn(1)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first[0], other[0])


def test_scale_is_a_learning_rate_under_sgd() -> None:
    """c U V with V drawn as v is, step by step, U V with sqrt(c) v and c times the rate."""
    stream = make_stream("task_incremental", tasks=2, dtype=torch.float64)
    weights = []
    for scale in (1.0, 4.0):
        method = TaskLoRA(rank=2, scale=scale, biases=False)
        loop = TinyLoop(method, make_learner(stream), stream).until(1)
        loop.begin()
        own = loop.learner.backbone.model[0].tasks["1"]
        low = [own.U, own.V]
        rest = [p for n, p in loop.learner.named_parameters() if n[-1] not in "UV"]
        rest = [p for p in rest if p.requires_grad]
        if scale == 1:
            own.V.data *= 2
        factor = 4 if scale == 1 else 1
        loop.optimizer = torch.optim.SGD(
            [{"params": low, "lr": 0.05 * factor}, {"params": rest, "lr": 0.05}]
        )
        loop.until(2)
        weights.append(loop.learner.backbone.merge(1)[0].weight)
    torch.testing.assert_close(weights[0], weights[1], rtol=1e-10, atol=1e-12)


def test_full_rank_can_become_anything() -> None:
    backbone = with_task(nn.Sequential(nn.Linear(3, 4, bias=False)).double(), rank=99)
    own = backbone.model[0].tasks["0"]
    wanted = torch.randn(4, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    with torch.no_grad():
        change = wanted - backbone.model[0].base_weight
        own.V.copy_(torch.eye(3))
        own.U.copy_(change)
    torch.testing.assert_close(backbone.merge(0)[0].weight.data, wanted)


def test_a_state_brings_ranks_and_scale_along() -> None:
    stream = make_stream("task_incremental")
    learner = TinyLoop(TaskLoRA(rank=3, scale=2.0), make_learner(stream), stream).run().eval()
    other = Learner(Adapted(make_learner(stream).backbone, base_task=0), TaskHeads(8))
    other.load_state_dict(tensors(learner))
    assert same(tensors(other), tensors(learner))
    x = stream[1].test.x
    assert torch.equal(other.eval()(x, 1), learner(x, 1))


def test_refusals() -> None:
    for options, match in (
        ({"rank": 0}, "rank must be a positive integer, got 0"),
        ({"scale": 0.0}, r"scale must be a number above 0, got 0\.0"),
    ):
        with pytest.raises(ValueError, match=match):
            TaskLoRA(**options)
