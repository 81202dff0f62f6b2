"""Probes that look at the current task before and after it is trained."""

import math
from abc import ABC, abstractmethod
from contextlib import ExitStack
from typing import Any, ClassVar

from holdfast.nets.learner import Learner
from holdfast.probes.differentiable import requiring
from holdfast.probes.probe import LossKind, Phase
from holdfast.probes.shown import shown_samples, shown_task
from holdfast.streams.batches import Batch


def before_and_after(*keys: str) -> tuple[str, ...]:
    """The columns of a probe that is an `AtTask`.

    >>> before_and_after("rank")
    ('rank.own', 'rank_before.own')
    """
    return tuple(f"{key}{when}.own" for key in keys for when in ("", "_before"))


class AtTask(ABC):
    """A probe whose numbers are of the current task, when its training begins and when it ended.

    Values of the beginning have ``_before`` after their name. On earlier tasks there are none.
    Differentiated are the parameters that were trained on the task, also if they are frozen by now;
    NaN where a method has put others in their place. Without `before`, in a loop of one's own, each
    batch is measured as it is.

    Args:
        samples: at most, of those that probes are shown, evenly spaced.

    Raises:
        ValueError: fewer than two samples.
    """

    keys: ClassVar[tuple[str, ...]]

    def __init__(self, samples: int) -> None:
        if samples < 2:
            raise ValueError(f"samples must be 2 or more, got {samples}")
        self.samples = samples
        self._current: dict[str, Any] = {}

    @abstractmethod
    def values(self, learner: Learner, batch: Batch, loss: LossKind | None) -> dict[str, float]:
        """The numbers of a batch, by the parameters that require a gradient."""

    def before(self, learner: Learner, batch: Batch, phase: Phase) -> None:
        """Look at the current task."""
        if batch.task != phase.index:
            return
        trained = list(phase.learning_rates)
        self._current = {"task": shown_task(batch), "loss": phase.loss, "trained": trained}
        self._current["values"] = self._values(learner, batch)

    def measure(self, learner: Learner, batch: Batch) -> dict[str, float]:
        """The numbers on the current task, now and before it was trained."""
        if self._current and self._current["task"] != shown_task(batch):
            return {}
        earlier = self._current.get("values", {})
        return self._values(learner, batch) | {f"{k}_before": v for k, v in earlier.items()}

    def state_dict(self) -> dict[str, Any]:
        """The current task and its numbers when it began."""
        return {"current": self._current}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self._current = dict(state["current"])

    def _values(self, learner: Learner, batch: Batch) -> dict[str, float]:
        some = shown_samples(batch, self.samples)
        with ExitStack() as stack:
            if "trained" in self._current:
                stack.enter_context(requiring(learner, self._current["trained"]))
            if not any(p.requires_grad for p in learner.parameters()):
                return dict.fromkeys(self.keys, math.nan)
            return self.values(learner, some, self._current.get("loss"))
