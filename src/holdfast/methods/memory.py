"""Samples kept for rehearsal."""

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor
from torch.nn import functional

from holdfast.methods.arguments import check_choice, check_positive_integer
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
    """

    def __init__(self, capacity: int, selection: Selection = "reservoir") -> None:
        check_positive_integer("memory", capacity)
        check_choice("selection", selection, Selection)
        self.capacity, self.selection = capacity, selection
        self.key = torch.empty(0, dtype=torch.float64)
        self.group = torch.empty(0, dtype=torch.int64)
        self._held: dict[str, Tensor] = {}

    def __len__(self) -> int:
        return len(self.key)

    @property
    def x(self) -> Tensor:
        """(n, ...) network inputs."""
        return self._held["x"][: len(self)]

    @property
    def y(self) -> Tensor:
        """(n,) columns or (n, k) targets."""
        return self._held["y"][: len(self)]

    @property
    def task(self) -> Int64[Tensor, " n"]:
        """The position of each sample's task in the stream."""
        return self._held["task"][: len(self)]

    @property
    def logits(self) -> Float[Tensor, "n outputs"]:
        """The logits stored with each sample; NaN in columns it had none for."""
        return self._held["logits"][: len(self)]

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
            logits: to be kept with the samples. Their number of columns may grow from call to
                call; -inf, the logit of a column that cannot be, is kept as none.
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
        self.key = _placed(self.key, slots, key[entering], size)
        if self.selection == "class_balanced":
            self.group = _placed(self.group, slots, group[entering], size)
        device = batch.x.device
        self.to(device)
        slots, entering = slots.to(device), entering.to(device)
        task = batch.task
        rows = {
            "x": batch.x[entering],
            "y": batch.y[entering],
            "task": torch.full_like(entering, task) if isinstance(task, int) else task[entering],
        }
        if logits is not None:
            own = logits.detach()[entering]
            rows["logits"] = own.masked_fill(torch.isneginf(own), math.nan)
        for name, values in rows.items():
            self._write(name, slots, values, size)

    def draw(self, size: int, generator: torch.Generator) -> Int64[Tensor, " drawn"]:
        """Positions of min(`size`, n) samples, uniform without repetition."""
        index = torch.randperm(len(self), generator=generator)[:size]
        return index.to(self._held["x"].device) if self._held else index

    def at(self, index: Int64[Tensor, " drawn"]) -> Batch:
        """The samples at these positions, copied."""
        x, y, task = (rows.index_select(0, index) for rows in (self.x, self.y, self.task))
        return Batch(x, y, task)

    def to(self, device: torch.device) -> None:
        """Move the samples to a device, if they are not there."""
        if self._held and self._held["x"].device != device:
            self._held = {name: held.to(device) for name, held in self._held.items()}

    def state_dict(self) -> dict[str, Any]:
        """The samples and their keys; the tensors are the memory's own."""
        held = {name: values[: len(self)] for name, values in self._held.items()}
        return {"key": self.key, "group": self.group, "held": held}

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
        self.key, self.group = state["key"].cpu().clone(), state["group"].cpu().clone()
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
        stays[rank.topk(surplus, sorted=False).indices] = False
        leaving = (~stays[:size]).nonzero().flatten()
        slots = torch.cat([leaving, torch.arange(size, self.capacity)])
        return stays[size:].nonzero().flatten(), slots

    def _write(self, name: str, slots: Tensor, values: Tensor, size: int) -> None:
        held = self._held.get(name)
        if held is None:
            held = values.new_empty(0, *values.shape[1:])
        if name == "logits":
            width = max(held.shape[1], values.shape[1])
            held, values = _widened(held, width), _widened(values, width)
        if len(held) < size:
            room = min(self.capacity, max(size, 2 * len(held)))
            held = torch.cat([held, held.new_empty(room - len(held), *held.shape[1:])])
        held[slots] = values
        self._held[name] = held


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


def joined(batches: Sequence[Batch]) -> Batch:
    """One batch of the samples of several, each sample with its own task."""
    return Batch(
        torch.cat([batch.x for batch in batches]),
        torch.cat([batch.y for batch in batches]),
        torch.cat([batch.tasks() for batch in batches]),
    )


def _placed(held: Tensor, slots: Tensor, values: Tensor, size: int) -> Tensor:
    grown = torch.cat([held, held.new_empty(size - len(held))])
    grown[slots] = values
    return grown


def _widened(logits: Tensor, width: int) -> Tensor:
    return functional.pad(logits, (0, width - logits.shape[1]), value=math.nan)


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
