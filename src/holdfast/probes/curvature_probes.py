"""Sharpness, trace, rank and change of the Hessian, as probes of a run."""

import math
from typing import Any, get_args

from torch import Tensor

from holdfast.nets.learner import Learner
from holdfast.probes.at_task import AtTask, before_and_after
from holdfast.probes.curvature_change import (
    CurvatureShift,
    Surface,
    curvature_shift,
    top_curvature,
)
from holdfast.probes.differentiable import requiring
from holdfast.probes.hessian import hessian_trace, sharpness
from holdfast.probes.hessian_rank import check_quadrature, hessian_rank
from holdfast.probes.lanczos import Eigenpairs
from holdfast.probes.probe import LossKind, Phase
from holdfast.probes.shown import shown_samples, shown_task
from holdfast.streams.batches import Batch


class Sharpness(AtTask):
    """Probe: `sharpness` of the loss on the current task, before and after training.

    ``top`` is the largest eigenvalue lambda_1 of the Hessian, ``top_before`` when training begins.
    Of evaluation samples, in evaluation mode: the curvature that training feels is that of training
    samples and, with batch norm, of batches.

    Args:
        samples: at most, of those that probes are shown, evenly spaced.
        tolerance: relative, of the iteration: some ten products with the Hessian.

    Raises:
        ValueError: fewer than two samples, or a tolerance that is not above 0.
    """

    keys = ("top",)
    columns = before_and_after(*keys)

    def __init__(self, samples: int = 128, tolerance: float = 1e-2) -> None:
        super().__init__(samples)
        if not tolerance > 0:
            raise ValueError(f"tolerance must be above 0, got {tolerance}")
        self.tolerance = tolerance

    def values(self, learner: Learner, batch: Batch, loss: LossKind | None) -> dict[str, float]:
        """The largest eigenvalue."""
        return {"top": sharpness(learner, batch, loss=loss, tolerance=self.tolerance)}


class HessianTrace(AtTask):
    """Probe: `hessian_trace` of the loss on the current task, before and after training.

    ``trace``, and ``standard_error`` of its random vectors, the same ones each time;
    ``trace_before`` and so on when training begins.

    Args:
        samples: at most, of those that probes are shown, evenly spaced.
        draws: vectors, one product with the Hessian each.

    Raises:
        ValueError: fewer than two samples or draws.
    """

    keys = ("trace", "standard_error")
    columns = before_and_after(*keys)

    def __init__(self, samples: int = 128, draws: int = 30) -> None:
        super().__init__(samples)
        if draws < 2:
            raise ValueError(f"draws must be 2 or more, to have a standard error; got {draws}")
        self.draws = draws

    def values(self, learner: Learner, batch: Batch, loss: LossKind | None) -> dict[str, float]:
        """The trace and its error."""
        found = hessian_trace(learner, batch, loss=loss, draws=self.draws)
        return {"trace": found.value, "standard_error": found.standard_error}


class HessianRank(AtTask):
    """Probe: `hessian_rank` of the loss on the current task, before and after training. Small nets.

    ``share`` of the eigenvalues above epsilon lambda_1, ``negative`` below -epsilon lambda_1,
    ``rank`` the number of both; ``share_before`` and so on when training begins.

    Args:
        samples: at most, of those that probes are shown, evenly spaced.
        epsilon: relative bound.
        draws: random vectors.
        steps: products with the Hessian for each of them.

    Raises:
        ValueError: fewer than two samples or draws, no steps, an epsilon outside (0, 1).
    """

    keys = ("share", "negative", "rank")
    columns = before_and_after(*keys)

    def __init__(
        self, samples: int = 128, epsilon: float = 1e-3, draws: int = 4, steps: int = 48
    ) -> None:
        super().__init__(samples)
        check_quadrature(epsilon, draws, steps)
        self.epsilon, self.draws, self.steps = epsilon, draws, steps

    def values(self, learner: Learner, batch: Batch, loss: LossKind | None) -> dict[str, float]:
        """Shares and rank."""
        found = hessian_rank(
            learner, batch, loss=loss, epsilon=self.epsilon, draws=self.draws, steps=self.steps
        )
        return {"share": found.share, "negative": found.negative, "rank": found.rank}


class CurvatureChange:
    """Probe: how the sharpest directions of the backbone change while and between tasks.

    With the `count` largest eigenvalues of the Hessian on the current task by the parameters of the
    backbone that were trained (heads come and go), and the space of their vectors:

    - ``relative``, ``overlap``: `curvature_shift` from just before the task was trained to now;
    - ``relative_start``, ``overlap_start``: from just before the task before this one was trained
      to just before this one, each on its own samples. NaN with the first task, so that means over
      tasks are: read them from the record.

    NaN where the backbone has no trained parameters.

    Args:
        of: ``labels``, the loss with the task's own labels, or ``perturbation`` of the outputs,
            free of labels and of how well they are fitted (see `top_curvature`).
        count: of the eigenvalues. `count` copies of the backbone are kept, in checkpoints too.
        samples: at most, of those that probes are shown, evenly spaced.
        tolerance: relative, of the residuals.

    Raises:
        ValueError: fewer than two samples, a count below 1, an unknown surface.
    """

    columns = ("relative.own", "overlap.own")

    def __init__(
        self,
        of: Surface = "labels",
        count: int = 5,
        samples: int = 128,
        tolerance: float = 1e-2,
    ) -> None:
        if of not in get_args(Surface):
            raise ValueError(f"of must be labels or perturbation, got {of!r}")
        for name, value, least in (("count", count, 1), ("samples", samples, 2)):
            if value < least:
                raise ValueError(f"{name} must be {least} or more, got {value}")
        self.of, self.count, self.samples, self.tolerance = of, count, samples, tolerance
        self._current: dict[str, Any] = {}

    def before(self, learner: Learner, batch: Batch, phase: Phase) -> None:
        """Look at the current task from where its training begins."""
        if batch.task != phase.index:
            return
        earlier = self._current.get("top") if phase.index else None
        trained = [name for name in phase.learning_rates if name.startswith("backbone.")]
        self._current = {"task": shown_task(batch), "loss": phase.loss, "trained": trained}
        self._current["top"] = self._top(learner, batch)
        self._current["start"] = list(_shift(earlier, self._current["top"]))

    def measure(self, learner: Learner, batch: Batch) -> dict[str, float]:
        """The changes, with the current task; nothing without `before`."""
        if not self._current or self._current["task"] != shown_task(batch):
            return {}
        now = _shift(self._current["top"], self._top(learner, batch))
        start = CurvatureShift(*self._current["start"])
        return {
            "relative": now.relative,
            "overlap": now.overlap,
            "relative_start": start.relative,
            "overlap_start": start.overlap,
        }

    def state_dict(self) -> dict[str, Any]:
        """What was found when the current task began."""
        return {"current": self._current}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self._current = dict(state["current"])

    def _top(self, learner: Learner, batch: Batch) -> dict[str, Tensor]:
        some = shown_samples(batch, self.samples)
        with requiring(learner, self._current["trained"]):
            if not any(p.requires_grad for p in learner.parameters()):
                return {}
            loss, how = self._current["loss"], self.of
            found = top_curvature(
                learner, some, self.count, of=how, loss=loss, tolerance=self.tolerance
            )
        return found._asdict()


def _shift(before: dict[str, Tensor] | None, after: dict[str, Tensor]) -> CurvatureShift:
    if not before or not after or len(before["values"]) != len(after["values"]):
        return CurvatureShift(math.nan, math.nan)
    return curvature_shift(Eigenpairs(**before), Eigenpairs(**after))
