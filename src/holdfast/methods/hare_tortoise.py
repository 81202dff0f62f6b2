"""A fast network that learns, and its slow average that is kept."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from holdfast.methods.arguments import check_number, check_positive_integer
from holdfast.methods.method import Method
from holdfast.nets.learner import Learner
from holdfast.streams.batches import Batch
from holdfast.streams.context import Context
from holdfast.streams.stream import Stream


class Tortoise:
    """The exponential moving average of a network that is being trained, the hare.

    It begins as the hare is, and with each `follow`

        tortoise <- mu tortoise + (1 - mu) hare,

    for all parameters and all buffers of floating point, among them the running statistics of batch
    norm; what is frozen or does not move stays as it is, bit for bit. Counters and other integers
    are the hare's.

    For a training loop of one's own: ``tortoise = Tortoise(model)``, ``tortoise.follow(model)``
    behind each step, now and then ``tortoise.give(model)``, and evaluation under
    ``with tortoise.swapped(model)``.

    Args:
        hare: any module.
        mu: how much of the tortoise stays.

    Raises:
        TypeError, ValueError: a `mu` outside [0, 1], or a parameter of fewer than 32 bits, whose
            average would stand still.

    >>> hare = nn.Linear(1, 1, bias=False)
    >>> tortoise = Tortoise(hare, mu=0.75)
    >>> start = hare.weight.item()
    >>> _ = hare.weight.data.add_(4.0)
    >>> tortoise.follow(hare)
    >>> with tortoise.swapped(hare):
    ...     round(hare.weight.item() - start, 4)
    1.0
    """

    def __init__(self, hare: nn.Module, mu: float = 0.999) -> None:
        check_number("mu", mu, to=1.0)
        _check_bits(hare)
        self.mu = mu
        self._own = {name: value.clone() for name, value in _floating(hare).items()}

    @torch.no_grad()
    def follow(self, hare: nn.Module) -> None:
        """Take a step towards the hare."""
        own, others = self._pairs(hare)
        torch._foreach_lerp_(own, others, 1 - self.mu)

    @torch.no_grad()
    def give(self, hare: nn.Module) -> None:
        """Put the hare where the tortoise is."""
        own, others = self._pairs(hare)
        torch._foreach_copy_(others, own)

    @contextmanager
    def swapped(self, hare: nn.Module) -> Iterator[None]:
        """Within the block the hare is where the tortoise is; after it, where it was."""
        kept = {name: value.clone() for name, value in _floating(hare).items()}
        self.give(hare)
        try:
            yield
        finally:
            with torch.no_grad():
                for name, value in _floating(hare).items():
                    value.copy_(kept[name])

    def state_dict(self) -> dict[str, Tensor]:
        """The averages, by the names of the hare's state."""
        return dict(self._own)

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """The inverse of `state_dict`."""
        self._own = {name: state[name].to(value) for name, value in self._own.items()}

    def _pairs(self, hare: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
        theirs = _floating(hare)
        if theirs.keys() != self._own.keys():
            changed = sorted(theirs.keys() ^ self._own.keys())
            raise ValueError(
                f"the hare is not the network the tortoise began with: {changed[0]} is in one of "
                "them alone; make a new Tortoise of it"
            )
        return list(self._own.values()), list(theirs.values())


class HareTortoise(Method):
    """A fast network, the hare, is trained; its slow average, the tortoise, is evaluated and kept.

    After each step the tortoise follows the hare,

        tortoise <- mu tortoise + (1 - mu) hare,

    and every `period` steps of a task the hare is put back to where the tortoise is. All parameters
    are averaged and all running statistics; see `Tortoise`. The moments of the optimizer stay.
    Evaluations within a task, and everything after it, see the tortoise: at the end of a task the
    learner becomes the tortoise, and the next task begins from there, as its start prepares it. The
    training loss and accuracy are the hare's.

    The averages lag by about 1 / (1 - mu) steps: in a task shorter than that the tortoise
    hardly leaves its start, and a smaller `mu` is called for.

    Lee et al., "Slow and Steady Wins the Race: Maintaining Plasticity with Hare and Tortoise
    Networks", ICML 2024. They have no tasks whose ends are known; that the hare begins each task
    as the tortoise is ours, and so is the default of `period`.

    Args:
        mu: how much of the tortoise stays in a step.
        period: steps of a task between two resets of the hare.
    """

    def __init__(self, *, mu: float = 0.999, period: int = 1000) -> None:
        check_number("mu", mu, to=1.0)
        check_positive_integer("period", period)
        self.mu, self.period = mu, period
        self._tortoise: Tortoise | None = None
        self._steps = 0
        self._saved: dict[str, Any] = {}

    def check(self, learner: Learner, stream: Stream) -> None:
        """Refuse parameters of fewer than 32 bits.

        Raises:
            ValueError: naming one.
        """
        _check_bits(learner)

    def begin_task(self, learner: Learner, context: Context) -> None:
        """Both are the learner as the start prepared it."""
        self._tortoise, self._steps = Tortoise(learner, self.mu), 0

    def after_step(self, learner: Learner, batch: Batch, context: Context) -> None:
        """The tortoise follows; from time to time the hare comes back to it."""
        assert self._tortoise is not None
        self._tortoise.follow(learner)
        self._steps += 1
        if self._steps % self.period == 0:
            self._tortoise.give(learner)

    def end_task(self, learner: Learner, context: Context) -> None:
        """The tortoise is kept."""
        assert self._tortoise is not None
        self._tortoise.give(learner)
        self._tortoise = None

    def evaluated(self, learner: Learner) -> AbstractContextManager[None]:
        """The tortoise."""
        return nullcontext() if self._tortoise is None else self._tortoise.swapped(learner)

    def state_dict(self) -> dict[str, Any]:
        """The tortoise, within a task, and the steps of it so far."""
        if self._tortoise is None:
            return {}
        return {"tortoise": self._tortoise.state_dict(), "steps": self._steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`, as far as it goes before `restore`."""
        self._tortoise, self._saved = None, dict(state)

    def restore(self, learner: Learner, index: int) -> None:
        """Rebuild the tortoise in the structure of the learner."""
        saved, self._saved = self._saved, {}
        if saved:
            self._tortoise, self._steps = Tortoise(learner, self.mu), int(saved["steps"])
            self._tortoise.load_state_dict(saved["tortoise"])


def _check_bits(model: nn.Module) -> None:
    """Refuse parameters whose average a small step would not move.

    Raises:
        ValueError: naming the first of fewer than 32 bits.
    """
    for name, value in _floating(model).items():
        if value.element_size() < 4:
            raise ValueError(
                f"{name} is {str(value.dtype).removeprefix('torch.')}, too coarse for an average "
                "that moves by a thousandth; keep parameters in float32 (training.precision "
                "'bfloat16' does)"
            )


def _floating(model: nn.Module) -> dict[str, Tensor]:
    """What the state of a module holds of floating point, in place and not as copies."""
    return {name: v for name, v in model.state_dict().items() if v.is_floating_point()}
