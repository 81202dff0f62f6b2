"""Gradient projection memory: weights move only where the inputs of earlier tasks do not look."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn

from holdfast.methods.arguments import check_number, check_positive_integer
from holdfast.methods.layer_inputs import Inputs, extend, patches
from holdfast.methods.method import Method
from holdfast.nets.heads import GrowingHead, TaskHeads
from holdfast.nets.learner import Learner
from holdfast.nets.modes import evaluation_mode
from holdfast.nets.scaled import ScaledConv1d, ScaledConv2d, ScaledLinear
from holdfast.streams.batches import Batch
from holdfast.streams.context import Context
from holdfast.streams.stream import Stream

_KINDS = (nn.Linear, nn.Conv1d, nn.Conv2d, ScaledLinear, ScaledConv1d, ScaledConv2d)


class GPM(Method):
    """GPM: move weights orthogonally to what earlier tasks put into their layers.

    For each linear layer and convolution, M (inputs x k, orthonormal) spans the inputs that
    samples of earlier tasks gave it; of a convolution the unfolded patches. A weight W, as
    (outputs, inputs), that was W* when the task began becomes after each step

        W <- W* + (W - W*) (I - M M^T),

    so that W x stays what it was for every x in the span of M. Under SGD, with or without
    momentum, this is the published projection of the gradient, G <- G - G M M^T, since the step is
    linear in it; under Adam, with weight decay or under clipping, it still holds the outputs,
    which the projected gradient alone does not. Rounding does not add up over steps.

    After a task R holds the inputs of `samples` of its training samples (evaluation mode), in its
    columns. M is extended by the first left singular vectors of R - M M^T R, the fewest for which

        |M M^T R|^2 + |(R - M M^T R)_k|^2 >= (threshold + growth * t) |R|^2,   t = 0, 1, ...

    All that is no such weight is trained in the first task and frozen from then on, with running
    statistics: biases, norm layers, embeddings, attention. Of heads, those of other tasks get no
    gradient; a shared one is a layer like all others.

    Saha et al., "Gradient Projection Memory for Continual Learning", ICLR 2021, equations 5-9 and
    algorithm 1. They have no biases, and freeze batch norm likewise.

    Args:
        threshold: share of the inputs' energy that is held, in the first task.
        growth: by which the share grows from task to task, up to 1.
        samples: of each task.
    """

    def __init__(
        self, *, threshold: float = 0.97, growth: float = 0.003, samples: int = 125
    ) -> None:
        check_number("threshold", threshold, positive=True, to=1.0)
        check_number("growth", growth)
        check_positive_integer("samples", samples)
        self.threshold, self.growth, self.samples = threshold, growth, samples
        self._bases: dict[str, Tensor] = {}
        self._anchors: dict[str, Tensor] = {}
        self._held: list[tuple[Tensor, Tensor, Tensor]] | None = None

    @property
    def ranks(self) -> dict[str, tuple[int, int]]:
        """By layer, how many directions of its inputs are held, and out of how many."""
        return {n: (basis.shape[1], basis.shape[0]) for n, basis in self._bases.items()}

    def check(self, learner: Learner, stream: Stream) -> None:
        """Refuse networks whose weights this cannot hold.

        Raises:
            ValueError: the head grows, the backbone differs by task, there is no linear layer or
                convolution in it, a convolution has groups, or two layers share a weight.
        """
        if isinstance(learner.heads, GrowingHead):
            raise ValueError(
                "GPM needs heads 'per_task' or 'shared', got GrowingHead, whose new rows take part "
                "in the answers to earlier tasks however they are projected"
            )
        if learner.per_task:
            raise ValueError("GPM holds one backbone, the learner's backbone differs by task")
        layers = dict(_layers(learner))
        if not any(name.startswith("backbone.") or name == "backbone" for name in layers):
            raise ValueError("GPM holds linear layers and convolutions, the backbone has none")
        owner: dict[int, str] = {}
        for name, layer in layers.items():
            if getattr(layer, "groups", 1) != 1:
                raise ValueError(
                    f"GPM cannot hold {name}: its {layer.groups} groups see inputs of their own"
                )
            first = owner.setdefault(id(_weight(layer)), name)
            if first != name:
                raise ValueError(f"GPM cannot hold {name}: it shares its weight with {first}")

    def forget(self) -> None:
        """Drop the bases."""
        self._bases, self._anchors, self._held = {}, {}, None

    def begin_task(self, learner: Learner, context: Context) -> None:
        """Remember where the weights are; freeze what is not projected."""
        if self._bases:
            self._freeze(learner)
            layers = dict(_layers(learner))
            self._anchors = {n: _weight(layers[n]).detach().clone() for n in self._bases}
        self._held = None

    def loss(self, learner: Learner, batch: Batch, context: Context) -> tuple[Tensor, Tensor]:
        """The loss and logits of the batch, with frozen running statistics."""
        if self._bases:
            for module in learner.modules():
                if getattr(module, "running_mean", None) is not None:
                    module.eval()
        return super().loss(learner, batch, context)

    @torch.no_grad()
    def after_step(self, learner: Learner, batch: Batch, context: Context) -> None:
        """Take back what has moved within the spans."""
        if not self._bases:
            return
        if self._held is None:
            layers = dict(_layers(learner))
            self._held = [
                (w := _weight(layers[n]), self._anchors[n].to(w), self._bases[n].to(w))
                for n in self._bases
            ]
        for weight, anchor, basis in self._held:
            if weight.requires_grad:
                moved = (weight - anchor).flatten(1)
                moved = torch.addmm(moved, moved @ basis, basis.T, alpha=-1)
                weight.copy_(anchor + moved.view_as(anchor))

    @torch.no_grad()
    def end_task(self, learner: Learner, context: Context) -> None:
        """Extend the spans by the task's inputs."""
        share = min(1.0, self.threshold + self.growth * context.index)
        layers = dict(_layers(learner))
        for name, inputs in self._collect(learner, context).items():
            weight = _weight(layers[name])
            basis = self._bases.get(name, weight.new_empty(weight[0].numel(), 0))
            self._bases[name] = extend(basis.to(weight), inputs, share)
        self._anchors, self._held = {}, None
        self._freeze(learner)

    def state_dict(self) -> dict[str, Any]:
        """The spans, and the weights the task began with."""
        return {"bases": dict(self._bases), "anchors": dict(self._anchors)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self._bases, self._anchors = dict(state["bases"]), dict(state["anchors"])
        self._held = None

    def restore(self, learner: Learner, index: int) -> None:
        """Freeze what is not projected."""
        if self._bases:
            self._freeze(learner)

    def _freeze(self, learner: Learner) -> None:
        layers = dict(_layers(learner))
        projected = {id(_weight(layers[name])) for name in self._bases}
        heads = learner.heads.parameters() if isinstance(learner.heads, TaskHeads) else ()
        free = projected | {id(p) for p in heads}
        for p in learner.parameters():
            if id(p) not in free:
                p.requires_grad_(False)

    def _collect(self, learner: Learner, context: Context) -> dict[str, Inputs]:
        found: dict[str, Inputs] = {}

        def record(name: str, layer: nn.Module) -> Callable[..., None]:
            def hook(module: nn.Module, args: tuple[Tensor, ...]) -> None:
                found.setdefault(name, Inputs()).add(patches(layer, args[0]))

            return hook

        with evaluation_mode(learner), _hooked(learner, record):
            for batch in _sample(context, self.samples):
                learner(batch.x, batch.task)
        return found


def _layers(learner: Learner) -> Iterator[tuple[str, nn.Module]]:
    """The layers whose weights can be projected, by name; of task heads none."""
    own = isinstance(learner.heads, TaskHeads)
    for name, module in learner.named_modules():
        if type(module) in _KINDS and not (own and name.startswith("heads.")):
            yield name, module


def _weight(layer: nn.Module) -> Tensor:
    return cast(Tensor, layer.weight)


@contextmanager
def _hooked(
    learner: Learner, record: Callable[[str, nn.Module], Callable[..., None]]
) -> Iterator[None]:
    handles = [m.register_forward_pre_hook(record(n, m)) for n, m in _layers(learner)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _sample(context: Context, samples: int) -> Iterator[Batch]:
    """That many of the task's training samples, or all: drawn, in their stored order."""
    drawn = torch.randperm(len(context.source), generator=context.generator)[:samples]
    chosen = torch.zeros(len(context.source), dtype=torch.bool)
    chosen[drawn] = True
    start = 0
    for batch in context.source.batches(context.batch_size):
        at = chosen[start : start + len(batch)].nonzero().flatten().to(batch.x.device)
        start += len(batch)
        if len(at):
            task = batch.task[at] if isinstance(batch.task, Tensor) else batch.task
            yield Batch(batch.x[at], batch.y[at], task)
