"""How far the features of tasks move while a network learns."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from holdfast.nets.learner import Learner
from holdfast.probes.cka import gram_cka, kernel_alignment
from holdfast.probes.probe import Phase
from holdfast.probes.shown import evenly_spaced, shown_task
from holdfast.streams.batches import Batch

_KEYS = ("moved", "kernel_moved", "relative", "rms", "drift")


def relative_movement(before: Float[Tensor, "n d"], after: Float[Tensor, "_ _"]) -> float:
    """Length of the movement over that of the features: |H' - H|_F / |H|_F.

    Infinite, or NaN, where the features were 0. Computed in float64.

    Raises:
        ValueError: the shapes differ.

    >>> relative_movement(torch.ones(2, 8), 1.5 * torch.ones(2, 8))
    0.5
    """
    return (_movement(before, after).norm() / before.double().norm()).item()


def rms_movement(before: Float[Tensor, "n d"], after: Float[Tensor, "_ _"]) -> float:
    """Root mean square of the movement of an entry: |H' - H|_F / sqrt(n d).

    What a parametrization that scales with the width keeps free of it. Computed in float64.

    Raises:
        ValueError: the shapes differ.

    >>> rms_movement(torch.ones(2, 8), 1.5 * torch.ones(2, 8))
    0.5
    """
    return _movement(before, after).square().mean().sqrt().item()


def _movement(before: Tensor, after: Tensor) -> Tensor:
    if before.shape != after.shape:
        raise ValueError(
            f"before and after must be features of the same samples and width, got shapes "
            f"{tuple(before.shape)} and {tuple(after.shape)}"
        )
    return after.double() - before.double()


class FeatureMovement:
    """Probe: how far training on the current task moved the penultimate features of each task.

    With H and H' the features of a task just before the current task was trained and after it,
    and K = H H^T:

    - ``moved``: 1 - `cka` (H, H'), the change in shape;
    - ``kernel_moved``: 1 - `kernel_alignment` (K, K'), the same without centring;
    - ``relative``: `relative_movement`, the change in length and direction;
    - ``rms``: `rms_movement`;
    - ``drift``: 1 - `cka` of the features now and right after the task was learned; 0 then.

    NaN where there is nothing to compare with: without `before`, or when the width changed.

    It keeps features of n samples of each task, and a matrix (n, n), in checkpoints too.

    Args:
        samples: n, of those that probes are shown, evenly spaced.

    Raises:
        ValueError: `samples` is less than 2.
    """

    columns = (*_KEYS, *(f"{key}.own" for key in _KEYS))

    def __init__(self, samples: int = 256) -> None:
        if samples < 2:
            raise ValueError(f"samples must be 2 or more, got {samples}")
        self.samples = samples
        self._before: dict[str, Tensor] = {}
        self._learned: dict[str, Tensor] = {}

    def before(self, learner: Learner, batch: Batch, phase: Phase) -> None:
        """Remember the features of the task, which training may move."""
        if phase.index == 0:  # of another run
            self._before, self._learned = {}, {}
        self._before[shown_task(batch)] = self._features(learner, batch)

    def measure(self, learner: Learner, batch: Batch) -> dict[str, float]:
        """The movement since `before` and since the first measurement on the task."""
        task, now = shown_task(batch), self._features(learner, batch)
        kernel = _gram(now)
        learned = self._learned.setdefault(task, kernel)
        values = dict.fromkeys(_KEYS, float("nan"))
        values["drift"] = 1 - gram_cka(learned.to(kernel.device), kernel)
        then = self._before.get(task, now[:0]).to(now.device)
        if then.shape == now.shape:
            was = _gram(then)
            values["moved"] = 1 - gram_cka(was, kernel)
            values["kernel_moved"] = 1 - kernel_alignment(was, kernel)
            values["relative"] = relative_movement(then, now)
            values["rms"] = rms_movement(then, now)
        return values

    def state_dict(self) -> dict[str, Any]:
        """Features before the current task, and kernels after each one was learned."""
        return {"before": self._before, "learned": self._learned}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self._before, self._learned = dict(state["before"]), dict(state["learned"])

    @torch.no_grad()
    def _features(self, learner: Learner, batch: Batch) -> Tensor:
        return learner.features(batch.x[evenly_spaced(len(batch), self.samples)], batch.task)


def _gram(features: Tensor) -> Tensor:
    features = features.double()
    return features @ features.T
