import math

import pytest
import torch
from torch import nn

from holdfast.data.split import Split
from holdfast.methods import Joint
from holdfast.nets.heads import GrowingHead
from holdfast.nets.mlp import mlp
from holdfast.streams.stream import Stream, Task
from holdfast.training.divergence import bad_parameter
from holdfast.training.options import Training
from holdfast.training.run import run


def stream(*rows: int) -> Stream:
    tasks = []
    for i, count in enumerate(rows):
        x = torch.randn(count, 3, generator=torch.Generator().manual_seed(i))
        split = Split(x, torch.arange(count) % 2)
        tasks.append(Task(str(i), split, split))
    return Stream(tasks, "domain_incremental")


@pytest.mark.parametrize(("rows", "size"), [((8, 9), 4), ((8, 5), 1)])
def test_a_sample_alone_under_batch_norm_is_refused(rows: tuple[int, ...], size: int) -> None:
    net = mlp((3,), hidden=(4,), norm="batch")
    with pytest.raises(ValueError, match=rf"training\.batch_size {size} leaves one of the"):
        run(stream(*rows), net, training=Training(batch_size=size))


def test_what_counts_is_the_phase_of_the_method() -> None:
    net = mlp((3,), hidden=(4,), norm="batch")
    with pytest.raises(ValueError, match="9 samples of task '1'"):
        run(stream(6, 3), net, Joint(), Training(batch_size=4))


def test_other_nets_take_a_sample_alone() -> None:
    record = run(stream(8, 9), mlp((3,), hidden=(4,)), training=Training(1, 4, device="cpu"))
    assert record.status == "complete"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_bad_parameter_is_named(value: float) -> None:
    net = nn.Sequential(nn.Linear(2, 2), GrowingHead(2))
    assert bad_parameter(net) is None
    with torch.no_grad():
        net[0].bias[1] = value
    assert bad_parameter(net) == "0.bias"


def test_large_and_complex_parameters_are_not_bad() -> None:
    net = nn.Linear(2, 2)
    with torch.no_grad():
        net.weight.fill_(3e38)
    net.phase = nn.Parameter(torch.ones(2, dtype=torch.complex64))
    assert bad_parameter(net) is None
    with torch.no_grad():
        net.phase[0] = complex(0, math.inf)
    assert bad_parameter(net) == "phase"
