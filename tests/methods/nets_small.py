"""The backbones of `holdfast.nets`, but for alexnet, which cannot be small, and streams."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from holdfast import nets
from holdfast.data.split import Split
from holdfast.methods.method import Method
from holdfast.nets.learner import Learner, build_learner
from holdfast.streams.stream import Stream, Task
from holdfast.training.options import Training
from holdfast.training.run import run

NETS: dict[str, tuple[tuple[int, ...], Callable[[tuple[int, ...]], nn.Module]]] = {
    "mlp": ((5,), lambda s: nets.mlp(s, (6, 4), activation="crelu", norm="layer")),
    "cnn": ((1, 8, 8), lambda s: nets.cnn(s, (2, 3), (5,), norm="batch")),
    "lenet": ((1, 8, 8), lambda s: nets.lenet(s, (2, 3), (5,))),
    "resnet18": ((1, 9, 9), lambda s: nets.resnet18(s, width=2, norm="layer")),
    "residual": ((1, 8, 8), lambda s: nets.residual(s, 3, 3, norm="layer")),
    "vit": ((1, 4, 4), lambda s: nets.vit(s, width=8, depth=1, patch=2, head_dim=4)),
    "lora": ((5,), lambda s: nets.lora(nets.mlp(s, (6, 4)), rank=2)),
}


def make(name: str) -> tuple[Learner, Stream]:
    """A learner of that backbone with a head a task, and a stream of two tasks."""
    for extra in {"vit": ["transformers"], "lora": ["peft"]}.get(name, []):
        pytest.importorskip(extra)
    shape, backbone = NETS[name]
    draws = torch.Generator().manual_seed(1)
    tasks = []
    for i in range(2):
        x = torch.randn(8, *shape, generator=draws)
        y = 2 * i + torch.arange(8) % 2
        tasks.append(Task(f"t{i}", Split(x, y), Split(x[:4], y[:4]), classes=(2 * i, 2 * i + 1)))
    stream = Stream(tasks, "task_incremental")
    return build_learner(backbone(shape), stream), stream


def trained(name: str, method: Method) -> Learner:
    """The learner after two tasks of two steps under a method."""
    learner, stream = make(name)
    record = run(stream, learner, method, Training(epochs=1, batch_size=4, lr=0.1))
    assert record.status == "complete"
    return learner
