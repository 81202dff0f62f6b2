import pytest
import torch
from tiny_loop import TinyLoop, make_learner, make_stream
from torch import Tensor, nn
from torch.nn import functional

from holdfast.methods import BatchEnsemble
from holdfast.nets.heads import TaskHeads
from holdfast.nets.learner import Learner


@torch.no_grad()
def test_computes_the_formula() -> None:
    """y = r * (W_0 (s * x)) + b, linear, convolution and grouped convolution; also in training."""
    draws = torch.Generator().manual_seed(0)
    layers = [
        (nn.Linear(5, 4), (7, 5), functional.linear, {}),
        (nn.Conv2d(3, 4, 3, stride=2), (7, 3, 6, 6), functional.conv2d, {"stride": 2}),
        (nn.Conv1d(4, 6, 2, groups=2), (7, 4, 5), functional.conv1d, {"groups": 2}),
    ]  # fmt: skip
    for layer, shape, apply, options in layers:
        net = nn.Sequential(layer).double()
        learner = Learner(net, TaskHeads(4))
        stream = make_stream("task_incremental")
        learner.accommodate(0, stream[0])
        method = BatchEnsemble(base="pretrained")
        method.check(learner, stream)
        method._course.begin(learner, 0, seed=0)
        own = learner.backbone.model[0].tasks["0"]
        for p in own.parameters():
            p.copy_(torch.randn(p.shape, generator=draws, dtype=p.dtype))
        x = torch.randn(shape, generator=draws, dtype=torch.float64)

        def along(v: Tensor, x: Tensor = x) -> Tensor:
            return v.reshape(1, -1, *[1] * (x.ndim - 2))

        wanted = apply(x * along(own.s), layer.weight, None, **options) * along(own.r)
        torch.testing.assert_close(
            learner.backbone(x, 0), wanted + along(own.bias), rtol=1e-12, atol=1e-12
        )


@pytest.mark.parametrize("norm", [False, True])
def test_fits_tasks_that_a_frozen_net_with_a_new_head_does_not(norm: bool) -> None:
    stream = make_stream("task_incremental", rows=60)

    def last_loss(vectors: bool) -> float:
        learner = make_learner(stream, norm=norm)
        loop = TinyLoop(BatchEnsemble(), learner, stream, epochs=30).until(2)
        loop.begin()
        if not vectors:
            loop.learner.backbone.requires_grad_(False)
            loop.make_optimizer()
        learner, task = loop.run().eval(), stream[2].train
        y = learner.columns(task.y, 2)
        return float(functional.cross_entropy(learner(task.x, 2), y).detach())

    assert last_loss(True) < last_loss(False)
