"""How far training on a task moves the weights, as a probe of a run."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from holdfast.nets.learner import Learner
from holdfast.probes.norms import effective_learning_rate, length
from holdfast.probes.probe import Phase
from holdfast.probes.shown import shown_task
from holdfast.streams.batches import Batch


class Updates:
    """Probe: how far training moved the weights, and the effective learning rate.

    With theta the parameters trained on the current task and theta' their values just before it,
    measured with it alone:

    - ``update``: |theta - theta'|, the length of all updates on the task together;
    - ``relative``: |theta - theta'| / |theta'|;
    - ``effective_lr``, ``effective_lr_before``: `effective_learning_rate`, with the largest rate of
      the schedule; where parameters have rates of their own, their mean, each counted as often as
      it has entries.

    Parameters whose shape has changed, or that a method has replaced, are left out; NaN where none
    is left. No pass through the network; a copy of the parameters is kept, in checkpoints too.
    """

    columns = ("update.own", "relative.own", "effective_lr.own", "effective_lr_before.own")

    def __init__(self) -> None:
        self._before: dict[str, Tensor] = {}
        self._phase: dict[str, Any] = {}

    def before(self, learner: Learner, batch: Batch, phase: Phase) -> None:
        """Remember the parameters that will be trained."""
        if batch.task != phase.index:
            return
        rates = phase.learning_rates
        named = {n: p.detach().clone() for n, p in learner.named_parameters() if n in rates}
        entries = sum(p.numel() for p in named.values())
        mean = sum(rates[name] * p.numel() for name, p in named.items()) / max(1, entries)
        self._before = named
        self._phase = {"task": shown_task(batch), "lr": mean, "optimizer": phase.optimizer}

    def measure(self, learner: Learner, batch: Batch) -> dict[str, float]:
        """The movement, with the current task; nothing without `before`."""
        if not self._phase or self._phase["task"] != shown_task(batch):
            return {}
        now, then = [], []
        for name, p in learner.named_parameters():
            if name in self._before and self._before[name].shape == p.shape:
                now.append(p.detach())
                then.append(self._before[name].to(p.device))
        if not now:
            return dict.fromkeys((c.removesuffix(".own") for c in self.columns), float("nan"))
        moved, began = length(torch.sub(a, b) for a, b in zip(now, then, strict=True)), length(then)
        return {
            "update": moved,
            "relative": moved / began if began else float("inf"),
            "effective_lr": self._rate(now),
            "effective_lr_before": self._rate(then),
        }

    def state_dict(self) -> dict[str, Any]:
        """The parameters when the current task began, and how it is trained."""
        return {"before": self._before, "phase": self._phase}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self._before, self._phase = dict(state["before"]), dict(state["phase"])

    def _rate(self, weights: Iterable[Tensor]) -> float:
        return effective_learning_rate(self._phase["lr"], length(weights), self._phase["optimizer"])
