"""A network of its own for each task."""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from holdfast.methods.method import Method
from holdfast.nets.heads import Features, Head, SharedHead, TaskHeads, TaskIds
from holdfast.nets.learner import Learner
from holdfast.nets.redraw import check_redrawable, redraw
from holdfast.streams.context import Context
from holdfast.streams.stream import Stream


class SingleTask(Method):
    """Train a separate network on each task: nothing is shared, forgotten or transferred.

    The network of the first task is the learner's own as it came. That of each later task is a
    copy of the same structure, drawn anew from the run's seed and the task's position (what was
    frozen from the start keeps its weights). A finished network is frozen, with its head, so that
    optimizers and starts leave it alone. Where the learner has a head a task, these are the
    networks' heads; a shared head is copied and drawn anew with each network.

    Which network answers must be known at test time.
    """

    def __init__(self) -> None:
        self._finished = 0

    def check(self, learner: Learner, stream: Stream) -> None:
        """Refuse what cannot have a network of its own for each task.

        Raises:
            ValueError: the stream is class-incremental, the head grows, the backbone differs by
                task already, or it holds parameters that cannot be drawn anew.
        """
        if stream.scenario == "class_incremental":
            raise ValueError(
                "SingleTask chooses its network by the task, which a class_incremental stream does "
                "not tell at test time; use a task_incremental stream"
            )
        if not isinstance(learner.heads, (SharedHead, TaskHeads)):
            raise ValueError(
                f"SingleTask needs heads 'per_task' or 'shared', got {type(learner.heads).__name__}"
            )
        if learner.per_task:
            raise ValueError(
                "SingleTask makes a network for each task of the learner's backbone, which differs "
                "by task already; give it a plain one"
            )
        check_redrawable(learner.backbone)

    def begin_task(self, learner: Learner, context: Context) -> None:
        """Add the network of the task."""
        self._finished = context.index
        _make_room(learner, context.index, context.seed)
        _freeze(learner, self._finished)

    def end_task(self, learner: Learner, context: Context) -> None:
        """Freeze the network of the task."""
        self._finished = context.index + 1
        _freeze(learner, self._finished)

    def state_dict(self) -> dict[str, Any]:
        """How many networks are finished; the networks themselves are the learner's."""
        return {"finished": self._finished}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self._finished = int(state["finished"])

    def restore(self, learner: Learner, index: int) -> None:
        """Give the learner the networks of tasks 0 .. index, their weights still to be loaded."""
        for i in range(index + 1):
            _make_room(learner, i, seed=0)
        _freeze(learner, self._finished)


class TaskNets(nn.Module):
    """A backbone for each task, all of one structure.

    Args:
        first: the backbone of task 0. Which parameters of it are trainable holds for all.
    """

    per_task = True

    def __init__(self, first: nn.Module) -> None:
        super().__init__()
        self.nets = nn.ModuleList([first])
        self.trainable = [p.requires_grad for p in first.parameters()]

    def add(self, seed: int) -> None:
        """Append the backbone of the next task, drawn from the seed and the task's position."""
        net = copy.deepcopy(self.nets[0])
        for parameter, trainable in zip(net.parameters(), self.trainable, strict=True):
            parameter.requires_grad_(trainable)
        redraw(net, seed, "single_task", len(self.nets))
        self.nets.append(net)

    def forward(self, x: Tensor, task: TaskIds = None) -> Float[Tensor, "n width"]:
        """Features of each sample by the backbone of its task."""
        return _by_task(list(self.nets), x, task)


class OwnHeads(Head):
    """A copy of a shared head for each task: one numbering of columns, weights of their own.

    Args:
        first: the head of task 0.
    """

    def __init__(self, first: SharedHead) -> None:
        super().__init__()
        self.width = first.width
        self.heads = nn.ModuleList([first])

    @property
    def first(self) -> SharedHead:
        """The head of task 0."""
        head = self.heads[0]
        assert isinstance(head, SharedHead)
        return head

    def add(self, seed: int) -> None:
        """Append the head of the next task, drawn from the seed and the task's position."""
        head = copy.deepcopy(self.first).requires_grad_(True)
        redraw(head, seed, "single_task_head", len(self.heads))
        self.heads.append(head)

    def accommodate(
        self, index: int, classes: Sequence[int], generator: torch.Generator | None = None
    ) -> None:
        """Nothing to do; refuses classes that the shared head did not know."""
        self.first.accommodate(index, classes, generator)

    def knows(self, index: int, classes: Sequence[int]) -> bool:
        """Whether the task has a head, which has these classes."""
        return index < len(self.heads) and self.first.knows(index, classes)

    def columns(self, y: Tensor, index: int) -> Tensor:
        """The logit column of each label, the same for every task."""
        return self.first.columns(y, index)

    def labels(self, columns: Int64[Tensor, " n"], index: int | None = None) -> Tensor:
        """The class label of each logit column."""
        return self.first.labels(columns, index)

    def forward(self, features: Features, task: TaskIds = None) -> Float[Tensor, "n outputs"]:
        """Logits of each sample by the head of its task."""
        return _by_task(list(self.heads), features, task)


def _by_task(modules: list[nn.Module], x: Tensor, task: TaskIds) -> Tensor:
    if task is None:
        raise ValueError("task must be given: each task has a network of its own")
    if isinstance(task, int):
        if not 0 <= task < len(modules):
            raise ValueError(f"task {task} does not exist: networks are there for {len(modules)}")
        return modules[task](x)
    present = task.unique().tolist()
    rows = [(task == index).nonzero().flatten() for index in present]
    parts = [_by_task(modules, x[at], index) for at, index in zip(rows, present, strict=True)]
    return torch.cat(parts)[torch.cat(rows).argsort()]


def _make_room(learner: Learner, index: int, seed: int) -> None:
    if not isinstance(learner.backbone, TaskNets):
        learner.backbone = TaskNets(learner.backbone)
    if len(learner.backbone.nets) == index:
        learner.backbone.add(seed)
    if isinstance(learner.heads, SharedHead):
        learner.heads = OwnHeads(learner.heads)
    if isinstance(learner.heads, OwnHeads) and len(learner.heads.heads) == index:
        learner.heads.add(seed)


def _freeze(learner: Learner, finished: int) -> None:
    nets, heads = learner.backbone, learner.heads
    assert isinstance(nets, TaskNets)
    assert isinstance(heads, (TaskHeads, OwnHeads))
    for i in range(finished):
        nets.nets[i].requires_grad_(False)
        head = heads.heads[i] if isinstance(heads, OwnHeads) else heads.heads[str(i)]
        head.requires_grad_(False)
