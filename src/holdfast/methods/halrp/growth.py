"""What a task may take, fixed before it comes: growth that never touches earlier tasks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from holdfast.methods.halrp.adapted import Adapted
from holdfast.methods.halrp.layers import per_task_modules, perturbed_layers
from holdfast.methods.halrp.plan import Spectrum
from holdfast.methods.halrp.storage import Storage, rank_bytes
from holdfast.nets.heads import TaskHeads

AUTO = 0.2
"""Growth of all tasks that ``auto`` aims at."""

_NAME, _TASK = 16, 64
"""Bytes that the file of `save_packed` takes at most for name, shape and kind of a tensor, and for
the name of a task: its index is deflated, and names repeat."""


@dataclass(frozen=True)
class Costs:
    """What the tasks of a stream take in bytes, known before any is learned.

    Args:
        base: bytes of the base, the head of its own task included.
        fixed: of each later task, in order: all but U and V.
        least: of U and V of the smallest ranks that a task may have.
    """

    base: int
    fixed: tuple[int, ...]
    least: int

    @classmethod
    def of(
        cls,
        model: Adapted,
        heads: TaskHeads | None,
        classes: Sequence[int],
        storage: Storage = "float32",
        least: int = 1,
    ) -> "Costs":
        """Those of a model and the tasks that it is to learn.

        Args:
            model: adapted; what tasks it has already does not count.
            heads: of the learner, or `None` where tasks have none outside of the model.
            classes: number of classes of each task of the stream; the first is the base's own if
                the model has a ``base_task``.
            storage: of U and V.
            least: smallest rank of a layer (as far as it can have it).
        """
        first = 0 if model.base_task is None else 1
        base = sum(_bytes(t) for n, t in _state(model) if ".tasks." not in n)
        base += sum(_head_bytes(heads, count) for count in classes[:first])
        own = fixed_bytes(model)
        named = own if heads is None else own + (2 + int(heads.bias)) * _NAME
        fixed = tuple(named + _head_bytes(heads, count) for count in classes[first:])
        small = sum(
            min(least, layer.shape.largest_rank) * rank_bytes(layer.shape, storage)
            for _, layer in perturbed_layers(model)
        )
        return cls(base, fixed, small)

    def low_rank_of_growth(self, growth: float) -> int:
        """Bytes of each task's U and V, the same for all, if all tasks together take `growth`.

            (growth x base - sum of the fixed bytes) / tasks

        Equal in U and V, not in all: what a task can change does not depend on its place in the
        order, or on its number of classes.

        Args:
            growth: bytes of all tasks, as a share of the base's.

        Raises:
            ValueError: less than the tasks take with the smallest ranks; it says what they do.
        """
        tasks = len(self.fixed)
        if not tasks:
            return 0
        least = sum(self.fixed) + tasks * self.least
        if int(growth * self.base) < least:
            raise ValueError(
                f"growth {growth:g} allows {int(growth * self.base):,} bytes, but {tasks} tasks "
                f"take {least:,} with the smallest ranks ({sum(self.fixed):,} without U and V); "
                f"the smallest growth is {_up(least / self.base)}"
            )
        return (int(growth * self.base) - sum(self.fixed)) // tasks

    def low_rank_auto(self) -> int:
        """Bytes of each task's U and V for a growth of .2, or more where this leaves little.

        As `low_rank_of_growth`, and at least as many as the fixed bytes of a task on average: of
        small bases and long streams these alone come near to .2, or past it. Never refused.
        """
        tasks = len(self.fixed)
        if not tasks:
            return 0
        fixed = sum(self.fixed)
        return max((int(AUTO * self.base) - fixed) // tasks, fixed // tasks, self.least)

    def low_rank_of_task(self, share: float, task: int) -> int:
        """Bytes of one task's U and V, if it takes a share of the base's bytes in all.

        Args:
            share: bytes of the task over those of the base.
            task: position among the tasks that perturb the base, from 0.

        Raises:
            ValueError: less than it takes with the smallest ranks; it says what that is.
        """
        least = self.fixed[task] + self.least
        if int(share * self.base) < least:
            raise ValueError(
                f"task_budget {share:g} allows {int(share * self.base):,} bytes, but a task takes "
                f"{least:,} with the smallest ranks ({self.fixed[task]:,} without U and V); the "
                f"smallest task_budget is {_up(least / self.base)}"
            )
        return int(share * self.base) - self.fixed[task]


def fixed_bytes(model: Adapted) -> int:
    """Bytes that a task takes whatever its ranks: r, s, biases, norm layers with their statistics,
    heads inside of the model, and names; heads of a learner come on top.
    """
    total = _TASK
    for _, layer in perturbed_layers(model):
        size, shape = layer.base_weight.element_size(), layer.shape
        total += size * (shape.out + shape.into * shape.groups) + 4 * _NAME
        if layer.bias is not None:
            total += _bytes(layer.bias) + _NAME
    for _, module in per_task_modules(model):
        total += sum(_bytes(t) + _NAME for _, t in _state(module.base))
    return total


def _state(module: nn.Module) -> list[tuple[str, Tensor]]:
    """Tensors that are stored."""
    return [(n, t) for n, t in module.state_dict().items() if not n.endswith("_extra_state")]


def _head_bytes(heads: TaskHeads | None, classes: int) -> int:
    if heads is None:
        return 0
    weights = (heads.width + int(heads.bias)) * classes * heads.place.element_size()
    return weights + 8 * classes


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def fitting_rank(spectra: Mapping[str, Spectrum], budget: int, most: int) -> int:
    """The largest rank, the same for every layer as far as it can have it, that fits in a budget.

    Args:
        spectra: with the cost of a rank of each layer.
        budget: in the units of the costs.
        most: largest rank.
    """
    fits = 0
    for rank in range(1, min(most, max(c.largest for c in spectra.values())) + 1):
        if sum(min(rank, c.largest) * c.cost for c in spectra.values()) > budget:
            break
        fits = rank
    return fits


def _up(share: float) -> str:
    """In four decimals, rounded up so that it is enough."""
    return f"{share + 1e-4:.4f}"
