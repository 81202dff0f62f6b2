"""What a base and its tasks take: in bytes as stored, and as the paper counts."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from holdfast.methods.halrp.adapted import Adapted
from holdfast.methods.halrp.layers import Free, PerTask, Perturbation, Perturbed
from holdfast.methods.halrp.packed_file import packed
from holdfast.nets.heads import TaskHeads
from holdfast.nets.learner import Learner
from holdfast.probes.size import Size, measured_size

_ZERO = 1e-8
"""The authors' code counts entries of U and V above it."""


@dataclass(frozen=True)
class TaskSize:
    """What one task has, in numbers, and what they take in bytes.

    Args:
        scales: entries of r and s.
        low_rank: entries of U and V.
        nonzero: those of them that are not 0.
        biases: of perturbed layers.
        norms: trained parameters of norm layers.
        statistics: their running statistics.
        head: parameters of the head.
        free: of weights of its own, while the task warms up.
        paper: what the paper's count takes of these: scales, U and V above 1e-8, norms, head.
        bytes: of all of it in the file of `save_packed`, without names.
    """

    scales: int = 0
    low_rank: int = 0
    nonzero: int = 0
    biases: int = 0
    norms: int = 0
    statistics: int = 0
    head: int = 0
    free: int = 0
    paper: int = 0
    bytes: int = 0

    @property
    def numbers(self) -> int:
        """All that are stored: of U and V those that are not 0."""
        trained = self.scales + self.nonzero + self.biases + self.norms + self.head + self.free
        return trained + self.statistics


@dataclass(frozen=True)
class Sizes:
    """What a model and its tasks take.

    Args:
        base: numbers in the base (with the head of the first task, if it is the base's own):
            parameters, as the paper counts.
        base_bytes: of them and of buffers.
        tasks: of each task but the base's own, in order of arrival.
        names: bytes of all names, shapes and other text, compressed.
        bytes: of the whole file of `save_packed`.
    """

    base: int
    base_bytes: int
    tasks: dict[str, TaskSize]
    names: int
    bytes: int

    @property
    def growth(self) -> float:
        """Bytes of the whole over those of the base's values, less 1: nothing left out."""
        return self.bytes / self.base_bytes - 1

    @property
    def growth_paper(self) -> float:
        """Parameters over those of the base, less 1, as the paper counts them.

        Without biases, running statistics, and what it takes to say which entries are 0.
        """
        return sum(task.paper for task in self.tasks.values()) / self.base

    @property
    def growth_paper_dense(self) -> float:
        """`growth_paper` with all entries of U and V, zeros too."""
        tasks = self.tasks.values()
        return sum(t.scales + t.low_rank + t.norms + t.head for t in tasks) / self.base

    def text(self) -> str:
        """A row a task."""
        heads = ("scales", "U, V", "not 0", "biases", "norms", "statistics", "head", "bytes")
        rows = [
            (
                t.scales, t.low_rank, t.nonzero, t.biases, t.norms, t.statistics, t.head, t.bytes,
            )
            for t in self.tasks.values()
        ]  # fmt: skip
        total = tuple(map(sum, zip(*rows, strict=True))) if rows else (0,) * len(heads)
        width = max(len("task"), *(len(n) for n in ("all", *self.tasks)))
        lines = [f"{'task':{width}}" + "".join(f"{h:>12}" for h in heads)]
        for name, row in zip((*self.tasks, "all"), (*rows, total), strict=True):
            lines.append(f"{name:{width}}" + "".join(f"{v:12,d}" for v in row))
        lines.append(
            f"base {self.base:,} parameters, {self.base_bytes:,} bytes; file {self.bytes:,} bytes, "
            f"{self.names:,} of them names: growth {self.growth:+.2%} "
            f"(the paper's count {self.growth_paper:+.2%})"
        )
        return "\n".join(lines)


@torch.no_grad()
def sizes(model: Adapted | Learner) -> Sizes:
    """What a base and all its tasks take.

    Args:
        model: adapted, or a learner with an adapted backbone.

    Raises:
        TypeError: it is neither.
    """
    adapted = model.backbone if isinstance(model, Learner) else model
    if not isinstance(adapted, Adapted):
        raise TypeError(
            f"model must be Adapted, or a Learner with one, got {type(model).__name__}"
            + (f" with {type(adapted).__name__}" if isinstance(model, Learner) else "")
        )
    contents = packed(model)
    counts = {name: dict.fromkeys(TaskSize.__annotations__, 0) for name in adapted.names}
    for module in adapted.modules():
        if isinstance(module, Perturbed | PerTask):
            for name, own in module.tasks.items():
                _count(counts[name], module, own)
    bytes_of = dict.fromkeys(adapted.names, 0)
    base_bytes, texts = 0, 0
    for name, size in contents.parts.items():
        task = _task_of(name, adapted)
        if name.endswith("_extra_state"):
            texts += size
        elif task is None:
            base_bytes += size
        else:
            bytes_of[task] += size
    base = sum(p.numel() for p in adapted.base_parameters())
    if isinstance(model, Learner) and isinstance(model.heads, TaskHeads):
        for name, head in model.heads.heads.items():
            held = sum(p.numel() for p in head.parameters())
            if name in counts:
                counts[name]["head"] += held
            else:
                base += held
    elif isinstance(model, Learner):
        base += sum(p.numel() for p in model.heads.parameters())
    tasks = {}
    for name, count in counts.items():
        paper = count["paper"] + count["scales"] + count["norms"] + count["head"]
        tasks[name] = TaskSize(**{**count, "paper": paper, "bytes": bytes_of[name]})
    return Sizes(base, base_bytes, tasks, contents.names + texts, len(contents.content))


def _count(counts: dict[str, int], module: Perturbed | PerTask, own: nn.Module) -> None:
    if isinstance(own, Perturbation):
        low: list[Tensor] = [own.U, own.V]
        counts["scales"] += own.r.numel() + own.s.numel()
        counts["low_rank"] += sum(t.numel() for t in low)
        counts["nonzero"] += sum(int(t.count_nonzero()) for t in low)
        counts["paper"] += sum(int((t.abs() > _ZERO).sum()) for t in low)
        counts["biases"] += 0 if own.bias is None else own.bias.numel()
    elif isinstance(own, Free):
        counts["free"] += own.weight.numel()
        counts["biases"] += 0 if own.bias is None else own.bias.numel()
    else:
        part = "head" if isinstance(module, PerTask) and module.head else "norms"
        counts[part] += sum(p.numel() for p in own.parameters())
        counts["statistics"] += sum(b.numel() for b in own.buffers())


def _task_of(name: str, adapted: Adapted) -> str | None:
    """The task that a tensor of a model's state belongs to; `None` for the base."""
    for mark in (".tasks.", "heads.heads."):
        _, found, rest = name.partition(mark)
        task = rest.partition(".")[0]
        if found and task in adapted.names:
            return task
    return None


@measured_size.register
def _(backbone: Adapted, learner: Learner) -> Size:
    found = sizes(learner)
    counted = found.base + sum(task.paper for task in found.tasks.values())
    return Size(found.bytes, counted, found.base_bytes, found.base)
