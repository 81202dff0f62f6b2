"""What methods share that replace units while a net is trained."""

from collections.abc import Mapping
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

from torch import Tensor
from torch.optim import Optimizer

from holdfast.methods.method import Method
from holdfast.methods.unit_replacement import check_replaceable
from holdfast.nets.learner import Learner
from holdfast.nets.unit_paths import sample_inputs, unit_paths
from holdfast.streams.batches import Batch
from holdfast.streams.context import Context
from holdfast.streams.stream import Stream


@runtime_checkable
class Replacer(Protocol):
    """Replaces units of one network around the steps of an optimizer."""

    def before(self, optimizer: Optimizer | None) -> None:
        """Get ready for the optimizer's step."""

    def state_dict(self) -> dict[str, Any]:
        """All that must survive a kill."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""


Kind = TypeVar("Kind", bound=Replacer)


class ReplacingMethod(Method, Generic[Kind]):
    """A method around a replacer of its kind, which is made at the first step of a run.

    A subclass makes it (`_make`), asks it after each step and has what it did counted (`_count`).
    """

    def __init__(self) -> None:
        self._replacer: Kind | None = None
        self._saved: dict[str, Any] = {}
        self._replaced: dict[str, int] = {}

    def check(self, learner: Learner, stream: Stream) -> None:
        """Refuse a network without a layer whose units can be replaced.

        Raises:
            ValueError: naming the layers and the reason for each.
        """
        check_replaceable(learner, unit_paths(learner, sample_inputs(learner, stream[0])))

    def begin_task(self, learner: Learner, context: Context) -> None:
        """A first task begins with nothing counted."""
        if context.index == 0:
            self._replacer, self._saved, self._replaced = None, {}, {}

    def after_backward(self, learner: Learner, batch: Batch, context: Context) -> None:
        """Get ready for the optimizer's step."""
        self._made(learner, context).before(context.optimizer())

    def state_dict(self) -> dict[str, Any]:
        """What the replacer keeps, and how many units began anew."""
        known = self._saved if self._replacer is None else self._replacer.state_dict()
        return {"replacer": known, "replaced": dict(self._replaced)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self._replacer, self._saved = None, dict(state["replacer"])
        self._replaced = dict(state["replaced"])

    def _make(self, learner: Learner, x: Tensor, seed: int) -> Kind:
        """The replacer of a learner; each method has its own."""
        raise NotImplementedError

    def _made(self, learner: Learner, context: Context) -> Kind:
        if self._replacer is None:
            self._replacer = self._make(learner, sample_inputs(learner, context.task), context.seed)
            if self._saved:
                self._replacer.load_state_dict(self._saved)
        return self._replacer

    def _count(self, done: Mapping[str, int]) -> None:
        for name, count in done.items():
            self._replaced[name] = self._replaced.get(name, 0) + count
