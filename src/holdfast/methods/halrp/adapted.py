"""A network that is another one for each task, on one base that stays."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from holdfast.methods.halrp.decompose import Decomposition
from holdfast.methods.halrp.kinds import ConvMode, check_conv_mode
from holdfast.methods.halrp.layers import (
    PerTask,
    Perturbation,
    Perturbed,
    per_task_modules,
    perturbed_layers,
)
from holdfast.methods.halrp.swap import merged, survey, swap
from holdfast.starts.fingerprint import fingerprint

Task = int | str


class Adapted(nn.Module):
    """A model and the tasks it has learned: each a few percent of it, none touching another.

    Made by `adapt`. For task t every linear layer and convolution has the weight

        W_t = diag(r_t) W_0 diag(s_t) + U_t V_t

    and a bias of its own, and every norm layer and head is the task's own. W_0, the *base*, is
    frozen and the same for all. Li et al. (2024), "Hessian Aware Low-Rank Perturbation for
    Order-Robust Continual Learning", eq. of section 3; here for any module.

    Called as ``model(x, task)``: task is the id of one task, (n,) ids of a task for each sample,
    or `None` for the active one. All that tasks have are registered parameters and buffers:
    moving, copying, `state_dict` and loading it (into a model adapted alike) work as ever.

    Args:
        model: to adapt, in place. Its own task is the base.
        conv: of the low-rank part of convolutions, see `holdfast.methods.halrp.ConvMode`.
        heads: names of modules that each task has its own of, newly drawn.
        skip: names of modules that are left as they are, with all below them.
        freeze_others: whether modules with parameters of kinds that cannot be perturbed are left
            as they are instead of refused.
        base_task: id of the task that the model itself is for, or `None`.
    """

    per_task = True

    def __init__(
        self,
        model: nn.Module,
        conv: ConvMode = "flat",
        heads: Sequence[str] = (),
        skip: Sequence[str] = (),
        freeze_others: bool = False,
        base_task: Task | None = None,
    ) -> None:
        super().__init__()
        check_conv_mode(conv)
        strangers = [n for n in (*heads, *skip) if n not in dict(model.named_modules())]
        if strangers:
            raise ValueError(
                f"heads and skip must name modules of the model, which has no {strangers[:3]}"
            )
        self.left, others = survey(model, tuple(heads), tuple(skip))
        if others and not freeze_others:
            kinds = sorted({type(model.get_submodule(n)).__name__ for n in others})
            raise ValueError(
                f"modules {others[:5]} ({', '.join(kinds)}) have parameters that cannot be "
                "perturbed; name them in skip, or leave all such as they are with freeze_others"
            )
        self.left += others
        self.conv = conv
        self.model = swap(model, "", conv, tuple(heads), (*skip, *others))
        self.base_task = None if base_task is None else str(base_task)
        self.names: list[str] = []
        self.active: str | None = None
        self._base: str | None = None

    # -- tasks

    @property
    def tasks(self) -> tuple[str, ...]:
        """Ids of the tasks in order of arrival, the base's own first."""
        return tuple(self.names if self.base_task is None else [self.base_task, *self.names])

    def known(self, task: Task) -> str:
        """The id of a task that is there.

        Raises:
            ValueError: it is not.
        """
        if str(task) not in self.tasks:
            raise ValueError(f"task {task!r} is unknown; there are {list(self.tasks)}")
        return str(task)

    def add(
        self, task: Task, ranks: Mapping[str, int] | int = 0, outputs: int | None = None
    ) -> None:
        """Room for a task, which computes what the base does until it is trained.

        The base is frozen from here on.

        Args:
            task: its id, without dots.
            ranks: of each perturbed layer by name, or one for all (as far as a layer can have it).
            outputs: of the task's own heads; as many as the base's by default.

        Raises:
            ValueError: the task is there already, a layer is unknown, a rank does not fit, or the
                base has changed since tasks were added.
        """
        name, layers = self._new(task), dict(perturbed_layers(self.model))
        if isinstance(ranks, int):
            ranks = {n: min(ranks, layer.shape.largest_rank) for n, layer in layers.items()}
        _check_ranks(ranks, layers)
        for at, layer in layers.items():
            layer.perturb(name, ranks.get(at, 0))
        self._own_modules(name, None, outputs)
        self.names.append(name)

    def add_free(
        self, task: Task, beginning: Task | None = None, outputs: int | None = None
    ) -> None:
        """Room for a task with weights of its own: to warm up before its ranks are chosen.

        Args:
            task: its id.
            beginning: whose weights it starts from; those of the base by default.
            outputs: as in `add`.
        """
        name = self._new(task)
        start = None if beginning is None else self.known(beginning)
        for _, layer in perturbed_layers(self.model):
            layer.free(name, start)
        self._own_modules(name, start, outputs)
        self.names.append(name)

    def settle(
        self, task: Task, found: Mapping[str, Decomposition], ranks: Mapping[str, int]
    ) -> None:
        """Put a free task's weights aside for the nearest of the given ranks.

        U = u sqrt(sigma) and V = sqrt(sigma) v of the first triplets, r and s as found. Bias, norm
        layers and heads stay as they are.

        Args:
            task: added by `add_free`.
            found: decomposition of each layer's free weight.
            ranks: of each layer.

        Raises:
            ValueError: the task is unknown, or a layer or rank does not fit.
        """
        name, layers = self.known(task), dict(perturbed_layers(self.model))
        _check_ranks(ranks, layers)
        for at, layer in layers.items():
            d, k = found[at], ranks.get(at, 0)
            own = layer.perturb(name, k)
            root = d.values[:k].sqrt()
            with torch.no_grad():
                own.r.copy_(d.r)
                own.s.copy_(d.s)
                own.U.copy_(d.left[:, :k] * root)
                own.V.copy_(root[:, None] * d.right[:k])

    def remove(self, task: Task) -> None:
        """Forget a task; all else stays as it is.

        Raises:
            ValueError: the task is unknown, or the base's own.
        """
        name = self.known(task)
        if name == self.base_task:
            raise ValueError(f"task {name!r} is the base's own, which all others rest on")
        for module in self._switching():
            if name in module.tasks:
                del module.tasks[name]
        self.names.remove(name)
        if self.active == name:
            self.activate(None)

    def activate(self, task: Task | None) -> "Adapted":
        """Compute what a task does from now on; `None` for the base."""
        name = None if task is None else self.known(task)
        for module in self._switching():
            module.active = name
        self.active = name
        return self

    @contextmanager
    def as_task(self, task: Task | None) -> Iterator["Adapted"]:
        """With a task active for a while."""
        before = self.active
        self.activate(task)
        try:
            yield self
        finally:
            self.activate(before)

    def own(self, task: Task) -> Iterator[tuple[str, nn.Parameter]]:
        """The parameters that are the task's alone."""
        name = self.known(task)
        mark = f".tasks.{name}."
        return ((n, p) for n, p in self.named_parameters() if mark in n)

    def train_only(self, task: Task | None) -> None:
        """Let gradients reach the parameters of one task alone, or the base's (`None`).

        What was frozen in the base when it was adapted is freed with it.
        """
        own = task is not None and self.known(task) != self.base_task
        chosen = {id(p) for _, p in self.own(task)} if own and task is not None else None
        for n, p in self.named_parameters():
            p.requires_grad_(".tasks." not in n if chosen is None else id(p) in chosen)

    # -- the base

    def freeze(self) -> None:
        """Freeze the base as it is, and remember it."""
        for n, p in self.named_parameters():
            if ".tasks." not in n:
                p.requires_grad_(False)
        self._base = self.fingerprint()

    def fingerprint(self) -> str:
        """A checksum of the base's parameters and buffers."""
        return fingerprint(self.base())

    def check_base(self) -> None:
        """Refuse to go on with a base that is no longer what the tasks were made for.

        Raises:
            ValueError: it has changed.
        """
        if self._base is not None and self.names and self.fingerprint() != self._base:
            raise ValueError(
                f"the base has changed since tasks {self.names} were added to it, so that they no "
                "longer compute what they learned; load the base they were made for"
            )

    def base(self) -> nn.Module:
        """The plain model of no task, a copy."""
        return self.merge(None)

    # -- use

    def forward(self, x: Any = None, task: Task | Tensor | None = None, **named: Any) -> Any:
        """The output of the task, or of each sample's own task.

        Args:
            x: input of the model; may be left out where it takes named ones alone.
            task: see above.
            named: further inputs of the model.
        """
        inputs = () if x is None else (x,)
        if task is None:
            return self.model(*inputs, **named)
        if isinstance(task, Tensor):
            return self._mixed(inputs, task, named)
        with self.as_task(task):
            return self.model(*inputs, **named)

    def _mixed(self, inputs: tuple[Any, ...], task: Tensor, named: dict[str, Any]) -> Tensor:
        n = len(task)
        found: Tensor | None = None
        for one in task.unique().tolist():
            rows = (task == one).nonzero().squeeze(1)

            def pick(v: Any, rows: Tensor = rows) -> Any:
                return v[rows] if isinstance(v, Tensor) and v.ndim and len(v) == n else v

            with self.as_task(int(one)):
                out = self.model(*map(pick, inputs), **{k: pick(v) for k, v in named.items()})
            if not isinstance(out, Tensor):
                raise TypeError(
                    f"task may name a task for each sample only where the model gives one tensor, "
                    f"it gave {type(out).__name__}; call it for one task at a time"
                )
            found = out.new_empty(n, *out.shape[1:]) if found is None else found
            found = found.index_copy(0, rows, out)
        assert found is not None
        return found

    def merge(self, task: Task | None) -> nn.Module:
        """One plain network, a copy of its own, that computes what this one does for the task.

        The base is checked to be the one the task was made for, see `check_base`.
        """
        name = None if task is None else self.known(task)
        if name is not None:
            self.check_base()
        return merged(self.model, name)

    # -- inside

    def _switching(self) -> list[Perturbed | PerTask]:
        return [m for m in self.model.modules() if isinstance(m, Perturbed | PerTask)]

    def _new(self, task: Task) -> str:
        name = str(task)
        if name in self.tasks:
            raise ValueError(f"task {name!r} is there already; remove it first")
        if not name or "." in name:
            raise ValueError(f"task must be a number or a name without dots, got {task!r}")
        self.check_base()
        if self._base is None:
            self.freeze()
        return name

    def _own_modules(self, name: str, beginning: str | None, outputs: int | None) -> None:
        for _, module in per_task_modules(self.model):
            module.begin(name, beginning, outputs)

    def get_extra_state(self) -> Tensor:
        """Ids in order and what the base was: JSON as bytes, for files of tensors alone."""
        text = json.dumps({"tasks": self.names, "base": self._base})
        return torch.tensor(list(text.encode()), dtype=torch.uint8)

    def set_extra_state(self, state: Tensor) -> None:
        """The inverse of `get_extra_state`."""
        held = json.loads(bytes(state.tolist()))
        self.names, self._base = list(held["tasks"]), held["base"]


def _check_ranks(ranks: Mapping[str, int], layers: Mapping[str, Perturbed]) -> None:
    strangers = [n for n in ranks if n not in layers]
    if strangers:
        raise ValueError(f"ranks name layers {strangers[:3]} that are not there: {list(layers)}")
    for name, rank in ranks.items():
        most = layers[name].shape.largest_rank
        if not 0 <= rank <= most:
            raise ValueError(f"rank of {name} must be from 0 to {most}, got {rank}")


def adapt(
    model: nn.Module,
    *,
    conv: ConvMode = "flat",
    heads: Sequence[str] = (),
    skip: Sequence[str] = (),
    freeze_others: bool = False,
    base_task: Task | None = None,
) -> Adapted:
    """Make a model one that can learn task after task on a base that stays; see `Adapted`.

    The model is changed in place and held by the result. Embeddings are left as they are, and
    named in `Adapted.left` with all else that is.

    Raises:
        ValueError: unknown names, or modules with parameters of kinds that cannot be perturbed.
    """
    return Adapted(model, conv, heads, skip, freeze_others, base_task)


def ranks(model: Adapted, task: Task) -> dict[str, int]:
    """The rank of each perturbed layer of a task."""
    name = model.known(task)
    found = ((n, layer.tasks[name]) for n, layer in perturbed_layers(model.model))
    return {n: own.rank for n, own in found if isinstance(own, Perturbation)}


@torch.no_grad()
def dense_size(model: nn.Module) -> int:
    """Parameters of a plain model."""
    return sum(p.numel() for p in model.parameters())
