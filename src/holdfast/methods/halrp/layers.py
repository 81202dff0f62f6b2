"""Layers with a base that stays and a small change of it for each task."""

import copy
from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from holdfast.methods.halrp.kinds import ConvMode, Layer, Shape, apply_weight, multiplier


class Perturbation(nn.Module):
    """One task's change of one layer: W_t = diag(r) W_0 diag(s) + U V, and a bias of its own.

    Args:
        shape: of the layer.
        rank: columns of U and rows of V; 0 leaves r and s alone.
        bias: where the task's bias starts; `None` for a layer without one.
        like: dtype and device.

    r and s start at 1, U and V at 0.
    """

    def __init__(self, shape: Shape, rank: int, bias: Tensor | None, like: Tensor) -> None:
        super().__init__()
        self.r = nn.Parameter(like.new_ones(shape.out))
        self.s = nn.Parameter(like.new_ones(shape.into * shape.groups))
        self.U = nn.Parameter(like.new_zeros(shape.rows, rank))
        self.V = nn.Parameter(like.new_zeros(rank, shape.columns))
        self.bias = None if bias is None else nn.Parameter(bias.detach().clone())

    @property
    def rank(self) -> int:
        """Of the low-rank part."""
        return self.V.shape[0]

    def weight(self, shape: Shape, base: Tensor) -> Tensor:
        """W_t."""
        return shape.scaled(base, self.r, self.s) + shape.weight(self.U @ self.V, base)

    def extra_repr(self) -> str:
        """The rank."""
        return f"rank={self.rank}"


class Free(nn.Module):
    """One task's layer while it warms up: a weight and a bias that may become anything.

    Args:
        weight, bias: where they start.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.detach().clone())
        self.bias = None if bias is None else nn.Parameter(bias.detach().clone())


class Perturbed(nn.Module):
    """A linear layer or a convolution that computes another function for each task.

    With no task active, or one that is the base's own, it is the base.

    Args:
        base: the layer; it is not copied.
        conv: mode of a convolution's low-rank part.
    """

    def __init__(self, base: Layer, conv: ConvMode = "flat") -> None:
        super().__init__()
        self.base = base
        self.shape = Shape.of(base, conv)
        self.tasks = nn.ModuleDict()
        self.active: str | None = None

    def current(self) -> Perturbation | Free | None:
        """What the active task does to the layer."""
        if self.active is None or self.active not in self.tasks:
            return None
        return cast(Perturbation | Free, self.tasks[self.active])

    def forward(self, x: Tensor) -> Tensor:
        """What the layer of the active task makes of `x`."""
        own = self.current()
        if own is None:
            return self.base(x)
        if isinstance(own, Free):
            return apply_weight(self.base, x, own.weight, own.bias)
        if not isinstance(self.base, nn.Linear):
            # A convolution's weight is small beside what it is applied to: making it is cheaper
            # than convolving twice, and than the gradient of the scaled input.
            return apply_weight(self.base, x, own.weight(self.shape, self.base.weight), own.bias)
        y = functional.linear(x * own.s, self.base.weight) * own.r
        if own.rank:
            y = y + functional.linear(functional.linear(x, own.V), own.U)
        m = multiplier(self.base)
        y = y if m == 1 else y * m
        return y if own.bias is None else y + own.bias

    @property
    def weight(self) -> Tensor:
        """The weight of the active task, as a plain layer would have it."""
        own = self.current()
        if own is None:
            return self.base.weight
        return own.weight if isinstance(own, Free) else own.weight(self.shape, self.base.weight)

    @property
    def bias(self) -> Tensor | None:
        """The bias of the active task."""
        own = self.current()
        return self.base.bias if own is None else own.bias

    def free(self, task: str, beginning: str | None = None) -> Free:
        """Give the task a weight and bias of its own, as those of `beginning` (default: base)."""
        before, self.active = self.active, beginning
        self.tasks[task] = made = Free(self.weight, self.bias)
        self.active = before
        return made

    def perturb(self, task: str, rank: int) -> Perturbation:
        """Give the task a perturbation that changes nothing yet; its bias is that it had, if any.

        Raises:
            ValueError: a rank below 0 or above what the matrix can have.
        """
        if not 0 <= rank <= self.shape.largest_rank:
            raise ValueError(
                f"rank must be from 0 to {self.shape.largest_rank} (the matrix is "
                f"{self.shape.rows} x {self.shape.columns}), got {rank}"
            )
        held = _held(self.tasks, task) or self.base
        bias = cast(Tensor | None, held.bias)
        made = Perturbation(self.shape, rank, bias, self.base.weight)
        self.tasks[task] = made
        return made

    def merged(self, task: str | None) -> Layer:
        """A plain layer that computes what this one does for the task; nothing is shared."""
        before, self.active = self.active, task
        layer = copy.deepcopy(self.base)
        with torch.no_grad():
            layer.weight.copy_(self.weight)
            if layer.bias is not None:
                layer.bias.copy_(cast(Tensor, self.bias))
        self.active = before
        return layer.requires_grad_(True)

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *rest: Any) -> None:
        stored = _tasks(state, prefix)
        for task in [t for t in self.tasks if t not in stored]:
            del self.tasks[task]
        for task in stored:
            at = f"{prefix}tasks.{task}."
            if at + "weight" in state:
                if not isinstance(_held(self.tasks, task), Free):
                    self.free(task)
            else:
                rank = state[at + "V"].shape[0]
                held = _held(self.tasks, task)
                if not isinstance(held, Perturbation) or held.rank != rank:
                    self.perturb(task, rank)
        super()._load_from_state_dict(state, prefix, *rest)

    def extra_repr(self) -> str:
        """Mode and active task."""
        return f"conv={self.shape.conv!r}, active={self.active!r}"


class PerTask(nn.Module):
    """A module of which every task has its own: norm layers with their statistics, heads.

    Args:
        base: what tasks without their own use.
        head: whether tasks begin with newly drawn weights and may have other numbers of outputs
            (`torch.nn.Linear` alone); else with a copy.
    """

    def __init__(self, base: nn.Module, head: bool = False) -> None:
        super().__init__()
        if head and not isinstance(base, nn.Linear):
            raise ValueError(f"heads must name torch.nn.Linear layers, got {type(base).__name__}")
        self.base = base
        self.head = head
        self.tasks = nn.ModuleDict()
        self.active: str | None = None

    def current(self) -> nn.Module:
        """The active task's."""
        if self.active is None or self.active not in self.tasks:
            return self.base
        return self.tasks[self.active]

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """What the active task's module makes of it."""
        return self.current()(*inputs, **named)

    def begin(self, task: str, beginning: str | None = None, outputs: int | None = None) -> None:
        """Give the task its own: a copy of the base's or another task's, or a new head."""
        self.tasks[task] = made = copy.deepcopy(
            (beginning is not None and _held(self.tasks, beginning)) or self.base
        ).requires_grad_(True)
        if self.head and isinstance(made, nn.Linear):
            self._resize(made, outputs or made.out_features)
            made.reset_parameters()

    def _resize(self, made: nn.Linear, outputs: int) -> None:
        made.out_features = outputs
        made.weight = nn.Parameter(made.weight.data.new_empty(outputs, made.in_features))
        if made.bias is not None:
            made.bias = nn.Parameter(made.bias.data.new_empty(outputs))

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *rest: Any) -> None:
        stored = _tasks(state, prefix)
        for task in [t for t in self.tasks if t not in stored]:
            del self.tasks[task]
        for task in stored:
            if task not in self.tasks:
                self.tasks[task] = copy.deepcopy(self.base).requires_grad_(True)
            made = self.tasks[task]
            if self.head and isinstance(made, nn.Linear):
                self._resize(made, len(state[f"{prefix}tasks.{task}.weight"]))
        super()._load_from_state_dict(state, prefix, *rest)


def _held(tasks: nn.ModuleDict, task: str) -> nn.Module | None:
    return tasks[task] if task in tasks else None  # noqa: SIM401 (a ModuleDict has no get)


def _tasks(state: dict[str, Any], prefix: str) -> list[str]:
    at = prefix + "tasks."
    return list(dict.fromkeys(k[len(at) :].split(".")[0] for k in state if k.startswith(at)))


def perturbed_layers(model: nn.Module) -> Iterator[tuple[str, Perturbed]]:
    """The perturbed layers of a model, by the names their bases had."""
    return ((n, m) for n, m in model.named_modules() if isinstance(m, Perturbed))


def per_task_modules(model: nn.Module) -> Iterator[tuple[str, PerTask]]:
    """The modules that each task has a copy of."""
    return ((n, m) for n, m in model.named_modules() if isinstance(m, PerTask))
