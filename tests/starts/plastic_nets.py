"""Every architecture of `holdfast.nets`, small, and a net of somebody else's."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from holdfast import nets
from holdfast.data.split import Split
from holdfast.nets import GrowingHead, Head, Learner
from holdfast.streams import Context, Resident, Stream, Task
from holdfast.training.losses import criterion

IMAGE = (3, 16, 16)
NETS: dict[str, Callable[[], nn.Module]] = {
    "mlp": lambda: nets.mlp(IMAGE, (6, 5), norm="batch"),
    "lenet": lambda: nets.lenet(IMAGE, (2, 3), (5,)),
    "alexnet": lambda: nets.alexnet((3, 26, 26)),
    "resnet18": lambda: nets.resnet18(IMAGE, width=2),
    "residual": lambda: nets.residual(IMAGE, width=3, depth=3, norm="layer"),
    "cnn": lambda: nets.cnn(IMAGE, (2, 3), (5,), norm="batch"),
    "vit": lambda: nets.vit(IMAGE, width=16, depth=2, patch=8),
    "lora": lambda: nets.lora(nets.mlp(IMAGE, (6, 5)), rank=2),
}
"""Backbones for images of `IMAGE`, alexnet for larger ones."""


def learner(
    backbone: nn.Module, head: Head | None = None, shape: tuple[int, ...] = IMAGE
) -> Learner:
    """With a head of three classes."""
    with torch.no_grad():
        backbone.eval()
        width = backbone(torch.zeros(1, *shape)).shape[1]
        backbone.train()
    head = GrowingHead(width) if head is None else head
    head.accommodate(0, (0, 1, 2), torch.Generator().manual_seed(0))
    return Learner(backbone, head)


def small(name: str) -> tuple[Learner, Tensor]:
    """A learner, its norms moved off their starts, and inputs for it."""
    shape = (3, 26, 26) if name == "alexnet" else IMAGE
    one = learner(NETS[name](), shape=shape)
    x = torch.randn(4, *shape, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        one(x)
    return one, x


def nested(ends: tuple[int, ...] = (4, 10, 12), index: int = 2, width: int = 3) -> Context:
    """The phase of a task in a stream whose tasks begin with the samples of those before."""
    draws = torch.Generator().manual_seed(3)
    x = torch.randn(ends[-1], width, generator=draws)
    y = torch.arange(ends[-1]) % 3
    parts = [Split(x[:end].clone(), y[:end].clone()) for end in ends]
    tasks = [Task(f"t{i}", part, part, classes=(0, 1, 2)) for i, part in enumerate(parts)]
    stream = Stream(tasks, "domain_incremental")
    return Context(
        index=index,
        stream=stream,
        source=Resident.of([(index, stream[index])], lambda labels, i: labels),
        criterion=criterion("auto", False),
        batch_size=2,
        generator=torch.Generator(),
        device=torch.device("cpu"),
        seed=5,
    )
