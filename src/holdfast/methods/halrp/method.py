"""HALRP in runs."""

import copy
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from holdfast.data.split import Split
from holdfast.methods.arguments import check_choice, check_number, check_positive_integer
from holdfast.methods.halrp.adapted import Adapted
from holdfast.methods.halrp.checks import check_names
from holdfast.methods.halrp.compress import decompositions, spectra
from holdfast.methods.halrp.control import Control, Growth, Means
from holdfast.methods.halrp.decompose import Decomposition, Scaling
from holdfast.methods.halrp.growth import fitting_rank
from holdfast.methods.halrp.importance import Importance, layer_importance
from holdfast.methods.halrp.kinds import ConvMode
from holdfast.methods.halrp.layers import Perturbation, perturbed_layers
from holdfast.methods.halrp.plan import Plan, choose_ranks, flat_ranks
from holdfast.methods.halrp.pruning import Pruning, Scope
from holdfast.methods.halrp.storage import Storage, rank_bytes
from holdfast.methods.method import Method
from holdfast.nets.heads import TaskHeads
from holdfast.nets.learner import Learner
from holdfast.seeds import generator
from holdfast.streams.batches import Batch, transformed
from holdfast.streams.context import Context
from holdfast.streams.stream import Stream

Choice = Literal["curvature", "flat", "random"]
BaseKind = Literal["first_task", "pretrained"]


class HALRP(Method):
    """Each task is a low-rank perturbation of one base, with ranks chosen by curvature.

    The first task trains the backbone: the *base*, frozen from then on. Each later task, in the
    epochs of its training,

    1. warms up for `warm_up` epochs: all weights of a copy of the base, plain loss;
    2. at their end measures how much the loss minds a change of each layer (`importance`, on the
       validation samples, or the training samples where there are none), fits
       diag(r) W_0 diag(s) to each free weight and decomposes what is left, and chooses the ranks
       of all layers together (`choose_ranks`);
    3. trains r, s, U, V, biases, norm layers and its head for the epochs that are left, with the
       loss  CE + l1 sum(|U| + |V|) + decay / 2 (|r - d|^2 + |s - d|^2 + |U|^2 + |V|^2).

    Li et al. (2024), "Hessian Aware Low-Rank Perturbation for Order-Robust Continual Learning";
    options name every place where this differs from the authors' code, `official` sets them all.

    Args:
        alpha: share of the total score that ranks keep; `None` goes by `budget` alone.
        budget: most parameters of one task's U and V, as a share of the base's; `None` for none.
        most, least: ranks of a layer.
        choice: ``curvature``; ``flat``: the same in every layer, `most` or what the bound allows;
            ``random``: importance drawn log-uniformly from [1e-3, 1e3] for each layer, as a
            control.
        per_cost: rank by score a parameter.
        warm_up: epochs.
        importance, scaling, conv: see `layer_importance`, `scaling_vectors`, `ConvMode`.
        l1: weight of |U| + |V|.
        decay: of r, s, U, V; and of the base's weights while it is trained.
        towards: d, where r and s are drawn to.
        base: ``first_task``, or ``pretrained``: the backbone is the base as it comes, and the
            first task perturbs it like all others.
        skip: names of modules of the backbone that stay as they are.
        freeze_others: leave modules that cannot be perturbed as they are instead of refusing them.
        growth: most that all tasks together may add, as a share of the base. With `growth_by`
            ``ranks`` in bytes as stored, nothing left out: all tasks get the same bytes for U and
            V, fixed before they come, and forgetting is exactly 0. With ``pruning`` in the paper's
            count: after each task all tasks so far are pruned, without training, as in the authors'
            code; it is overshot by the part of r, s, norm layers and heads. ``auto``: 0.2, and
            where r, s, norm layers and heads alone take half of that or more, as many bytes for U
            and V as for these; nothing where `budget` or `task_budget` is given. `None`: any.
        task_budget: most bytes that one task may add, as a share of the base's, for streams whose
            length is not known; instead of `growth`.
        growth_by: ``ranks`` or ``pruning``, see `growth`.
        storage: of U and V: ``float32``, ``bfloat16`` or ``int8``. At its end a task is put on the
            grid, so that what is evaluated is what `save_packed` stores.
        prune_below, prune_share, prune_over: see `Pruning`; of the task just learned alone with
            ``ranks``.
    """

    def __init__(
        self,
        *,
        alpha: float | None = 0.98,
        budget: float | None = None,
        most: int = 100,
        least: int = 1,
        choice: Choice = "curvature",
        per_cost: bool = False,
        warm_up: int = 1,
        importance: Importance = "mean",
        scaling: Scaling = "alternating",
        conv: ConvMode = "flat",
        l1: float = 1e-4,
        decay: float = 1e-4,
        towards: float = 0.0,
        base: BaseKind = "first_task",
        skip: Sequence[str] = (),
        freeze_others: bool = False,
        growth: Growth = "auto",
        task_budget: float | None = None,
        growth_by: Means = "ranks",
        storage: Storage = "int8",
        prune_below: float = 0.0,
        prune_share: float = 0.0,
        prune_over: Scope = "task",
    ) -> None:
        if alpha is not None:
            check_number("alpha", alpha, positive=True, to=1.0)
        if budget is not None:
            check_number("budget", budget, positive=True)
        if growth == "auto" and not (budget is None and task_budget is None):
            growth = None  # another bound was asked for
        self.growth, self.task_budget, self.growth_by = growth, task_budget, growth_by
        self.storage: Storage = storage
        self.prune_below, self.prune_share, self.prune_over = prune_below, prune_share, prune_over
        self.least = least
        bounded = self._control().bounded
        if alpha is None and budget is None and not bounded and choice != "flat":
            raise ValueError(
                "alpha is None and no budget, growth or task_budget bounds ranks: give one to "
                "choose ranks by"
            )
        if budget is not None and bounded:
            raise ValueError("budget and growth or task_budget both bound ranks: give one")
        check_positive_integer("most", most)
        if not isinstance(least, int) or not 0 <= least <= most:
            raise ValueError(f"least must be a whole number from 0 to most, {most}, got {least!r}")
        for name, flag in (("per_cost", per_cost), ("freeze_others", freeze_others)):
            if not isinstance(flag, bool):
                raise TypeError(f"{name} must be True or False, got {flag!r}")
        check_positive_integer("warm_up", warm_up)
        check_choice("choice", choice, Choice)
        check_choice("importance", importance, Importance)
        check_choice("scaling", scaling, Scaling)
        check_choice("conv", conv, ConvMode)
        check_choice("base", base, BaseKind)
        for name, value in (("l1", l1), ("decay", decay), ("towards", towards)):
            check_number(name, value)
        self.alpha, self.budget, self.most = alpha, budget, most
        self.choice, self.per_cost, self.warm_up = choice, per_cost, warm_up
        self.importance, self.scaling, self.conv = importance, scaling, conv
        self.l1, self.decay, self.towards = l1, decay, towards
        self.base, self.skip, self.freeze_others = base, check_names("skip", skip), freeze_others
        self._warm = True
        self._plans: dict[str, Any] = {}

    def check(self, learner: Learner, stream: Stream) -> None:
        """Refuse what cannot be perturbed by task.

        Raises:
            ValueError: heads are not per task, the backbone differs by task already, or it has
                modules that cannot be perturbed.
        """
        if not isinstance(learner.heads, TaskHeads):
            raise ValueError(
                f"HALRP needs heads 'per_task', got {type(learner.heads).__name__}; the task is "
                "told at test time, or found by holdfast.methods.halrp.identify"
            )
        if learner.per_task and not isinstance(learner.backbone, Adapted):
            raise ValueError("HALRP adapts the learner's backbone, which differs by task already")
        model = learner.backbone
        if not isinstance(model, Adapted):
            model = self._adapt(copy.deepcopy(model))
        self._check_ranks(model)
        self._control().check(model, learner.heads, stream)

    def _check_ranks(self, model: Adapted) -> None:
        shapes = [layer.shape for _, layer in perturbed_layers(model.model)]
        if not shapes:
            raise ValueError("HALRP has no layer to perturb: skip or freeze_others leaves them all")
        least = sum(min(self.least, s.largest_rank) * s.cost_of_rank for s in shapes)
        whole = sum(p.numel() for p in model.base_parameters())
        if self.budget is not None and int(self.budget * whole) < least:
            raise ValueError(
                f"budget {self.budget:g} allows {int(self.budget * whole):,} parameters, but rank "
                f"{self.least} in every layer takes {least:,}; the smallest budget is "
                f"{least / whole + 1e-4:.4f}"
            )

    def forget(self) -> None:
        """Drop the plans."""
        self._warm, self._plans = True, {}

    def begin_task(self, learner: Learner, context: Context) -> None:
        """Make room for the task: the base itself, or free weights to warm up."""
        if context.epochs <= self.warm_up:
            raise ValueError(
                f"warm_up must be below the {context.epochs} epochs of training, got {self.warm_up}"
            )
        adapted = self._adapted(learner)
        self._warm = True
        self._room(learner, context.index)
        learner.requires_grad_(False)
        if str(context.index) == adapted.base_task:
            adapted.train_only(None)
        else:
            adapted.train_only(context.index)
        learner.heads.get_submodule(f"heads.{context.index}").requires_grad_(True)

    def loss(self, learner: Learner, batch: Batch, context: Context) -> tuple[Tensor, Tensor]:
        """The loss of the phase, and the logits of the batch."""
        logits = learner(batch.x, batch.task)
        loss = context.criterion(logits, batch.y)
        adapted = learner.backbone
        assert isinstance(adapted, Adapted)
        if str(context.index) == adapted.base_task:
            return loss + self.decay / 2 * _squares(_base_weights(adapted)), logits
        if self._warm:
            return loss, logits
        return loss + self._penalty(adapted, str(context.index)), logits

    def _penalty(self, adapted: Adapted, task: str) -> Tensor:
        own = [layer.tasks[task] for _, layer in perturbed_layers(adapted.model)]
        changes = [p for p in own if isinstance(p, Perturbation)]
        low: list[Tensor] = [t for p in changes for t in (p.U, p.V)]
        vectors: list[Tensor] = [t for p in changes for t in (p.r, p.s)]
        if self.towards != 0:
            vectors = [v - self.towards for v in vectors]
        absolute = torch.stack(torch._foreach_norm(low, 1)).sum()
        return self.l1 * absolute + self.decay / 2 * _squares([*low, *vectors])

    def after_epoch(self, learner: Learner, context: Context, epoch: int) -> bool:
        """After the warm-up: choose ranks and go on with them."""
        adapted = learner.backbone
        assert isinstance(adapted, Adapted)
        task = str(context.index)
        if task == adapted.base_task or not self._warm or epoch + 1 < self.warm_up:
            return False
        found = self._decompositions(adapted, task, context)
        plan = self.plan(learner, found, self._importance(learner, context), context)
        adapted.settle(task, found, plan)
        self._plans[task] = asdict(plan)
        self._warm = False
        adapted.train_only(task)
        return True

    def _decompositions(
        self, adapted: Adapted, task: str, context: Context
    ) -> dict[str, Decomposition]:
        draws = generator(context.seed, "halrp", context.index)
        return decompositions(adapted, task, self.scaling, self.most, draws)

    def plan(
        self,
        learner: Learner,
        found: dict[str, Decomposition],
        importance: dict[str, float],
        context: Context,
    ) -> Plan:
        """The ranks of the task's layers."""
        adapted, heads = learner.backbone, learner.heads
        assert isinstance(adapted, Adapted)
        assert isinstance(heads, TaskHeads)
        scores = spectra(adapted, found, importance)
        shapes = {n: layer.shape for n, layer in perturbed_layers(adapted.model)}
        most = self._control().low_rank_bytes(adapted, heads, context.stream, context.index)
        if most is not None:
            prices = {n: rank_bytes(shapes[n], self.storage) for n in scores}
            scores = {n: s._replace(cost=prices[n]) for n, s in scores.items()}
        elif self.budget is not None:
            most = int(self.budget * sum(p.numel() for p in adapted.base_parameters()))
        if self.choice == "flat":
            rank = self.most if most is None else fitting_rank(scores, most, self.most)
            plan = flat_ranks(scores, rank)
        else:
            plan = choose_ranks(
                scores,
                alpha=self.alpha,
                budget=most,
                most=self.most,
                least=self.least,
                per_cost=self.per_cost,
            )
        layers = {
            n: replace(c, parameters=c.rank * shapes[n].cost_of_rank)
            for n, c in plan.layers.items()
        }
        return replace(plan, layers=layers)

    def _importance(self, learner: Learner, context: Context) -> dict[str, float]:
        adapted, task = learner.backbone, context.index
        assert isinstance(adapted, Adapted)
        names = [n for n, _ in perturbed_layers(adapted.model)]
        if self.choice == "random":
            draws = torch.rand(len(names), generator=context.generator, dtype=torch.float64)
            return dict(zip(names, (10 ** (6 * draws - 3)).tolist(), strict=True))
        if self.choice == "flat":
            return dict.fromkeys(names, 1.0)
        learner.eval()
        found = layer_importance(
            adapted,
            task,
            _samples(learner, context),
            self.importance,
            lambda x: learner(x, task),
            lambda logits, y: context.criterion(logits, y),
        )
        learner.train()
        return found

    def end_task(self, learner: Learner, context: Context) -> None:
        """Freeze what the task has."""
        adapted = learner.backbone
        assert isinstance(adapted, Adapted)
        learner.requires_grad_(False)
        if adapted.base_task == str(context.index):
            adapted.freeze()
        else:
            self._control().settle(learner, context.index)

    def _control(self) -> Control:
        pruning = Pruning(self.prune_below, self.prune_share, self.prune_over)
        return Control(
            self.growth, self.task_budget, self.growth_by, self.storage, pruning, self.least
        )

    def _adapted(self, learner: Learner) -> Adapted:
        if not isinstance(learner.backbone, Adapted):
            learner.backbone = self._adapt(learner.backbone)
        return learner.backbone

    def _adapt(self, model: nn.Module) -> Adapted:
        first = 0 if self.base == "first_task" else None
        return Adapted(
            model, self.conv, skip=self.skip, freeze_others=self.freeze_others, base_task=first
        )

    def _room(self, learner: Learner, index: int) -> None:
        adapted = self._adapted(learner)
        if str(index) not in adapted.tasks:
            adapted.add_free(index)

    @property
    def plans(self) -> dict[str, Any]:
        """The plan of each task so far, as plain values."""
        return self._plans

    def state_dict(self) -> dict[str, Any]:
        """The phase, and the plans."""
        return {"warm": self._warm, "plans": self._plans}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self._warm, self._plans = bool(state["warm"]), dict(state["plans"])

    def restore(self, learner: Learner, index: int) -> None:
        """Adapt the backbone; loading gives it its tasks."""
        self._adapted(learner)


def _base_weights(adapted: Adapted) -> list[Tensor]:
    return [layer.base_weight for _, layer in perturbed_layers(adapted.model)]


def _squares(tensors: Sequence[Tensor]) -> Tensor:
    return torch.stack([t.square().sum() for t in tensors]).sum()


def _samples(learner: Learner, context: Context) -> Any:
    """The task's validation samples in batches, or its training samples."""
    held = context.task.validation
    size = context.batch_size
    if not isinstance(held, Split):
        return ((b.x, b.y) for b in context.source.batches(size))
    x = transformed(context.task, held.x, context.device)
    y = learner.columns(held.y.to(context.device), context.index)
    return zip(x.split(size), y.split(size), strict=True)
