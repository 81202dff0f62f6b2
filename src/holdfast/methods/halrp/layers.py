"""Layers with a base that stays and a small change of it for each task."""

import copy
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from holdfast.methods.halrp.decompose import Decomposition
from holdfast.methods.halrp.kinds import (
    ConvMode,
    Shape,
    apply_weight,
    is_transposed,
    multiplier,
    raw_weight,
    read_factor,
)
from holdfast.methods.halrp.perturbation import Free as Free
from holdfast.methods.halrp.perturbation import Perturbation as Perturbation


class Perturbed(nn.Module):
    """A layer that computes another function for each task.

    With no task active, or one that is the base's own, it is the base. What else is asked of it,
    such as ``in_features``, is asked of the base.

    Args:
        base: the layer, of a kind in `holdfast.methods.halrp.kinds`; it is not copied.
        conv: mode of a convolution's low-rank part.
    """

    def __init__(self, base: nn.Module, conv: ConvMode = "flat") -> None:
        super().__init__()
        self.base = base
        self.shape = Shape.of(base, conv)
        self.tasks = nn.ModuleDict()
        self.active: str | None = None
        self.folded: str | None = None
        # Buffers, so that they move and are copied with the layer; no part of its state.
        self.register_buffer("folded_weight", None, persistent=False)

    @property
    def base_weight(self) -> Tensor:
        """W_0: the raw parameter, (out, in, ...)."""
        return raw_weight(self.base)

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
        bias = self.bias
        if self.folded is not None and self.folded == self.active:
            return apply_weight(self.base, x, cast(Tensor, self.folded_weight), bias)
        if isinstance(own, Free):
            return apply_weight(self.base, x, own.weight, bias)
        if isinstance(self.base, nn.Conv1d | nn.Conv2d):
            # A convolution's weight is small beside what it is applied to: making it is cheaper
            # than convolving twice, and than the gradient of the scaled input.
            return apply_weight(self.base, x, own.weight(self.shape, self.base_weight), bias)
        y = functional.linear(x * own.s if own.scaled else x, self.base_weight)
        if own.scaled:
            # Under autocast the product has fewer digits than r; the output keeps its dtype.
            y = y * own.r.to(y.dtype)
        if own.rank:
            low = functional.linear(x, own.V)
            low = low if own.factor is None else low * own.factor.to(low.dtype)
            y = y + functional.linear(low, own.U)
        m = multiplier(self.base)
        y = y if m == 1 else y * m
        return y if bias is None else y + bias.to(y.dtype)

    def raw(self) -> Tensor:
        """The raw weight of the active task, (out, in, ...)."""
        own = self.current()
        if own is None:
            return self.base_weight
        return own.weight if isinstance(own, Free) else own.weight(self.shape, self.base_weight)

    @property
    def weight(self) -> Tensor:
        """The weight of the active task, as others would read it from a plain layer."""
        weight = self.raw().T if is_transposed(self.base) else self.raw()
        factor = read_factor(self.base)
        return weight if factor == 1 else weight * factor

    @property
    def bias(self) -> Tensor | None:
        """The bias of the active task."""
        own = self.current()
        shared = own is None or own.bias is None
        return cast(Tensor | None, self.base.bias) if shared or own is None else own.bias

    def __getattr__(self, name: str) -> Any:
        """What is not the layer's own is the base's."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name.startswith("_") or "base" not in self.__dict__.get("_modules", {}):
                raise
            return getattr(self.base, name)

    def free(self, task: str, beginning: str | None = None) -> Free:
        """Give the task a weight and bias of its own, as those of `beginning` (default: base)."""
        before, self.active = self.active, beginning
        self.tasks[task] = made = Free(self.raw(), self.bias)
        self.active = before
        return made

    def perturb(
        self,
        task: str,
        rank: int,
        scaled: bool = True,
        biased: bool = True,
        factor: float | None = None,
    ) -> Perturbation:
        """Give the task a perturbation that changes nothing yet; its bias is that it had, if any.

        Args:
            task: its id.
            rank: see `Perturbation`.
            scaled: see `Perturbation`.
            factor: see `Perturbation`.
            biased: whether it has a bias of its own where the layer has one.

        Raises:
            ValueError: a rank below 0 or above what the matrix can have.
        """
        if not 0 <= rank <= self.shape.largest_rank:
            raise ValueError(
                f"rank must be from 0 to {self.shape.largest_rank} (the matrix is "
                f"{self.shape.rows} x {self.shape.columns}), got {rank}"
            )
        held = _held(self.tasks, task) or self.base
        bias = cast(Tensor | None, held.bias) if biased else None
        made = Perturbation(self.shape, rank, bias, self.base_weight, scaled, factor)
        self.tasks[task] = made
        return made

    @torch.no_grad()
    def settle(self, task: str, found: Decomposition, rank: int) -> None:
        """Put the task's free weight aside for its decomposition at a rank."""
        own = self.perturb(task, rank)
        root = found.values[:rank].sqrt()
        own.r.copy_(found.r)
        own.s.copy_(found.s)
        own.U.copy_(found.left[:, :rank] * root)
        own.V.copy_(root[:, None] * found.right[:rank])

    def built(self, state: dict[str, Tensor]) -> Perturbation:
        """A perturbation of its state, as `state_dict` gives it.

        Raises:
            ValueError: it does not fit the layer.
        """
        return _filled(self._like_state(state), state)

    def _like_state(self, state: Mapping[str, Tensor]) -> Perturbation:
        bias = cast(Tensor | None, self.base.bias)
        return Perturbation.like_state(state, self.shape, bias, self.base_weight)

    @torch.no_grad()
    def fold(self, task: str) -> None:
        """Keep the task's whole weight at hand, so that it is not made at each call."""
        before, self.active = self.active, task
        self.folded_weight = None if self.current() is None else self.raw().clone()
        self.folded, self.active = task, before

    def unfold(self) -> None:
        """Drop what `fold` kept."""
        self.folded, self.folded_weight = None, None

    @torch.no_grad()
    def merged(self, task: str | None) -> nn.Module:
        """A plain layer that computes what this one does for the task; nothing is shared."""
        before, self.active = self.active, task
        layer = copy.deepcopy(self.base)
        raw_weight(layer).copy_(self.raw())
        if layer.bias is not None:
            cast(Tensor, layer.bias).copy_(cast(Tensor, self.bias))
        self.active = before
        return layer.requires_grad_(True)

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *rest: Any) -> None:
        stored = _tasks(state, prefix)
        self.unfold()
        for task in [t for t in self.tasks if t not in stored]:
            del self.tasks[task]
        for task in stored:
            at = f"{prefix}tasks.{task}."
            if at + "weight" in state:
                if not isinstance(_held(self.tasks, task), Free):
                    self.free(task)
            else:
                own = {k.removeprefix(at): v for k, v in state.items() if k.startswith(at)}
                made, held = self._like_state(own), _held(self.tasks, task)
                if not isinstance(held, Perturbation) or _outline(held) != _outline(made):
                    self.tasks[task] = made
        super()._load_from_state_dict(state, prefix, *rest)

    def extra_repr(self) -> str:
        """Mode and active task."""
        return f"conv={self.shape.conv!r}, active={self.active!r}"


class PerTask(nn.Module):
    """A module of which every task has its own: norm layers with their statistics, heads.

    What else is asked of it, such as ``eps``, is asked of the active task's.

    Args:
        base: what tasks without their own use.
        head: whether tasks begin with newly drawn weights and may have other numbers of outputs
            (`torch.nn.Linear` alone); else with a copy.
    """

    def __init__(self, base: nn.Module, head: bool = False) -> None:
        super().__init__()
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

    def __getattr__(self, name: str) -> Any:
        """What is not the module's own is the active task's."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name.startswith("_") or "base" not in self.__dict__.get("_modules", {}):
                raise
            return getattr(self.current(), name)

    def begin(self, task: str, beginning: str | None = None, outputs: int | None = None) -> None:
        """Give the task its own: a copy of the base's or another task's, or a new head.

        Heads are drawn from torch's global generator.
        """
        start = None if beginning is None else _held(self.tasks, beginning)
        made = copy.deepcopy(self.base if start is None else start).requires_grad_(True)
        if self.head and isinstance(made, nn.Linear):
            self._resize(made, outputs or made.out_features)
            made.reset_parameters()
        # As the others, whatever mode the base is in, where running statistics must not move.
        self.tasks[task] = made.train(self.training)

    def built(self, state: dict[str, Tensor]) -> nn.Module:
        """The module of its state, as `state_dict` gives it.

        Raises:
            ValueError: it does not fit the module.
        """
        made = copy.deepcopy(self.base).requires_grad_(True)
        if self.head and isinstance(made, nn.Linear) and "weight" in state:
            self._resize(made, len(state["weight"]))
        return _filled(made, state).train(self.training)

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


_M = TypeVar("_M", bound=nn.Module)


def _filled(module: _M, state: dict[str, Tensor]) -> _M:
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(f"state does not fit the module: {error}") from error
    return module


def _outline(module: nn.Module) -> dict[str, torch.Size]:
    return {name: t.shape for name, t in module.state_dict().items()}


def _held(tasks: nn.ModuleDict, task: str) -> nn.Module | None:
    return tasks[task] if task in tasks else None  # noqa: SIM401 (a ModuleDict has no get)


def _tasks(state: dict[str, Any], prefix: str) -> list[str]:
    at = prefix + "tasks."
    return list(dict.fromkeys(k[len(at) :].split(".")[0] for k in state if k.startswith(at)))


def perturbed_layers(model: nn.Module) -> Iterator[tuple[str, Perturbed]]:
    """The perturbed layers of a model, by the names their bases had."""
    return ((n, m) for n, m in model.named_modules() if isinstance(m, Perturbed))


def switching(model: nn.Module) -> Iterator[tuple[str, Perturbed | PerTask]]:
    """All that differs by task, by the names of their bases."""
    return ((n, m) for n, m in model.named_modules() if isinstance(m, Perturbed | PerTask))


def per_task_modules(model: nn.Module) -> Iterator[tuple[str, PerTask]]:
    """The modules that each task has a copy of."""
    return ((n, m) for n, m in model.named_modules() if isinstance(m, PerTask))
