import pytest
import torch
from torch import Tensor

from holdfast.data.split import Split
from holdfast.streams import Context, Resident, Stream, Task


def mean(logits: Tensor, y: Tensor, reduction: str = "mean") -> Tensor:
    return logits.mean()


def test_the_context_knows_its_task() -> None:
    parts = [Split(torch.zeros(2, 1), torch.full((2,), i)) for i in range(3)]
    stream = Stream([Task(f"t{i}", p, p) for i, p in enumerate(parts)], "class_incremental")
    context = Context(
        index=1,
        stream=stream,
        source=Resident.of([(1, stream[1])], lambda y, index: y),
        criterion=mean,
        batch_size=2,
        generator=torch.Generator(),
        device=torch.device("cpu"),
        seed=0,
    )
    assert context.task is stream[1]
    with pytest.raises(AttributeError):
        context.index = 2  # type: ignore[misc]
