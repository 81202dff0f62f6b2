"""One forward and one backward pass, from which the rules make squared per-sample gradients."""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge

from holdfast.curvature.calls import Call, parameter_uses, recorded_calls
from holdfast.curvature.per_sample import Forward
from holdfast.curvature.registry import Rule, rule_for

_ELEMENTS = 1 << 24
"""Entries of gradients with respect to layer outputs held at a time."""


class Layers:
    """The layers of a model whose rules may be used, found out as batches come.

    A rule is used where the layer is called once, its parameters are used nowhere else, and the
    first dimension of its input is that of the samples, as seen on batches of two sizes.

    Args:
        model: what `forward` calls.
        forward: (inputs, task) -> outputs.
        wanted: the parameters asked for.
    """

    def __init__(
        self, model: nn.Module, forward: Forward, wanted: Mapping[str, nn.Parameter]
    ) -> None:
        self.forward = forward
        self.wanted = {id(p): p for p in wanted.values()}
        self.names = {id(p): name for name, p in wanted.items()}
        self.rules: dict[nn.Module, tuple[Rule, dict[str, nn.Parameter]]] = {}
        for layer in model.modules():
            found = rule_for(layer)
            owned = {n: p for n, p in layer.named_parameters() if id(p) in self.wanted}
            if found is not None and owned:
                self.rules[layer] = (found, owned)
        self.batch_first: dict[nn.Module, bool] = {}

    def run(self, x: Tensor, task: int | Tensor | None) -> "Pass":
        """The forward pass of a batch."""
        with recorded_calls(self.rules) as calls:
            outputs = self.forward(x, task)
        if any(layer not in self.batch_first for layer in calls):
            self._look_at_batches(calls, x, task)
        uses = parameter_uses(outputs)
        usable = {
            layer: layer_calls[0]
            for layer, layer_calls in calls.items()
            if len(layer_calls) == 1
            and layer_calls[0].leads_with(len(x))
            and self.batch_first[layer]
            and any(uses[id(p)] == 1 for p in self.rules[layer][1].values())
        }
        return Pass(self, outputs, usable, dict(uses))

    def _look_at_batches(
        self, calls: Mapping[nn.Module, Sequence[Call]], x: Tensor, task: int | Tensor | None
    ) -> None:
        # A sequence-first layer, called with as many positions as there are samples, looks
        # batch-first until the number of samples changes.
        samples = 1 if len(x) == 2 else 2
        rows = torch.arange(samples, device=x.device) % len(x)
        with recorded_calls(self.rules) as again:
            self.forward(x[rows], task[rows] if isinstance(task, Tensor) else task)
        for layer in calls:
            seen = again.get(layer, [])
            self.batch_first[layer] = bool(seen) and all(c.leads_with(samples) for c in seen)


class Pass:
    """A forward pass: its outputs, and squared gradients of any directions in their space."""

    def __init__(
        self,
        layers: Layers,
        outputs: Tensor,
        usable: Mapping[nn.Module, Call],
        uses: Mapping[int, int],
    ) -> None:
        self.layers, self.outputs, self.usable, self.uses = layers, outputs, usable, uses

    @property
    def used(self) -> dict[int, nn.Parameter]:
        """The wanted parameters on which the outputs depend, by `id`."""
        return {key: p for key, p in self.layers.wanted.items() if self.uses.get(key, 0)}

    @property
    def at_a_time(self) -> int:
        """How many directions to differentiate along at once, to bound the memory."""
        held = sum(torch.Size(call.shape).numel() for call in self.usable.values())
        return max(1, _ELEMENTS // max(1, held, self.outputs.numel()))

    def squares(self, directions: Float[Tensor, "k n outputs"]) -> dict[int, Tensor]:
        """sum_kn (d c_kn . outputs_n / dw)^2 of every parameter a rule covers, by `id`."""
        edges = [call.output for call in self.usable.values()]
        found: dict[int, Tensor] = {}
        if not edges:
            return found
        gradients = _gradients(self.outputs, edges, directions)
        for (layer, call), grads in zip(self.usable.items(), gradients, strict=True):
            rule, owned = self.layers.rules[layer]
            for name, value in rule(layer, call.inputs, grads).items():
                if name in owned and self.uses.get(id(owned[name]), 0) == 1:
                    found[id(owned[name])] = value
        return found


def _gradients(
    outputs: Tensor, edges: Sequence[GradientEdge], directions: Float[Tensor, "k n outputs"]
) -> Sequence[Tensor]:
    if len(directions) > 1:
        try:
            return torch.autograd.grad(
                outputs, edges, directions, retain_graph=True, is_grads_batched=True
            )
        except RuntimeError:
            pass  # an operation without a batched backward: one direction after the other
    each = [torch.autograd.grad(outputs, edges, c, retain_graph=True) for c in directions]
    if len(each) == 1:
        return [g.unsqueeze(0) for g in each[0]]
    return [torch.stack(grads) for grads in zip(*each, strict=True)]
