"""Winning subnetworks: a binary mask of shared weights for each task."""

import math
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from holdfast.methods.arguments import check_number
from holdfast.methods.bits import pack, unpack
from holdfast.methods.method import Method
from holdfast.methods.task_net import TaskLayer, TaskNet, check_task_net
from holdfast.nets.learner import Learner
from holdfast.probes.size import Size, measured_size
from holdfast.seeds import generator
from holdfast.streams.batches import Batch
from holdfast.streams.context import Context
from holdfast.streams.stream import Stream


class WSN(Method):
    """WSN: each task uses the weights of its highest scores; what a task used stays as it is.

    In each linear layer and convolution task t has a score for every weight, drawn anew as torch
    draws weights, and uses the share c of the highest absolute scores:

        W_t = W * m_t,   m_t = 1 where |s_t| is among the c n largest of the layer, else 0.

    Weights and scores are trained together: the gradient of a score passes the step function as
    if m were |s| (straight through), that of a weight is zero where an earlier task uses it. Such
    weights are also put back after each step, so that neither moments nor weight decay move them.
    After a task m_t is kept, one bit a weight, and the scores are dropped. A later task may use
    weights of earlier ones.

    Biases, norm layers with their statistics, and heads are a task's own; those of a new task
    start where the first's (norm layers) or latest's (biases) are. So what the network answers for
    a task never changes once it is learned: forgetting is exactly zero.

    Kang et al., "Forget-free Continual Learning with Winning Subnetworks", ICML 2022, equations
    2-5 and algorithm 1. They have neither biases nor trained norm layers. Scores move by the
    gradient times the weight: Adam suits them, as in the paper; plain SGD hardly moves them.

    Args:
        capacity: c, share of the weights of each layer that a task uses.
    """

    def __init__(self, *, capacity: float = 0.5) -> None:
        check_number("capacity", capacity, positive=True, to=1.0)
        self.capacity = capacity
        self._finished = 0
        self._used: list[tuple[nn.Parameter, Tensor, Tensor]] | None = None

    def check(self, learner: Learner, stream: Stream) -> None:
        """Refuse networks that cannot be masked by task.

        Raises:
            ValueError: see `holdfast.methods.task_net.check_task_net`.
        """
        check_task_net("WSN", learner)

    def forget(self) -> None:
        """Drop what was in use."""
        self._finished, self._used = 0, None

    def begin_task(self, learner: Learner, context: Context) -> None:
        """Draw the scores of the task."""
        self._finished = context.index
        net = self._make_room(learner, context.index)
        draws = generator(context.seed, "wsn", context.index)
        for _, layer in net.layers():
            cast(Subnetwork, layer.own[context.index]).draw(draws)
        self._freeze(net)

    def after_backward(self, learner: Learner, batch: Batch, context: Context) -> None:
        """No gradient on weights that earlier tasks use."""
        if self._used is None:
            self._used = _used_weights(learner)
        for weight, used, _ in self._used:
            if weight.grad is not None:
                weight.grad.masked_fill_(used, 0)

    @torch.no_grad()
    def after_step(self, learner: Learner, batch: Batch, context: Context) -> None:
        """Put back what earlier tasks use."""
        for weight, used, before in self._used or []:
            weight.copy_(torch.where(used, before, weight))

    def end_task(self, learner: Learner, context: Context) -> None:
        """Keep the mask of the task."""
        net = cast(TaskNet, learner.backbone)
        for _, layer in net.layers():
            cast(Masked, layer).keep(context.index)
        self._finished, self._used = context.index + 1, None
        self._freeze(net)

    def state_dict(self) -> dict[str, Any]:
        """How many tasks have their mask; the masks themselves are the learner's."""
        return {"finished": self._finished}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self._finished, self._used = int(state["finished"]), None

    def restore(self, learner: Learner, index: int) -> None:
        """Give the learner the masks and scores it had, their values still to be loaded."""
        for i in range(index + 1):
            net = self._make_room(learner, i)
            if i < self._finished:
                for _, layer in net.layers():
                    cast(Masked, layer).keep(i)
        self._freeze(net)

    def _make_room(self, learner: Learner, index: int) -> TaskNet:
        if not isinstance(learner.backbone, SubnetworkNet):
            learner.backbone = SubnetworkNet(learner.backbone, self.capacity)
        net = learner.backbone
        if net.tasks == index:
            net.add()
        return net

    def _freeze(self, net: TaskNet) -> None:
        for task in range(self._finished):
            for p in net.own(task):
                p.requires_grad_(False)


class SubnetworkNet(TaskNet):
    """A backbone of which each task uses a part.

    Args:
        model: changed in place.
        capacity: share of each layer's weights that a task uses.
    """

    def __init__(self, model: nn.Module, capacity: float) -> None:
        super().__init__(model, lambda layer: Masked(layer, capacity))

    def used(self) -> dict[str, float]:
        """Share of each layer's weights that some learned task uses."""
        masked = [(n, cast(Masked, layer).used()) for n, layer in self.layers()]
        return {n: 0.0 if used is None else float(used.double().mean()) for n, used in masked}


class Subnetwork(nn.Module):
    """What a task has of a layer: its bias; scores while it is learned, then a mask.

    Args:
        weight: of the layer.
        bias: the task's own.
    """

    def __init__(self, weight: Tensor, bias: nn.Parameter | None) -> None:
        super().__init__()
        self.bias = bias
        self.scores: nn.Parameter | None = nn.Parameter(torch.empty_like(weight))
        self.register_buffer("packed", None)

    @torch.no_grad()
    def draw(self, draws: torch.Generator) -> None:
        """Scores as torch draws weights: uniform in +-1/sqrt(inputs)."""
        assert self.scores is not None
        bound = 1 / math.sqrt(self.scores[0].numel())
        drawn = torch.empty(self.scores.shape).uniform_(-bound, bound, generator=draws)
        self.scores.copy_(drawn)


class Masked(TaskLayer):
    """A layer of which each task uses some of the weights.

    Args:
        base: the layer.
        capacity: share of its weights that a task uses, one at least.
    """

    def __init__(self, base: nn.Module, capacity: float) -> None:
        super().__init__(base)
        self.count = max(1, round(capacity * self.shared.numel()))
        self._open: tuple[int, Tensor] | None = None
        self.add()

    def add(self) -> None:
        """Give the next task scores, yet to be drawn."""
        self.own.append(Subnetwork(self.shared, self.next_bias()))

    def weight(self) -> Tensor:
        """W * m of the active task."""
        scores = cast(Subnetwork, self.own[self.active]).scores
        mask = self.mask(self.active) if scores is None else top(scores, self.count)
        return self.shared * mask

    def mask(self, task: int) -> Tensor:
        """The mask of a learned task; the latest asked for is kept at hand."""
        weight = self.shared
        if self._open is None or self._open[0] != task or self._open[1].device != weight.device:
            packed = cast(Tensor, cast(Subnetwork, self.own[task]).packed)
            self._open = (task, unpack(packed, weight.numel()).view_as(weight))
        return self._open[1]

    def used(self) -> Tensor | None:
        """Where learned tasks use a weight; `None` before there is one."""
        learned = [cast(Tensor, o.packed) for o in self.own if o.packed is not None]
        if not learned:
            return None
        union = learned[0]
        for packed in learned[1:]:
            union = union | packed
        return unpack(union, self.shared.numel()).view_as(self.shared)

    @torch.no_grad()
    def keep(self, task: int) -> None:
        """Replace the scores of a task by their mask."""
        own = cast(Subnetwork, self.own[task])
        assert own.scores is not None
        own.packed = pack(top(own.scores, self.count).bool().flatten())
        own.scores, self._open = None, None

    def _load_from_state_dict(self, *rest: Any) -> None:
        self._open = None
        super()._load_from_state_dict(*rest)


class _Top(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, scores: Tensor, count: int) -> Tensor:
        ctx.save_for_backward(scores)
        size = scores.abs()
        return (size >= _largest(size.flatten(), count)).to(scores.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (scores,) = ctx.saved_tensors
        return gradient * scores.sign(), None


def _largest(values: Float[Tensor, " n"], count: int) -> float | Tensor:
    """The value that `count` are not below."""
    if values.device.type == "cpu" and values.dtype in (torch.float32, torch.float64):
        # Ten times as fast as torch's kthvalue.
        place = len(values) - count
        return float(np.partition(values.detach().numpy(), place)[place])
    return values.kthvalue(len(values) - count + 1).values


def top(scores: Float[Tensor, "..."], count: int) -> Float[Tensor, "..."]:
    """1 at the `count` largest absolute scores (at more where they tie), 0 elsewhere.

    The gradient is passed on as if the result were |scores|.

    >>> top(torch.tensor([0.1, -3.0, 2.0]), 2)
    tensor([0., 1., 1.])
    """
    # torch gives `Function.apply` no types.
    found: Tensor = _Top.apply(scores, count)  # type: ignore[no-untyped-call]
    return found


def _used_weights(learner: Learner) -> list[tuple[nn.Parameter, Tensor, Tensor]]:
    """(weight, where earlier tasks use it, what it is now) of each layer that they use."""
    layers = [cast(Masked, layer) for _, layer in cast(TaskNet, learner.backbone).layers()]
    used = [(layer.shared, layer.used()) for layer in layers]
    return [(w, mask, w.detach().clone()) for w, mask in used if mask is not None]


@measured_size.register
def _size(backbone: SubnetworkNet, learner: Learner) -> Size:
    """Masks at a bit a weight, 32 of them one parameter; scores are not needed to predict."""
    owns = [cast(Subnetwork, own) for _, layer in backbone.layers() for own in layer.own]
    scores = {id(own.scores) for own in owns}
    parameters = [p for p in learner.parameters() if id(p) not in scores]
    tensors = [*parameters, *learner.buffers()]
    masks = sum(cast(Tensor, own.packed).numel() for own in owns if own.packed is not None)
    counted = sum(p.numel() for p in parameters) + masks // 4
    return Size(sum(t.numel() * t.element_size() for t in tensors), counted)
