"""What a forward pass does: the calls of its layers, and how often it uses each parameter."""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge


@dataclass(frozen=True, eq=False)
class Call:
    """One call of a layer.

    Args:
        inputs: its arguments in order.
        output: where the gradient with respect to its output is found; an edge rather than the
            tensor, which a layer that follows may overwrite in place.
        shape: of its output.
    """

    inputs: tuple[Any, ...]
    output: GradientEdge
    shape: tuple[int, ...]

    def leads_with(self, samples: int) -> bool:
        """Whether the first dimension of input and output has the size of the batch."""
        x = self.inputs[0]
        return len(self.shape) > 1 and len(x) == samples == self.shape[0]


@contextmanager
def recorded_calls(layers: Iterable[nn.Module]) -> Iterator[dict[nn.Module, list[Call]]]:
    """The differentiable calls of each of these layers within the block."""
    calls: dict[nn.Module, list[Call]] = {}

    def hook(
        layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor
    ) -> None:
        if output.requires_grad:
            inputs = (*args, *kwargs.values())
            call = Call(inputs, get_gradient_edge(output), tuple(output.shape))
            calls.setdefault(layer, []).append(call)

    with ExitStack() as stack:
        for layer in layers:
            # First, to see what the layer itself gave before other hooks change it.
            stack.enter_context(layer.register_forward_hook(hook, prepend=True, with_kwargs=True))
        yield calls


def parameter_uses(output: Tensor) -> Counter[int]:
    """How often the graph of `output` uses each leaf tensor, by the leaf's `id`.

    A use that no layer's call accounts for, such as a weight tied to another layer's or one read
    by a function, shows here.
    """
    uses: Counter[int] = Counter()
    if output.grad_fn is None:
        return uses
    seen, open_ends = {output.grad_fn}, [output.grad_fn]
    while open_ends:
        for node, _ in open_ends.pop().next_functions:
            if node is None:
                continue
            leaf = getattr(node, "variable", None)
            if leaf is not None:
                uses[id(leaf)] += 1
            elif node not in seen:
                seen.add(node)
                open_ends.append(node)
    return uses
