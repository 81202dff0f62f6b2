"""Layers whose weight for a task is a shared one, masked by channel, and what the task adds."""

from typing import Literal, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from holdfast.methods.task_net import TaskLayer, TaskNet
from holdfast.nets.learner import Learner
from holdfast.probes.size import Size, measured_size

MaskKind = Literal["sigmoid", "identity"]
"""What a channel's factor is of its parameter."""

AdaptiveStart = Literal["shared", "zero"]
"""What the part of a task's own begins as: a copy of the shared weight, or nothing."""


class Additive(nn.Module):
    """What a task has of a layer.

    Args:
        adaptive: tau, as it begins.
        mask: v, one number an output channel, as it begins.
        bias: the task's own.
    """

    def __init__(self, adaptive: Tensor, mask: Tensor, bias: nn.Parameter | None) -> None:
        super().__init__()
        self.adaptive, self.mask = nn.Parameter(adaptive), nn.Parameter(mask)
        self.bias = bias
        self.group: int | None = None
        """Position of the local part that the task has with others; `None` if it has none."""


class Decomposed(TaskLayer):
    """theta_t = sigma * M(v_t) + tau_t + local_g(t), M by output channel.

    In evaluation mode entries of tau of at most `threshold` count as zero.

    Args:
        base: the layer; its weight is sigma.
        kind: of the mask.
        start: of tau.
        threshold: see above.
    """

    local: Tensor

    def __init__(
        self, base: nn.Module, kind: MaskKind, start: AdaptiveStart, threshold: float
    ) -> None:
        super().__init__(base)
        self.kind, self.start, self.threshold = kind, start, threshold
        self.register_buffer("local", self.shared.detach().new_empty(0, *self.shared.shape))
        self.add()

    def add(self) -> None:
        """The next task's part: factors sigmoid(0) = 1/2 or 1."""
        sigma = self.shared.detach()
        adaptive = sigma.clone() if self.start == "shared" else torch.zeros_like(sigma)
        mask = sigma.new_full((len(sigma),), 0.0 if self.kind == "sigmoid" else 1.0)
        self.own.append(Additive(adaptive, mask, self.next_bias()))

    def part(self, task: int) -> Additive:
        """What a task has."""
        return cast(Additive, self.own[task])

    def factors(self, task: int) -> Tensor:
        """M(v_t), in a shape that multiplies the weight."""
        mask = self.part(task).mask
        factors = torch.sigmoid(mask) if self.kind == "sigmoid" else mask
        return factors.view(-1, *[1] * (self.shared.ndim - 1))

    def theta(self, task: int, exact: bool = True) -> Tensor:
        """The weight of a task; unless `exact`, without the small entries of tau."""
        part = self.part(task)
        tau = part.adaptive if exact else hard_threshold(part.adaptive, self.threshold)
        theta = torch.addcmul(tau, self.shared, self.factors(task))
        return theta if part.group is None else theta + self.local[part.group]

    def weight(self) -> Tensor:
        """The weight of the active task."""
        return self.theta(self.active, exact=self.training)

    @torch.no_grad()
    def add_penalties(
        self, task: int, l1: float, decay: float, drift: float, target: Tensor | None
    ) -> None:
        """Add to the gradients those of a task's penalties.

            l1 |tau|_1 + decay / 2 (|tau|^2 + |v|^2) + drift / 2 |theta - target|^2

        with respect to tau, v and, from the last, sigma; those that are frozen are left alone.

        Args:
            task: its position.
            l1: strength of the first term.
            decay: of the second.
            drift: of the third.
            target: of theta; `None` for no drift.
        """
        part = self.part(task)
        tau, mask = part.adaptive, part.mask
        tau_slope = tau.sign().mul_(l1).add_(tau, alpha=decay)
        mask_slope = mask * decay
        if target is not None:
            away = (self.theta(task) - target).mul_(drift)
            tau_slope += away
            factors = self.factors(task)
            slope = factors * (1 - factors) if self.kind == "sigmoid" else torch.ones_like(factors)
            mask_slope += (away * self.shared).flatten(1).sum(1) * slope.flatten()
            _accumulate(self.shared, away.mul_(factors))
        _accumulate(tau, tau_slope)
        _accumulate(mask, mask_slope)

    @torch.no_grad()
    def cut(self, task: int) -> None:
        """Set the small entries of tau to zero."""
        tau = self.part(task).adaptive
        tau.copy_(hard_threshold(tau, self.threshold))

    def assign(self, groups: list[int | None]) -> None:
        """Say which local part each task has, and make room for that many."""
        for part, group in zip(self.own, groups, strict=False):
            cast(Additive, part).group = group
        count = 1 + max((g for g in groups if g is not None), default=-1)
        self.local = self.shared.detach().new_zeros(count, *self.shared.shape)

    def groups(self) -> list[int | None]:
        """The local part of each task."""
        return [cast(Additive, part).group for part in self.own]


class DecomposedNet(TaskNet):
    """A backbone of decomposed layers.

    Args:
        model: changed in place.
        kind, start, threshold: see `Decomposed`.
    """

    def __init__(
        self, model: nn.Module, kind: MaskKind, start: AdaptiveStart, threshold: float
    ) -> None:
        super().__init__(model, lambda layer: Decomposed(layer, kind, start, threshold))

    def decomposed(self) -> dict[str, Decomposed]:
        """The layers, by name."""
        return {n: cast(Decomposed, layer) for n, layer in self.layers()}


def hard_threshold(x: Float[Tensor, "..."], threshold: float) -> Float[Tensor, "..."]:
    """`x` where |x| is above the threshold, else 0.

    >>> hard_threshold(torch.tensor([0.5, -2.0, 1.0]), 1.0)
    tensor([ 0., -2.,  0.])
    """
    return torch.where(x.abs() > threshold, x, 0)


def _accumulate(parameter: Tensor, slope: Tensor) -> None:
    if not parameter.requires_grad:
        return
    if parameter.grad is None:
        parameter.grad = slope.clone()
    else:
        parameter.grad.add_(slope)


@measured_size.register
def _size(backbone: DecomposedNet, learner: Learner) -> Size:
    """What tasks add counts by its entries that are not zero.

    In bytes each of them takes its value and a 4-byte index, or the tensor is kept whole where that
    takes less.
    """
    sparse: dict[int, Tensor] = {}
    for layer in backbone.decomposed().values():
        for task in range(backbone.tasks):
            tau = layer.part(task).adaptive
            sparse[id(tau)] = hard_threshold(tau.detach(), layer.threshold)
        sparse[id(layer.local)] = layer.local
    parameters = [p for p in learner.parameters() if id(p) not in sparse]
    whole = [*parameters, *(b for b in learner.buffers() if id(b) not in sparse)]
    stored = sum(t.numel() * t.element_size() for t in whole)
    counted = sum(p.numel() for p in parameters)
    for tensor in sparse.values():
        kept = int(tensor.count_nonzero())
        counted += kept
        stored += min(tensor.numel() * tensor.element_size(), kept * (tensor.element_size() + 4))
    return Size(stored, counted)
