"""The learner: a backbone and its heads."""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from holdfast.nets.heads import GrowingHead, Head, SharedHead, TaskHeads, TaskIds
from holdfast.seeds import seeded
from holdfast.streams.stream import Stream, Task

HeadKind = Literal["auto", "shared", "growing", "per_task"]


class Learner(nn.Module):
    """A backbone that makes features and heads that make logits of them.

    Args:
        backbone: x (n, ...) -> features (n, width), any module. One that sets
            ``per_task = True`` is called as ``backbone(x, task)``.
        heads: a `Head`.
    """

    def __init__(self, backbone: nn.Module, heads: Head) -> None:
        super().__init__()
        self.backbone = backbone
        self.heads = heads

    @property
    def per_task(self) -> bool:
        """Whether the backbone computes another function for each task."""
        return bool(getattr(self.backbone, "per_task", False))

    def features(self, x: Tensor, task: TaskIds = None) -> Float[Tensor, "n width"]:
        """The penultimate activations."""
        return self.backbone(x, task) if self.per_task else self.backbone(x)

    def forward(self, x: Tensor, task: TaskIds = None) -> Float[Tensor, "n outputs"]:
        """Logits in the columns of the heads.

        Args:
            x: (n, ...) inputs.
            task: position of the task, for all samples or (n,) one each; needed where heads or
                backbone differ by task, ignored elsewhere.
        """
        return self.heads(self.features(x, task), task)

    def columns(self, y: Tensor, index: int) -> Tensor:
        """The logit column of each class label of the task at position `index`."""
        return self.heads.columns(y, index)

    def accommodate(self, index: int, task: Task, generator: torch.Generator | None = None) -> None:
        """Make room in the heads for the task at position `index` of the stream."""
        self.heads.accommodate(index, task.classes, generator)

    @torch.no_grad()
    def predict(self, x: Tensor, task: int | None = None) -> Tensor:
        """The class label of the largest logit of each sample. The mode is left as it is.

        Raises:
            ValueError: the heads know no classes: nothing was learned yet, or their outputs are
                regression targets.
        """
        logits = self(x, task)
        if logits.shape[1] == 0:
            raise ValueError(
                "the learner knows no classes yet; train it (holdfast.run), or make room for them "
                "(learner.accommodate), before predict"
            )
        return self.heads.labels(logits.argmax(dim=1), task)


def build_learner(
    backbone: nn.Module,
    stream: Stream,
    heads: HeadKind = "auto",
    seed: int = 0,
    bias: bool = True,
) -> Learner:
    """A learner for a stream, its width measured by passing one sample through the backbone.

    ``heads="auto"`` takes a head a task for task-incremental streams, a growing head for
    class-incremental and a shared one for domain-incremental. `bias` is whether heads have one.

    Raises:
        ValueError: the backbone does not give (n, width) features for the stream's inputs, or
            the heads do not fit the stream.
    """
    width = feature_width(backbone, stream[0])
    if heads == "auto":
        choice: dict[str, HeadKind] = {
            "task_incremental": "shared" if stream.is_regression else "per_task",
            "class_incremental": "growing",
            "domain_incremental": "shared",
        }
        heads = choice[stream.scenario]
    if stream.is_regression and heads != "shared":
        raise ValueError(f"heads must be 'shared' for regression targets, got {heads!r}")
    if stream.scenario == "class_incremental" and heads == "per_task":
        raise ValueError(
            "heads must be 'growing' or 'shared' in a class_incremental stream, where the task is "
            "unknown at test time; got 'per_task'"
        )
    return Learner(backbone, _head(heads, width, stream, seed, bias))


def _head(kind: HeadKind, width: int, stream: Stream, seed: int, bias: bool) -> Head:
    if kind == "growing":
        return GrowingHead(width, bias)
    if kind == "per_task":
        return TaskHeads(width, bias)
    if kind != "shared":
        raise ValueError(f"heads must be auto, shared, growing or per_task, got {kind!r}")
    outputs: Sequence[int] | int = (
        int(stream[0].test.y.shape[1]) if stream.is_regression else sorted(stream.classes)
    )
    with seeded(seed, "head"):
        return SharedHead(width, outputs, bias)


@torch.no_grad()
def feature_width(backbone: nn.Module, task: Task) -> int:
    """Width of the backbone's features, measured on one sample of a task, taken twice: batch norm
    without running statistics cannot do with one.

    Raises:
        ValueError: the backbone fails on that sample or gives no (n, width) matrix.
    """
    x = task.inputs(task.test.x[[0, 0]])
    place = next(backbone.parameters(), None)
    x = x if place is None else x.to(place.device)
    modes = [(module, module.training) for module in backbone.modules()]
    backbone.eval()
    try:
        out = backbone(x, 0) if getattr(backbone, "per_task", False) else backbone(x)
    except (RuntimeError, IndexError, TypeError, ValueError) as error:
        raise ValueError(
            f"the net does not take inputs of shape {tuple(x.shape[1:])}: {error}"
        ) from error
    finally:
        for module, training in modes:
            module.training = training
    if not isinstance(out, Tensor) or out.ndim != 2:
        shape = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
        raise ValueError(f"the net must give features of shape (n, width), got {shape}")
    return int(out.shape[1])
