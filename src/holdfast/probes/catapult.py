"""A guard against learning rates that the linearised network does not bear."""

import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from holdfast.nets.learner import Learner
from holdfast.probes.cka import cosine
from holdfast.probes.probe import Phase
from holdfast.probes.shown import evenly_spaced, shown_task
from holdfast.probes.tangent import tangent_product, tangent_top_eigenvalue
from holdfast.seeds import generator
from holdfast.streams.batches import Batch

_DIRECTIONS = 16
"""Columns of the sketch of a kernel."""


class CatapultWarning(UserWarning):
    """The learning rate is past what gradient descent bears on the linearised network."""


class TangentKernel:
    """Probe: the tangent kernel K = sum_p lr_p J_p J_p^T, its largest eigenvalue and its change.

    - ``lr_top_eigenvalue``: `tangent_top_eigenvalue` on the current task before it is trained, lr_p
      the learning rates (the largest of their schedule). Above 2 (1 + momentum) full-batch gradient
      descent overshoots, and a `CatapultWarning` says so once. With the squared error the network
      then leaves the region in which it is linear: up to about 4 for a flatter one (Lewkowycz et
      al., 2020), which moves features also where the parametrization is lazy, beyond that it may
      diverge. Cross-entropy flattens as outputs grow, which may bound the overshoot with no such
      movement: look at ``change`` and `FeatureMovement`. With small batches the limit lies lower;
      terms that a method adds to the loss are left out.
    - ``lr_top_eigenvalue_after``: the same after training on it, with the same rates.
    - ``change``: 1 - cos(K_0, K_t), on each task seen, with K_0 the kernel just before it was
      trained and K_t that of now; 0 for a network that stays linear (Fort et al., 2020). Of
      `kernel_samples` samples; where these have more than 16 outputs together, the cosine is that
      of K_0 Q and K_t Q with 16 fixed orthonormal directions Q.

    For Adam, which rescales gradients, the eigenvalues are NaN and K has equal rates. K has the
    parameters that were trained on the task; NaN where the probe has not seen it `before`.

    A product K v costs three to four forward passes. An eigenvalue takes about ten products of
    `samples` samples, twice a task; a change at most 16 of `kernel_samples`, on each task seen.
    A task is remembered by a matrix with a column a direction, and its rates.

    Args:
        samples: for the eigenvalues, of those that probes are shown, evenly spaced.
        kernel_samples: for the change, likewise.

    Raises:
        ValueError: a number of samples below 1.
    """

    columns = ("change", "change.own", "lr_top_eigenvalue.own", "lr_top_eigenvalue_after.own")

    def __init__(self, samples: int = 64, kernel_samples: int = 16) -> None:
        for name, value in (("samples", samples), ("kernel_samples", kernel_samples)):
            if value < 1:
                raise ValueError(f"{name} must be 1 or more, got {value}")
        self.samples, self.kernel_samples = samples, kernel_samples
        self._forget()

    def _forget(self) -> None:
        self._tasks: dict[str, dict[str, Any]] = {}
        self._current: dict[str, Any] = {}
        self._warned = False

    def before(self, learner: Learner, batch: Batch, phase: Phase) -> None:
        """Look at the current task; warn of a rate that is too large."""
        task = shown_task(batch)
        if phase.index == 0:  # of another run
            self._forget()
        if batch.task != phase.index:
            return
        sgd = phase.optimizer == "sgd"
        rates = {name: rate if sgd else 1.0 for name, rate in phase.learning_rates.items()}
        self._current = {"task": task, "loss": phase.loss, "sgd": sgd}
        self._tasks[task] = {"rates": rates}
        self._current["top"] = self._top(learner, batch)
        self._tasks[task]["sketch"] = self._sketch(learner, batch, None)
        self._guard(phase)

    def measure(self, learner: Learner, batch: Batch) -> dict[str, float]:
        """The change on any task, the eigenvalues on the current one."""
        task = shown_task(batch)
        if task not in self._tasks:
            return {"change": math.nan}
        reference = self._tasks[task]["sketch"]
        sketch = self._sketch(learner, batch, reference)
        values = {"change": 1 - cosine(reference.to(sketch), sketch)}
        if task == self._current["task"]:
            values["lr_top_eigenvalue"] = self._current["top"]
            values["lr_top_eigenvalue_after"] = self._top(learner, batch)
        return values

    def state_dict(self) -> dict[str, Any]:
        """Sketch and rates of each task, the current one, and whether it has warned."""
        return {"tasks": self._tasks, "current": self._current, "warned": self._warned}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self._tasks, self._current = dict(state["tasks"]), dict(state["current"])
        self._warned = bool(state["warned"])

    def _top(self, learner: Learner, batch: Batch) -> float:
        if not self._current["sgd"]:
            return math.nan
        rates, loss = self._tasks[shown_task(batch)]["rates"], self._current["loss"]
        with _outputs(learner, batch, self.samples, rates) as (outputs, parameters):
            return tangent_top_eigenvalue(outputs, parameters, rates, loss)

    def _sketch(self, learner: Learner, batch: Batch, like: Tensor | None) -> Tensor:
        rates = self._tasks[shown_task(batch)]["rates"]
        with _outputs(learner, batch, self.kernel_samples, rates) as (outputs, parameters):
            product = tangent_product(outputs, parameters, rates)
            # A head may have grown since: the outputs of then, whose columns have not moved.
            then = outputs.shape[1] if like is None else len(like) // len(outputs)
            rows = len(outputs) * then
            draws = generator(0, "tangent_kernel")
            q = torch.linalg.qr(torch.randn(rows, min(rows, _DIRECTIONS), generator=draws)).Q
            found = []
            for direction in q.T.to(outputs):
                v = torch.zeros_like(outputs)
                v[:, :then] = direction.view(-1, then)
                found.append(product(v)[:, :then].flatten())
        return torch.stack(found, dim=1)

    def _guard(self, phase: Phase) -> None:
        top, limit = self._current["top"], 2 * (1 + phase.momentum)
        if self._warned or not top > limit:
            return
        self._warned = True
        until = (
            "the network leaves the region in which it is linear, for a flatter one (a catapult) "
            "or, above about 4, for good"
            if phase.loss == "mse"
            else "outputs have grown so far that the softmax is flat, or the network leaves the "
            "region in which it is linear (a catapult)"
        )
        warnings.warn(
            f"before task {phase.index} the learning rate times the largest eigenvalue of the "
            f"tangent kernel is {top:.3g}, above {limit:.3g}: gradient descent overshoots until "
            f"{until}. Features may move by that however lazy the parametrization. To rule it out "
            f"multiply training.lr by {limit / top:.2g}; lr_top_eigenvalue in the record's probes "
            "has the value of each task",
            CatapultWarning,
            stacklevel=2,
        )


@contextmanager
def _outputs(
    learner: Learner, batch: Batch, most: int, rates: Mapping[str, float]
) -> Iterator[tuple[Tensor, dict[str, nn.Parameter]]]:
    """Outputs of some samples of a batch and the parameters with rates, fit to be differentiated.

    Such a parameter may be frozen by now.
    """
    parameters = {name: p for name, p in learner.named_parameters() if name in rates}
    frozen = [p for p in parameters.values() if not p.requires_grad]
    x = batch.x[evenly_spaced(len(batch), most)]
    try:
        for p in frozen:
            p.requires_grad_(True)
        with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
            yield learner(x, batch.task), parameters
    finally:
        for p in frozen:
            p.requires_grad_(False)
