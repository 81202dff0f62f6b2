"""A network that is another one for each task, on one base that stays."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from holdfast.methods.halrp import base, checks, task_file
from holdfast.methods.halrp.decompose import Decomposition
from holdfast.methods.halrp.kinds import ConvMode
from holdfast.methods.halrp.layers import per_task_modules, perturbed_layers, switching
from holdfast.methods.halrp.mixed import by_task
from holdfast.methods.halrp.plan import Plan
from holdfast.methods.halrp.swap import merged, swap
from holdfast.seeds import seeded

Task = int | str


class Adapted(nn.Module):
    """A model and the tasks it has learned: each a few percent of it, none touching another.

    Made by `adapt`. For task t every linear layer and convolution has the weight

        W_t = diag(r_t) W_0 diag(s_t) + U_t V_t

    and a bias of its own, and every norm layer and head is the task's own. W_0, the *base*, is
    frozen and the same for all. Li et al. (2024), "Hessian Aware Low-Rank Perturbation for
    Order-Robust Continual Learning", here for any module.

    Called as ``model(x, task)``: task is the id of one task, (n,) ids of a task for each sample,
    or `None` for the active one. All that tasks have are registered parameters and buffers:
    moving, copying, `state_dict` and loading it (into a model adapted alike) work as ever.
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
        heads, skip = checks.check_names("heads", heads), checks.check_names("skip", skip)
        self.base_task = None if base_task is None else checks.check_name(base_task, ())
        self.left, alone = checks.check_model(model, conv, heads, skip, freeze_others)
        self.conv = conv
        self.training = model.training  # so that adding tasks leaves the mode as it was
        self.model = swap(model, conv, heads, skip, tuple(alone))
        self.left += alone
        self.names: list[str] = []
        self.plans: dict[str, Plan] = {}
        self.active: str | None = None
        self.folded: str | None = None
        self._base: str | None = None

    @property
    def tasks(self) -> tuple[str, ...]:
        """Ids of the tasks in order of arrival, the base's own first."""
        return tuple(self.names if self.base_task is None else [self.base_task, *self.names])

    def known(self, task: Task) -> str:
        """The id of a task that is there; a `ValueError` if it is not."""
        if str(task) not in self.tasks:
            raise ValueError(f"task {task!r} is unknown; there are {list(self.tasks)}")
        return str(task)

    def add(
        self,
        task: Task,
        ranks: Mapping[str, int] | int = 0,
        outputs: int | None = None,
        seed: int = 0,
        *,
        scaled: bool = True,
        biased: bool = True,
        factor: float | None = None,
    ) -> None:
        """Room for a task, which computes what the base does until it is trained.

        The base is frozen from here on.

        Args:
            task: its id, a number or a name without dots.
            ranks: of each perturbed layer by name, or one for all (as far as a layer can have it).
            outputs: of the task's own heads; as many as the base's by default.
            seed: of the weights of its heads.
            scaled: whether it has r and s; else they stand for 1 and take no room.
            biased: whether it has biases of its own.
            factor: of U V, a constant; `None` for 1.

        Raises:
            ValueError: the task is there already, a layer is unknown, a rank does not fit, or the
                base has changed since tasks were added.
        """
        layers = dict(perturbed_layers(self.model))
        chosen = checks.check_ranks(ranks, layers)
        name = self._new(task, outputs, seed, factor)
        for at, layer in layers.items():
            layer.perturb(name, chosen[at], scaled, biased, factor)
        self._begin(name, None, outputs, seed)

    def add_free(
        self, task: Task, beginning: Task | None = None, outputs: int | None = None, seed: int = 0
    ) -> None:
        """Room for a task with weights of its own: to warm up before its ranks are chosen.

        Args:
            task: its id.
            beginning: whose weights it starts from; those of the base by default.
            outputs: as in `add`.
            seed: as in `add`.

        Raises:
            ValueError: as in `add`, or `beginning` is unknown.
        """
        start = None if beginning is None else self.known(beginning)
        name = self._new(task, outputs, seed)
        for _, layer in perturbed_layers(self.model):
            layer.free(name, start)
        self._begin(name, start, outputs, seed)

    def settle(
        self, task: Task, found: Mapping[str, Decomposition], ranks: Mapping[str, int] | Plan
    ) -> None:
        """Put a free task's weights aside for the nearest of the given ranks.

        U = u sqrt(sigma) and V = sqrt(sigma) v of the first triplets, r and s as found. The rest of
        the task stays as it is.

        Args:
            task: added by `add_free`.
            found: of each layer's free weight.
            ranks: of each layer; a `Plan` is kept in `plans`.

        Raises:
            ValueError: the task is unknown or folded, a layer is unknown or has no decomposition,
                or a rank does not fit.
        """
        name, layers = self.known(task), dict(perturbed_layers(self.model))
        self.refuse_folded(name, "settled")
        wanted = ranks.ranks if isinstance(ranks, Plan) else ranks
        chosen = checks.check_ranks(wanted, layers, found)
        for at, layer in layers.items():
            layer.settle(name, found[at], chosen[at])
        if isinstance(ranks, Plan):
            self.plans[name] = ranks

    def remove(self, task: Task) -> None:
        """Forget a task; all else stays as it is.

        Raises:
            ValueError: the task is unknown, or the base's own.
        """
        name = self.known(task)
        if name == self.base_task:
            raise ValueError(f"task {name!r} is the base's own, which all others rest on")
        if self.folded == name:
            self.unfold()
        for _, module in switching(self.model):
            if name in module.tasks:
                del module.tasks[name]
        self.names.remove(name)
        self.plans.pop(name, None)
        if self.active == name:
            self.activate(None)

    def activate(self, task: Task | None) -> "Adapted":
        """Compute what a task does from now on; `None` for the base."""
        name = None if task is None else self.known(task)
        if name != self.active:
            for _, module in switching(self.model):
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
        """The parameters that are the task's alone, by their names here."""
        chosen = {id(t) for t in base.of_task(self.model, self.known(task))}
        return ((n, p) for n, p in self.named_parameters() if id(p) in chosen)

    def train_only(self, task: Task | None) -> None:
        """Let gradients reach the parameters of one task alone, or the base's (`None`).

        What was frozen in the base when it was adapted is freed with it.

        Raises:
            ValueError: the task is unknown or folded, or the base is asked for though tasks rest
                on it.
        """
        name = None if task is None or self.known(task) == self.base_task else str(task)
        if name is not None:
            self.refuse_folded(name, "trained")
            chosen = {id(t) for t in base.of_task(self.model, name)}
        elif self.names:
            raise ValueError(
                f"the base cannot be trained: tasks {self.names[:5]} rest on it; remove them first"
            )
        else:
            self._base = None
            chosen = {id(p) for p in self.base_parameters()}
        for p in self.parameters():
            p.requires_grad_(id(p) in chosen)

    # -- the base

    def base_parameters(self) -> list[nn.Parameter]:
        """All that are no task's own, in the order of the plain model."""
        return base.base_parameters(self.model)

    def freeze(self) -> None:
        """Freeze the base as it is, and remember it."""
        for p in self.base_parameters():
            p.requires_grad_(False)
        self._base = self.fingerprint()
        self.train(self.training)

    def train(self, mode: bool = True) -> "Adapted":
        """As ever, but running statistics of a frozen base stay in evaluation mode."""
        super().train(mode)
        if self._base is not None:
            base.hold_statistics(self.model)
        return self

    def fingerprint(self) -> str:
        """That of the base, as `holdfast.starts.fingerprint` gives it for the plain model."""
        return base.base_fingerprint(self.model)

    def check_base(self) -> None:
        """Raise a `ValueError` if the base is no longer what the tasks were made for."""
        if self._base is not None and self.names and self.fingerprint() != self._base:
            raise ValueError(
                f"the base has changed since tasks {self.names} were added to it, so that they no "
                "longer compute what they learned; load the base they were made for"
            )

    def forward(self, x: Any = None, task: Task | Tensor | None = None, **named: Any) -> Any:
        """The output of the task, or of each sample's own; `x` where the model takes one."""
        inputs = () if x is None else (x,)
        if task is None:
            return self.model(*inputs, **named)
        if isinstance(task, Tensor):
            ids = checks.check_task_ids(task, self.known)
            return by_task(self._call, task, ids, inputs, named)
        return self._call(task, inputs, named)

    def _call(self, task: Task, inputs: Sequence[Any], named: Mapping[str, Any]) -> Any:
        with self.as_task(task):
            return self.model(*inputs, **named)

    def merge(self, task: Task | None) -> nn.Module:
        """One plain network, a copy of its own, that computes what this one does for the task.

        The base is checked to be the one the task was made for, see `check_base`.
        """
        name = None if task is None else self.known(task)
        if name is not None:
            self.check_base()
        return merged(self.model, name)

    def fold(self, task: Task) -> "Adapted":
        """Serve a task at the cost of the plain model: activate it and keep its weights whole.

        Takes the memory of one more set of the perturbed layers' weights, until `unfold`. Other
        tasks can be called meanwhile, at their usual cost. The base stays as it is, bit for bit.

        Raises:
            ValueError: the task is unknown, another one is folded, or the base has changed.
        """
        name = self.known(task)
        if self.folded is not None and self.folded != name:
            raise ValueError(
                f"task {self.folded!r} is folded, and two tasks cannot be merged at once; call "
                f"unfold() before fold({task!r}), or make a plain network of each with merge"
            )
        self.check_base()
        for _, layer in perturbed_layers(self.model):
            layer.fold(name)
        self.folded = name
        return self.activate(name)

    def unfold(self) -> "Adapted":
        """Undo `fold`; the task stays active."""
        for _, layer in perturbed_layers(self.model):
            layer.unfold()
        self.folded = None
        return self

    # -- files

    def export(self, task: Task, path: str | Path) -> Path:
        """Write a task to one file: its tensors (see `pack`), plan, and the print of its base.

        Raises:
            ValueError: the task is unknown, the base's own or still free, or the base has changed.
            OSError: the file cannot be written.
        """
        name = self.known(task)
        if name == self.base_task:
            raise ValueError(f"task {name!r} is the base itself; save the plain model, merge(None)")
        self.check_base()
        plan = asdict(self.plans[name]) if name in self.plans else None
        tensors = task_file.tensors_of(self.model, name)
        held = task_file.TaskFile(name, self.fingerprint(), self.conv, plan, tensors)
        return task_file.write_task(Path(path), held)

    def import_task(self, path: str | Path, task: Task | None = None) -> str:
        """Add a task from the file that `export` wrote, and give its id.

        Args:
            path: of the file.
            task: id to give it, the one it had by default.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is damaged or no such file, was made for another base or conv mode, or
                the id is taken.
        """
        held = task_file.read_task(Path(path))
        made = task_file.modules_of(self.model, held, self.conv)
        name = self._new(held.task if task is None else task)
        for at, module in switching(self.model):
            module.tasks[name] = made[at]
        self.names.append(name)
        if held.plan is not None:
            self.plans[name] = Plan.from_values(held.plan)
        return name

    def _new(
        self, task: Task, outputs: int | None = None, seed: int = 0, factor: float | None = None
    ) -> str:
        checks.check_room(outputs, seed, factor)
        name = checks.check_name(task, self.tasks)
        self.check_base()
        if not self.names:
            self.freeze()
        return name

    def _begin(self, name: str, start: str | None, outputs: int | None, seed: int) -> None:
        with seeded(seed, "halrp", "heads", name):
            for _, module in per_task_modules(self.model):
                module.begin(name, start, outputs)
        self.names.append(name)

    def refuse_folded(self, name: str, doing: str) -> None:
        """Raise a `ValueError` if the task's weights are kept whole, and would stay as they are."""
        if self.folded == name:
            raise ValueError(f"task {name!r} is folded and cannot be {doing}; call unfold() first")

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Adapted":
        # A cast changes the base's bits with the owner's consent: the print is that of the cast
        # base from then on, if it was right before.
        cast = any(fn(t.new_empty(0)).dtype != t.dtype for t in self.base_parameters()[:1])
        known = cast and self._base is not None and self.fingerprint() == self._base
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]  # untyped in torch
        if known:
            self._base = self.fingerprint()
        return self

    def get_extra_state(self) -> Tensor:
        """Ids, plans and print of the base: JSON as bytes, for files of tensors alone."""
        plans = {name: asdict(plan) for name, plan in self.plans.items()}
        state = {"tasks": self.names, "base": self._base, "plans": plans, "conv": self.conv}
        return torch.tensor(list(json.dumps(state).encode()), dtype=torch.uint8)

    def set_extra_state(self, state: Tensor) -> None:
        """The inverse of `get_extra_state`; a `ValueError` for that of another conv mode."""
        held = json.loads(bytes(state.tolist()))
        if held["conv"] != self.conv:
            raise ValueError(
                f"the state is of a model adapted with conv={held['conv']!r}, this one has "
                f"{self.conv!r}; adapt it alike"
            )
        self.names, self._base = list(held["tasks"]), held["base"]
        self.plans = {n: Plan.from_values(v) for n, v in held["plans"].items()}
        self.folded = None
        if self.names:
            for p in self.base_parameters():
                p.requires_grad_(False)
            self.train(self.training)
        self.activate(self.active if self.active in self.tasks else None)
