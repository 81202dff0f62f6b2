import pytest
import torch
from tiny_loop import TinyLoop, make_learner, make_stream
from torch import nn

from holdfast.methods import BatchNormOnly
from holdfast.nets.heads import TaskHeads
from holdfast.nets.learner import Learner


def test_refuses_nets_without_norm_layers() -> None:
    stream = make_stream("task_incremental")
    with pytest.raises(ValueError, match=r"norm layers, of which the Sequential has none; .*lenet"):
        BatchNormOnly().check(make_learner(stream), stream)


@pytest.mark.parametrize(
    "norm", [nn.BatchNorm1d(8), nn.LayerNorm(8), nn.GroupNorm(2, 8), nn.RMSNorm(8)], ids=repr
)
def test_norm_layers_of_any_kind(norm: nn.Module) -> None:
    stream = make_stream("task_incremental")
    learner = Learner(nn.Sequential(nn.Linear(5, 8), norm, nn.ReLU()), TaskHeads(8))
    learner = TinyLoop(BatchNormOnly(), learner, stream).run()
    scales = [learner.backbone.model[1].tasks[t].weight for t in ("1", "2")]
    assert not torch.equal(*scales)
    assert not torch.equal(scales[0], learner.backbone.model[1].base.weight)


def test_each_task_has_statistics_of_its_own() -> None:
    stream = make_stream("task_incremental", dtype=torch.float64)
    learner = make_learner(stream, norm=True)
    learner = TinyLoop(BatchNormOnly(), learner, stream, epochs=20).run().eval()
    linear, norm = learner.backbone.model[0], learner.backbone.model[1]
    for task in (1, 2):
        # 20 epochs of 4 batches or more, momentum 0.1: of the base's at most 0.9^80 is left, and
        # the weights below stay.
        wanted = linear(stream[task].train.x).mean(dim=0)
        spread = linear(stream[task].train.x).std(dim=0)
        got = norm.tasks[str(task)].running_mean
        assert ((got - wanted).abs() < 0.5 * spread).all()
        assert int(norm.tasks[str(task)].num_batches_tracked) > int(norm.base.num_batches_tracked)


def test_modules_of_other_kinds_are_left() -> None:
    stream = make_stream("task_incremental")
    learner = make_learner(stream, norm=True)
    learner.backbone.append(nn.PReLU())
    loop = TinyLoop(BatchNormOnly(), learner, stream).until(1)
    before = loop.learner.backbone.model[3].weight.clone()
    assert torch.equal(loop.run().backbone.model[3].weight, before)
