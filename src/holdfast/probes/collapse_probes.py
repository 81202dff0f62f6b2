"""Neural collapse of a learner in a run."""

import math
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor

from holdfast.nets.heads import TaskHeads
from holdfast.nets.learner import Learner
from holdfast.probes.neural_collapse import (
    CLASSICAL_NAMES,
    NAMES,
    classical_neural_collapse,
    neural_collapse,
)
from holdfast.probes.probe import Phase
from holdfast.probes.shown import shown_task
from holdfast.streams.batches import Batch


class NeuralCollapse:
    """Probe: `neural_collapse` of the penultimate features and the head.

    Where tasks share a head all classes seen so far are measured together, with the current task
    (``nc1.own`` and so on in the table of a study); where each has its own, each task by itself.
    The rows are those of classes that the samples hold, the classes to come left out; a factor of
    the head is counted in. Without `before`, in a loop of one's own, a batch is measured by itself.

    The samples are those that probes are shown, of the evaluation split: papers measure collapse on
    training samples, where ``nc1`` is smaller. NaN of fewer than two classes.
    """

    columns: tuple[str, ...] = (*NAMES, *(f"{name}.own" for name in NAMES))
    names: ClassVar[tuple[str, ...]] = NAMES
    function: ClassVar[Callable[..., dict[str, float]]] = staticmethod(neural_collapse)

    def __init__(self) -> None:
        self._current: int | None = None
        self._seen: list[tuple[Tensor, Tensor]] = []

    def before(self, learner: Learner, batch: Batch, phase: Phase) -> None:
        """Learn which task is the current one.

        Raises:
            ValueError: the targets are no classes.
        """
        _check(batch)
        self._current, self._seen = phase.index, []

    @torch.no_grad()
    def measure(self, learner: Learner, batch: Batch) -> dict[str, float]:
        """The numbers on the current task; before it, nothing where tasks share a head.

        Raises:
            ValueError: the targets are no classes.
        """
        _check(batch)
        task = int(shown_task(batch))
        self._seen.append((learner.features(batch.x, task), batch.y))
        alone = self._current is None or isinstance(learner.heads, TaskHeads)
        if not alone and task != self._current:
            return {}
        features, columns = (torch.cat(parts) for parts in zip(*self._seen, strict=True))
        self._seen = []
        rows, labels = columns.unique(return_inverse=True)
        if len(rows) < 2:
            return dict.fromkeys(self.names, math.nan)
        # Whatever the head is made of: its logits are W h + b.
        eye = torch.eye(features.shape[1], dtype=features.dtype, device=features.device)
        bias = learner.heads(torch.zeros_like(eye[:1]), task)[0]
        weight = (learner.heads(eye, task) - bias).T
        return type(self).function(features, labels, weight[rows], bias[rows])

    def state_dict(self) -> dict[str, Any]:
        """The current task."""
        return {"current": self._current}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self._current, self._seen = state["current"], []


class ClassicalNeuralCollapse(NeuralCollapse):
    """Probe: `classical_neural_collapse`, of what `NeuralCollapse` measures."""

    columns = (*CLASSICAL_NAMES, *(f"{name}.own" for name in CLASSICAL_NAMES))
    names = CLASSICAL_NAMES
    function = staticmethod(classical_neural_collapse)


def _check(batch: Batch) -> None:
    if batch.y.is_floating_point():
        raise ValueError("neural collapse is of classes; the stream has regression targets")
