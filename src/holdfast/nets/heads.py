"""Heads: from penultimate features to the logits of the classes known so far."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from holdfast.nets.scaled import Readout, linear, scale

Features = Float[Tensor, "n width"]
TaskIds = int | Int64[Tensor, " n"] | None


class Head(nn.Module):
    """What the three heads share. A head numbers its logits itself: its *columns*.

    `columns` translates class labels into that numbering and `labels` back. Columns never move
    once given out, so they may be stored (in a replay memory, say) across growth.
    """

    width: int
    readout: Readout = Readout()
    """How rows start and count; set by a parametrization."""

    def accommodate(
        self, index: int, classes: Sequence[int], generator: torch.Generator | None = None
    ) -> None:
        """Make room for the task at position `index` of the stream; known classes are left alone.

        New rows start as `readout` says, by default as `torch.nn.Linear` does: weight and bias
        uniform in +-1/sqrt(width).
        """
        raise NotImplementedError

    def knows(self, index: int, classes: Sequence[int]) -> bool:
        """Whether the task at position `index` with these classes can be predicted."""
        raise NotImplementedError

    def columns(self, y: Tensor, index: int) -> Tensor:
        """The logit column of each class label; float regression targets pass unchanged.

        Raises:
            ValueError: a label that the head does not know.
        """
        raise NotImplementedError

    def labels(self, columns: Int64[Tensor, " n"], index: int | None = None) -> Tensor:
        """The class label of each logit column."""
        raise NotImplementedError

    def extra_repr(self) -> str:
        """How rows start and count, where a parametrization has set it."""
        return "" if self.readout == Readout() else repr(self.readout)


class SharedHead(Head):
    """One linear layer over a set of classes, or regression outputs, fixed from the start.

    Args:
        width: of the features.
        classes: class labels in the order of their columns, or the number of regression outputs.
        bias: whether the layer has one.

    Raises:
        ValueError: no classes, or a repeated one.
    """

    known: Tensor

    def __init__(self, width: int, classes: Sequence[int] | int, bias: bool = True) -> None:
        super().__init__()
        self.width = _checked_width(width)
        labels = [] if isinstance(classes, int) else [int(c) for c in classes]
        outputs = classes if isinstance(classes, int) else len(labels)
        if outputs < 1:
            raise ValueError(f"classes must name at least one class or output, got {classes}")
        _check_unique(labels)
        self.linear = nn.Linear(width, outputs, bias=bias)
        self.register_buffer("known", torch.tensor(labels, dtype=torch.int64))

    def accommodate(
        self, index: int, classes: Sequence[int], generator: torch.Generator | None = None
    ) -> None:
        """Nothing to do; refuses classes that were not given at the start."""
        strangers = sorted(set(classes) - set(self.known.tolist()))
        if strangers and len(self.known) == 0:
            raise ValueError(
                f"this SharedHead gives {self.linear.out_features} regression outputs, the task "
                f"has classes {list(classes)[:5]}; make it with its classes: SharedHead(width, "
                "classes)"
            )
        if strangers:
            raise ValueError(
                f"classes {strangers[:5]} are unknown to this SharedHead, whose classes were fixed "
                f"at {self.known.tolist()}; use GrowingHead for classes that arrive later"
            )

    def knows(self, index: int, classes: Sequence[int]) -> bool:
        """Whether all these classes are among its own."""
        return set(classes) <= set(self.known.tolist())

    def columns(self, y: Tensor, index: int) -> Tensor:
        """The logit column of each label, the same for every task."""
        return y if y.is_floating_point() else _columns(y, self.known, "this SharedHead")

    def labels(self, columns: Int64[Tensor, " n"], index: int | None = None) -> Tensor:
        """The class label of each logit column."""
        if len(self.known) == 0:
            raise ValueError("this SharedHead gives regression outputs, which stand for no classes")
        return self.known[columns]

    def forward(self, features: Features, task: TaskIds = None) -> Float[Tensor, "n outputs"]:
        """Logits of all classes; `task` is ignored."""
        return self.linear(features)


class GrowingHead(Head):
    """One linear layer with a row for each class seen so far, in order of arrival.

    Args:
        width: of the features.
        bias: whether the rows have one.
    """

    known: Tensor

    def __init__(self, width: int, bias: bool = True) -> None:
        super().__init__()
        self.width = _checked_width(width)
        self.weight = nn.Parameter(torch.empty(0, width))
        self.bias = nn.Parameter(torch.empty(0)) if bias else None
        self.register_buffer("known", torch.empty(0, dtype=torch.int64))

    def accommodate(
        self, index: int, classes: Sequence[int], generator: torch.Generator | None = None
    ) -> None:
        """Append a row for each class not yet known; old rows keep their values."""
        _check_unique(classes)
        new = [int(c) for c in classes if c not in set(self.known.tolist())]
        if not new:
            return
        rows, offsets = self.readout.draw(len(new), self.width, generator)
        self.weight = nn.Parameter(torch.cat([self.weight.data, rows.to(self.weight)]))
        if self.bias is not None:
            self.bias = nn.Parameter(torch.cat([self.bias.data, offsets.to(self.bias)]))
        self.known = torch.cat([self.known, torch.tensor(new).to(self.known)])

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw all rows anew from torch's global generator, as new ones start; columns stay."""
        rows, offsets = self.readout.draw(len(self.known), self.width, None)
        self.weight.copy_(rows)
        if self.bias is not None:
            self.bias.copy_(offsets)

    def knows(self, index: int, classes: Sequence[int]) -> bool:
        """Whether all these classes have rows."""
        return set(classes) <= set(self.known.tolist())

    def columns(self, y: Tensor, index: int) -> Tensor:
        """The row of each label, the same for every task."""
        return _columns(y, self.known, "this GrowingHead")

    def labels(self, columns: Int64[Tensor, " n"], index: int | None = None) -> Tensor:
        """The class label of each row."""
        return self.known[columns]

    def forward(self, features: Features, task: TaskIds = None) -> Float[Tensor, "n known"]:
        """Logits of all classes seen so far; `task` is ignored."""
        return linear(features, self.weight, self.bias, self.readout.multiplier)

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *rest: Any) -> None:
        known = state.get(prefix + "known")
        if known is not None and len(known) != len(self.known):
            self.known = self.known.new_empty(len(known))
            self.weight = nn.Parameter(self.weight.data.new_empty(len(known), self.width))
            if self.bias is not None:
                self.bias = nn.Parameter(self.bias.data.new_empty(len(known)))
        super()._load_from_state_dict(state, prefix, *rest)


class TaskHeads(Head):
    """A linear layer for each task, its columns numbered within the task.

    For a batch that mixes tasks the logits have as many columns as the widest head; a row's
    columns past its own head's hold -inf, which cross-entropy and softmax take for what they are:
    impossible.

    Args:
        width: of the features.
        bias: whether the layers have one.
    """

    place: Tensor

    def __init__(self, width: int, bias: bool = True) -> None:
        super().__init__()
        self.width, self.bias = _checked_width(width), bias
        self.heads = nn.ModuleDict()
        # Empty: it tells the first head the dtype and device the module was moved to.
        self.register_buffer("place", torch.empty(0), persistent=False)

    def accommodate(
        self, index: int, classes: Sequence[int], generator: torch.Generator | None = None
    ) -> None:
        """Add the head of the task at position `index`, if it is not there.

        Raises:
            ValueError: the head is there with other classes.
        """
        _check_unique(classes)
        if str(index) not in self.heads:
            self.heads[str(index)] = self._new_head([int(c) for c in classes], generator)
        elif self._head(index).known.tolist() != list(classes):
            raise ValueError(
                f"task {index} has a head for classes {self._head(index).known.tolist()} already, "
                f"got {list(classes)}"
            )

    def _new_head(self, classes: list[int], generator: torch.Generator | None) -> SharedHead:
        with torch.random.fork_rng(devices=[]):
            head = SharedHead(self.width, classes, self.bias)
        rows, offsets = self.readout.draw(len(classes), self.width, generator)
        head.linear.weight.data.copy_(rows)
        if self.bias:
            head.linear.bias.data.copy_(offsets)
        if self.readout.scaling is not None:
            scale(head.linear, self.readout.multiplier, self.readout.scaling)
        return head.to(self.place)

    def _head(self, index: int) -> SharedHead:
        if str(index) not in self.heads:
            raise ValueError(f"task {index} does not exist: heads are there for {self.tasks}")
        head = self.heads[str(index)]
        assert isinstance(head, SharedHead)
        return head

    @property
    def tasks(self) -> list[int]:
        """The positions of the tasks that have a head."""
        return sorted(int(k) for k in self.heads)

    def knows(self, index: int, classes: Sequence[int]) -> bool:
        """Whether the task at this position has a head."""
        return str(index) in self.heads

    def columns(self, y: Tensor, index: int) -> Tensor:
        """The column of each label within the head of task `index`."""
        return self._head(index).columns(y, index)

    def labels(self, columns: Int64[Tensor, " n"], index: int | None = None) -> Tensor:
        """The class label of each column of the head of task `index`."""
        if index is None:
            raise ValueError("index must name the task: TaskHeads number their columns by task")
        return self._head(index).labels(columns)

    def forward(self, features: Features, task: TaskIds = None) -> Float[Tensor, "n outputs"]:
        """Logits of the given task, or of each row's own task."""
        if task is None:
            raise ValueError("task must be given: TaskHeads have a head for each task")
        if isinstance(task, int):
            return self._head(task)(features)
        return self._mixed(features, task)

    def _mixed(self, features: Tensor, task: Tensor) -> Tensor:
        order = self.tasks
        if task.shape != features.shape[:1]:
            raise ValueError(
                f"task must be one position or one a sample: got {tuple(task.shape)} for "
                f"{len(features)} samples"
            )
        strangers = sorted(set(task.tolist()) - set(order))
        if strangers:
            raise ValueError(f"tasks {strangers[:5]} do not exist: heads are there for {order}")
        heads = [self._head(i).linear for i in order]
        weight = torch.cat([h.weight for h in heads])
        bias = torch.cat([h.bias for h in heads]) if self.bias else None
        sizes = torch.tensor([h.out_features for h in heads], device=task.device)
        slot = torch.searchsorted(torch.tensor(order, device=task.device), task)
        offset = torch.cumsum(sizes, 0) - sizes
        column = torch.arange(int(sizes.max()), device=task.device)
        there = column < sizes[slot, None]
        index = (offset[slot, None] + column).where(there, 0)
        logits = linear(features, weight, bias, self.readout.multiplier).gather(1, index)
        return logits.masked_fill(~there, -math.inf)

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *rest: Any) -> None:
        for key, known in state.items():
            name = key.removeprefix(prefix)
            if key.startswith(prefix) and name.startswith("heads.") and name.endswith(".known"):
                index = int(name.split(".")[1])
                if str(index) not in self.heads:
                    # Its own generator: the draws are overwritten, the global state must not move.
                    self.heads[str(index)] = self._new_head(known.tolist(), torch.Generator())
        super()._load_from_state_dict(state, prefix, *rest)


def _columns(y: Tensor, known: Tensor, owner: str) -> Tensor:
    ordered, position = known.sort()
    slot = torch.searchsorted(ordered, y).clamp_(max=max(len(known) - 1, 0))
    if len(known) == 0 or bool((ordered[slot] != y).any()):
        strangers = sorted(set(y.tolist()) - set(known.tolist()))
        raise ValueError(
            f"labels {strangers[:5]} are unknown to {owner}, which has {known.tolist()}"
        )
    return position[slot]


def _checked_width(width: int) -> int:
    if width < 1:
        raise ValueError(f"width must be positive, got {width}")
    return width


def _check_unique(classes: Sequence[int]) -> None:
    if len(set(classes)) != len(classes):
        raise ValueError(f"classes repeats a label: {list(classes)}")
