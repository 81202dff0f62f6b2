"""Samples kept for rehearsal."""

from typing import Any, Literal

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor
from torch.nn import functional

from holdfast.methods.arguments import check_choice, check_positive_integer
from holdfast.nets.heads import TaskHeads
from holdfast.nets.learner import Learner
from holdfast.streams.batches import Batch
from holdfast.streams.context import Context
from holdfast.streams.stream import Stream

Selection = Literal["reservoir", "class_balanced"]

_CHUNK = 4096
"""Samples a task's source is read by: bounds the copies of those that enter."""


class Memory:
    """At most `capacity` samples of all that were ever added, on the device of the batches.

    Each sample draws a key u ~ U(0, 1) when it is added, and the samples that rank lowest stay:

    - ``reservoir``: ranked by u. What is kept is at any time a uniform sample, without
      repetition, of all that was added: the law of Vitter's reservoir (1985), which replaces
      random slots one by one.
    - ``class_balanced``: ranked by (rank of u among the samples of its class, class). Every class
      keeps an equal share or all it had, the rest going to the lowest classes, and what it keeps
      is a uniform sample of what was added of it. A sample that enters a full memory so displaces
      one of the class that holds most.

    Keys stay with their samples, so that it makes no difference in how many pieces samples come,
    and a whole batch is placed at once.

    Args:
        capacity: most samples kept.
        selection: which.

    Attributes:
        key: (n,) of the samples kept, on the CPU.
        group: (n,) their classes where `selection` looks at them, on the CPU.
        width: (n,) how many logits were stored with each, on the CPU; empty if none were.
    """

    def __init__(self, capacity: int, selection: Selection = "reservoir") -> None:
        check_positive_integer("memory", capacity)
        check_choice("selection", selection, Selection)
        self.capacity, self.selection = capacity, selection
        self.key = torch.empty(0, dtype=torch.float64)
        self.group = torch.empty(0, dtype=torch.int64)
        self.width = torch.empty(0, dtype=torch.int64)
        self._held: dict[str, Tensor] = {}

    def clear(self) -> None:
        """Drop all samples."""
        self.key, self.group, self.width = self.key[:0], self.group[:0], self.width[:0]
        self._held = {}

    def __len__(self) -> int:
        return len(self.key)

    @property
    def x(self) -> Tensor:
        """(n, ...) network inputs."""
        return self._rows("x")

    @property
    def y(self) -> Tensor:
        """(n,) columns or (n, k) targets."""
        return self._rows("y")

    @property
    def task(self) -> Int64[Tensor, " n"]:
        """The position of each sample's task in the stream."""
        return self._rows("task")

    @property
    def logits(self) -> Float[Tensor, "n outputs"]:
        """The logits stored with each sample: its first `width` columns, then zeros."""
        return self._rows("logits")

    def add(
        self,
        batch: Batch,
        generator: torch.Generator,
        *,
        classes: Int64[Tensor, " n"] | None = None,
        logits: Float[Tensor, "n outputs"] | None = None,
    ) -> None:
        """Offer the samples of a batch; those that enter are copied.

        Args:
            batch: the samples.
            generator: draws the keys; on the CPU.
            classes: what ``class_balanced`` balances, one a sample.
            logits: to be kept with the samples; their number may differ from call to call.
        """
        key = torch.rand(len(batch), generator=generator, dtype=torch.float64)
        group = self.group
        if self.selection == "class_balanced":
            if classes is None:
                raise ValueError("classes must be given to a class_balanced memory")
            group = classes.cpu()
        entering, slots = self._admit(key, group)
        if len(entering) == 0:
            return
        size = min(self.capacity, len(self) + len(batch))
        self.key = _placed(self.key, slots, key.index_select(0, entering), size)
        if self.selection == "class_balanced":
            self.group = _placed(self.group, slots, group[entering], size)
        if logits is not None:
            width = torch.full_like(entering, logits.shape[1])
            self.width = _placed(self.width, slots, width, size)
        device, task = batch.x.device, batch.task
        self.to(device)
        entering, slots = entering.to(device), slots.to(device)
        self._write("x", slots, batch.x.index_select(0, entering), size)
        self._write("y", slots, batch.y.index_select(0, entering), size)
        tasks = torch.full_like(entering, task) if isinstance(task, int) else task[entering]
        self._write("task", slots, tasks, size)
        if logits is not None:
            # Autocast makes logits of half precision, too coarse to be matched.
            kind = torch.promote_types(logits.dtype, torch.float32)
            values = logits.detach().index_select(0, entering).to(kind)
            self._write("logits", slots, values, size)

    def draw(self, size: int, generator: torch.Generator) -> Int64[Tensor, " drawn"]:
        """Positions of min(`size`, n) samples, uniform without repetition, on the CPU."""
        return torch.randperm(len(self), generator=generator)[:size]

    def at(self, index: Int64[Tensor, " drawn"]) -> Batch:
        """The samples at these positions (on the CPU), copied."""
        index = index.to(self.x.device)
        x, y, task = (rows.index_select(0, index) for rows in (self.x, self.y, self.task))
        return Batch(x, y, task)

    def whole(self) -> Batch | None:
        """All samples, not copied; `None` where there are none yet."""
        return Batch(self.x, self.y, self.task) if len(self) else None

    def logits_at(
        self, index: Int64[Tensor, " drawn"]
    ) -> tuple[Float[Tensor, "drawn outputs"], Int64[Tensor, " drawn"]]:
        """The logits stored with the samples at these positions (on the CPU), and their widths."""
        return self.logits.index_select(0, index.to(self.x.device)), self.width[index]

    def to(self, device: torch.device) -> None:
        """Move the samples to a device, if they are not there."""
        if self._held and self._held["x"].device != device:
            self._held = {name: held.to(device) for name, held in self._held.items()}

    def state_dict(self) -> dict[str, Any]:
        """The samples and their keys; the tensors are the memory's own."""
        held = {name: self._rows(name) for name in self._held}
        return {"key": self.key, "group": self.group, "width": self.width, "held": held}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`; copies.

        Raises:
            ValueError: the state holds more samples than this memory may.
        """
        if len(state["key"]) > self.capacity:
            raise ValueError(
                f"memory holds at most {self.capacity} samples, the state to load has "
                f"{len(state['key'])}"
            )
        for name in ("key", "group", "width"):
            setattr(self, name, state[name].cpu().clone())
        self._held = {name: values.clone() for name, values in state["held"].items()}

    def _admit(
        self, key: Float64[Tensor, " new"], group: Int64[Tensor, " _"]
    ) -> tuple[Int64[Tensor, " entering"], Int64[Tensor, " entering"]]:
        """Which of the new samples enter, and the slot of each."""
        size, surplus = len(self), len(self) + len(key) - self.capacity
        if surplus <= 0:
            return torch.arange(len(key)), torch.arange(size, size + len(key))
        rank = torch.cat([self.key, key])
        if self.selection == "class_balanced":
            rank = _rank_in_group(rank, torch.cat([self.group, group]))
        stays = torch.ones(len(rank), dtype=torch.bool)
        stays.index_fill_(0, rank.topk(surplus, sorted=False).indices, False)
        old, new = stays.split([size, len(key)])
        slots = (~old).nonzero().flatten()
        if size < self.capacity:
            slots = torch.cat([slots, torch.arange(size, self.capacity)])
        return new.nonzero().flatten(), slots

    def _rows(self, name: str) -> Tensor:
        held = self._held[name]
        return held if len(held) == len(self) else held[: len(self)]

    def _write(self, name: str, slots: Tensor, values: Tensor, size: int) -> None:
        held = self._held.get(name)
        if held is None:
            held = values.new_empty(0, *values.shape[1:])
        if name == "logits" and held.shape[1] != values.shape[1]:
            width = max(held.shape[1], values.shape[1])
            held, values = _widened(held, width), _widened(values, width)
        if len(held) < size:
            room = min(self.capacity, max(size, 2 * len(held)))
            held = torch.cat([held, held.new_empty(room - len(held), *held.shape[1:])])
        self._held[name] = held.index_copy_(0, slots, values)


def check_selection(selection: Selection, stream: Stream) -> None:
    """Refuse to balance classes where there are none.

    Raises:
        ValueError: the stream's targets are floats and `selection` is ``class_balanced``.
    """
    if selection == "class_balanced" and stream.is_regression:
        raise ValueError(
            "selection must be 'reservoir' for regression targets, which have no classes to "
            "balance; got 'class_balanced'"
        )


def remember_task(memory: Memory, learner: Learner, context: Context) -> None:
    """Offer every training sample of the current task once, under its class label."""
    for batch in context.source.batches(_CHUNK):
        classes = None
        if memory.selection == "class_balanced":
            classes = learner.heads.labels(batch.y, context.index)
        memory.add(batch, context.generator, classes=classes)


def rehearse(
    learner: Learner, batch: Batch, memory: Memory, index: Int64[Tensor, " k"]
) -> tuple[Float[Tensor, "n outputs"], Float[Tensor, "k widest"], Tensor]:
    """Pass a batch and the memory's samples at some positions through the backbone together.

    Returns:
        The logits of the batch; those of the memory's samples, in the columns of the widest of
        their heads (see `TaskHeads`); and the columns or targets of the latter.
    """
    memory.to(batch.x.device)
    index, n = index.to(batch.x.device), len(batch)
    # One copy of each sample, where concatenating what was drawn would make two.
    x = batch.x.new_empty(n + len(index), *batch.x.shape[1:])
    x[:n] = batch.x
    torch.index_select(memory.x, 0, index, out=x[n:])
    y, tasks = memory.y.index_select(0, index), memory.task.index_select(0, index)
    every = torch.cat([batch.tasks(), tasks])
    features = learner.features(x, every)
    if isinstance(learner.heads, TaskHeads):
        own, old = features.split([n, len(index)])
        return learner.heads(own, batch.task), learner.heads(old, tasks), y
    own, old = learner.heads(features, every).split([n, len(index)])
    return own, old, y


def _placed(held: Tensor, slots: Tensor, values: Tensor, size: int) -> Tensor:
    if len(held) < size:
        held = torch.cat([held, held.new_empty(size - len(held))])
    return held.index_copy_(0, slots, values)


def _widened(logits: Tensor, width: int) -> Tensor:
    return functional.pad(logits, (0, width - logits.shape[1]))


def _rank_in_group(key: Tensor, group: Tensor) -> Tensor:
    """Distinct integers that order by (rank of the key within its group, group)."""
    order = key.argsort()
    order = order[group[order].argsort(stable=True)]
    _, counts = group[order].unique_consecutive(return_counts=True)
    first = counts.cumsum(0) - counts
    rank = torch.arange(len(key)) - first.repeat_interleave(counts)
    which = torch.arange(len(counts)).repeat_interleave(counts)
    scores = torch.empty_like(order)
    scores[order] = rank * len(counts) + which
    return scores
