"""Additive parameter decomposition: shared weights, masked by channel, and sparse additions."""

from typing import Any, cast

import torch

from holdfast.methods.arguments import check_choice, check_number, check_positive_integer
from holdfast.methods.consolidate import consolidate
from holdfast.methods.decomposed import AdaptiveStart, DecomposedNet, MaskKind
from holdfast.methods.method import Method
from holdfast.methods.task_net import check_task_net
from holdfast.nets.learner import Learner
from holdfast.seeds import derive
from holdfast.streams.batches import Batch
from holdfast.streams.context import Context
from holdfast.streams.stream import Stream


class APD(Method):
    """APD: each task's weights are shared ones, masked by channel, plus a sparse part of its own.

    In every linear layer and convolution, for task t,

        theta_t = sigma * M(v_t) + tau_t,

    v_t one number an output channel. While task t is learned the gradient of

        l1 sum_{j <= t} |tau_j|_1 + decay / 2 sum_{j <= t} (|tau_j|^2 + |v_j|^2)
        + drift / 2 sum_{j < t} |theta_j - theta*_j|^2

    is added to that of the loss on the batch, theta*_j what task j had before task t, and with it
    tau_j and v_j of earlier tasks follow the changes of sigma (*retroactive*). In the first task
    sigma decays too. At the end of a task, and whenever the network is evaluated, entries of tau of
    at most `threshold` are zero.

    ``retroactive=False`` is "APD fixed" as it is taken here: after the first task sigma stays, and
    with it all that earlier tasks have; their forgetting is exactly zero.

    With `consolidate` = s, after every s tasks the tau of each layer are grouped by k-means, into
    `groups` for each s tasks so far; entries that differ by at most `tolerance` within a group move
    to a part the group has in common, which is fixed until the next grouping.

    Biases, norm layers with their statistics, and heads are a task's own and stay as they are when
    it ends; those of a new task start where the latest's (biases) or first's (norm layers) are.

    The loss the method returns, and so that of the record, is that of the data alone. Plain SGD is
    stable only while lr * drift stays well below 2, the curvature of the last term; Adam, as in the
    paper, does not mind.

    Yoon et al., "Scalable and Order-robust Continual Learning with Additive Parameter
    Decomposition", ICLR 2020, equations 1-3 and algorithm 1. Strengths by default, the beginning
    of tau, the threshold and the number of groups are those of the authors' public code for
    Split-CIFAR-100.

    Args:
        l1: also the threshold, where that is not given.
        drift: of earlier tasks' weights.
        decay: see above.
        retroactive: whether sigma and earlier tasks' parts go on being trained.
        mask: M, ``sigmoid``, or ``identity``.
        adaptive: what tau begins as, ``shared``: a copy of sigma, or ``zero``.
        threshold: see above; `None` for `l1`.
        consolidate: tasks from one grouping to the next; `None` for none. The authors take 5.
        groups: see above.
        tolerance: see above.
    """

    def __init__(
        self,
        *,
        l1: float = 4e-4,
        drift: float = 100.0,
        decay: float = 1e-4,
        retroactive: bool = True,
        mask: MaskKind = "sigmoid",
        adaptive: AdaptiveStart = "shared",
        threshold: float | None = None,
        consolidate: int | None = None,
        groups: int = 2,
        tolerance: float = 0.01,
    ) -> None:
        for name, value in (("l1", l1), ("drift", drift), ("decay", decay)):
            check_number(name, value)
        check_choice("mask", mask, MaskKind)
        check_choice("adaptive", adaptive, AdaptiveStart)
        if threshold is not None:
            check_number("threshold", threshold)
        if consolidate is not None:
            check_positive_integer("consolidate", consolidate)
        check_positive_integer("groups", groups)
        check_number("tolerance", tolerance)
        self.l1, self.drift, self.decay, self.retroactive = l1, drift, decay, retroactive
        self.mask, self.adaptive, self.threshold = mask, adaptive, threshold
        self.consolidate, self.groups, self.tolerance = consolidate, groups, tolerance
        self._finished = 0
        self._targets: dict[str, list[torch.Tensor]] = {}
        self._groups: dict[str, list[int | None]] = {}

    def check(self, learner: Learner, stream: Stream) -> None:
        """Refuse networks that cannot be decomposed by task.

        Raises:
            ValueError: see `holdfast.methods.task_net.check_task_net`.
        """
        check_task_net("APD", learner)

    def forget(self) -> None:
        """Drop groups and targets."""
        self._finished, self._groups, self._targets = 0, {}, {}

    @torch.no_grad()
    def begin_task(self, learner: Learner, context: Context) -> None:
        """Room for the task; earlier tasks' weights are remembered."""
        self._finished = context.index
        net = self._make_room(learner, context.index)
        self._freeze(net)
        self._targets = {}
        if self.retroactive and context.index:
            self._targets = {
                n: [layer.theta(j).clone() for j in range(context.index)]
                for n, layer in net.decomposed().items()
            }

    @torch.no_grad()
    def after_backward(self, learner: Learner, batch: Batch, context: Context) -> None:
        """Add the gradients of the penalties."""
        for name, layer in cast(DecomposedNet, learner.backbone).decomposed().items():
            layer.add_penalties(context.index, self.l1, self.decay, 0.0, None)
            sigma = layer.shared
            if name in self._targets:
                # After a kill they come back on the CPU.
                self._targets[name] = [t.to(sigma) for t in self._targets[name]]
            for j, target in enumerate(self._targets.get(name, [])):
                layer.add_penalties(j, self.l1, self.decay, self.drift, target)
            if context.index == 0 and sigma.grad is not None:
                sigma.grad.add_(sigma, alpha=self.decay)

    def end_task(self, learner: Learner, context: Context) -> None:
        """Drop small entries; group tasks where it is time to."""
        net, learned = cast(DecomposedNet, learner.backbone), context.index + 1
        first = 0 if self.retroactive else context.index
        for layer in net.decomposed().values():
            for task in range(first, learned):
                layer.cut(task)
        if self.consolidate is not None and learned % self.consolidate == 0 and learned > 1:
            self._consolidate(net, context)
        self._finished, self._targets = learned, {}
        self._freeze(net)

    @torch.no_grad()
    def _consolidate(self, net: DecomposedNet, context: Context) -> None:
        assert self.consolidate is not None
        tasks = context.index + 1
        seed = derive(context.seed, "apd", context.index)
        for name, layer in net.decomposed().items():
            parts = [layer.part(task) for task in range(tasks)]
            whole = [
                p.adaptive if p.group is None else p.adaptive + layer.local[p.group] for p in parts
            ]
            count = self.groups * (tasks // self.consolidate)
            found = consolidate(torch.stack(whole), count, self.tolerance, seed)
            for part, residual in zip(parts, found.residual, strict=True):
                part.adaptive.copy_(residual)
            layer.assign(found.groups)
            layer.local.copy_(found.local)
            self._groups[name] = found.groups

    def state_dict(self) -> dict[str, Any]:
        """How many tasks are learned, who shares local parts, and weights to stay near."""
        return {"finished": self._finished, "groups": self._groups, "targets": self._targets}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self._finished = int(state["finished"])
        self._groups, self._targets = dict(state["groups"]), dict(state["targets"])

    def restore(self, learner: Learner, index: int) -> None:
        """Give the learner the parts it had, their values still to be loaded."""
        for i in range(index + 1):
            net = self._make_room(learner, i)
        for name, layer in net.decomposed().items():
            if name in self._groups:
                layer.assign(self._groups[name])
        self._freeze(net)

    def _make_room(self, learner: Learner, index: int) -> DecomposedNet:
        if not isinstance(learner.backbone, DecomposedNet):
            threshold = self.l1 if self.threshold is None else self.threshold
            learner.backbone = DecomposedNet(learner.backbone, self.mask, self.adaptive, threshold)
        net = learner.backbone
        if net.tasks == index:
            net.add()
        return net

    def _freeze(self, net: DecomposedNet) -> None:
        """Freeze what a learned task has; with `retroactive` all but tau and v."""
        trained: set[int] = set()
        for layer in net.decomposed().values():
            if self.retroactive:
                parts = [layer.part(task) for task in range(self._finished)]
                trained |= {id(p) for part in parts for p in (part.adaptive, part.mask)}
            elif self._finished:
                layer.shared.requires_grad_(False)
        for task in range(self._finished):
            for p in net.own(task):
                p.requires_grad_(id(p) in trained and p.requires_grad)
