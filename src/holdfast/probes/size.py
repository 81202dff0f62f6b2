"""What a learner takes to keep."""

from functools import singledispatch
from typing import Any, NamedTuple

from torch import nn

from holdfast.nets.learner import Learner
from holdfast.probes.probe import Phase
from holdfast.probes.shown import shown_task
from holdfast.streams.batches import Batch

_KEYS = ("bytes", "growth", "growth_counted")


class Size(NamedTuple):
    """What is stored to predict with a learner.

    Args:
        bytes: of all of it.
        counted: parameters, as the method's authors count them.
        base_bytes, base_counted: of what it is compared with; `None` for the learner as it was
            when it had learned one task.
    """

    bytes: int
    counted: int
    base_bytes: int | None = None
    base_counted: int | None = None


@singledispatch
def measured_size(backbone: nn.Module, learner: Learner) -> Size:
    """The size of a learner, by the kind of its backbone.

    Of any backbone: the bytes of all parameters and buffers of the learner, and the number of
    parameters. A kind that is stored in another way has a rule of its own:
    ``@measured_size.register``.
    """
    tensors = [*learner.parameters(), *learner.buffers()]
    bytes_of = sum(t.numel() * t.element_size() for t in tensors)
    return Size(bytes_of, sum(p.numel() for p in learner.parameters()))


class LearnerSize:
    """Probe: what it takes to keep the learner, and how much it has grown.

    - ``bytes``: of all that is needed to predict (see `measured_size`), so without a method's
      memory of samples or past gradients;
    - ``growth``: bytes over those of the base, less 1;
    - ``growth_counted``: the same in parameters as the method's authors count them.

    The base is the learner with one task learned, unless the backbone says what it is. All are the
    same on whichever task.
    """

    columns = (*_KEYS, *(f"{key}.own" for key in _KEYS))

    def __init__(self) -> None:
        self._first: list[int] = []
        self._found: dict[str, float] = {}

    def before(self, learner: Learner, batch: Batch, phase: Phase) -> None:
        """Forget what another run was compared with."""
        if phase.index == 0:
            self._first, self._found = [], {}

    def measure(self, learner: Learner, batch: Batch) -> dict[str, float]:
        """The size now; measured on the first of the tasks, and told on the others."""
        if shown_task(batch) == "0" or not self._found:
            self._found = self._measure(learner)
        return dict(self._found)

    def _measure(self, learner: Learner) -> dict[str, float]:
        found = measured_size(learner.backbone, learner)
        self._first = self._first or [found.bytes, found.counted]
        base_bytes = self._first[0] if found.base_bytes is None else found.base_bytes
        base_counted = self._first[1] if found.base_counted is None else found.base_counted
        return {
            "bytes": float(found.bytes),
            "growth": found.bytes / base_bytes - 1,
            "growth_counted": found.counted / base_counted - 1,
        }

    def state_dict(self) -> dict[str, Any]:
        """What the learner is compared with."""
        return {"first": self._first}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self._first = list(state["first"])
