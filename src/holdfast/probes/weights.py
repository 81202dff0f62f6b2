"""How large weights are, and how far they are from where they began."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import nan, sqrt
from typing import Any

import torch
from torch import Tensor, nn

from holdfast.nets.learner import Learner
from holdfast.probes.probe import Phase
from holdfast.probes.shown import shown_task
from holdfast.streams.batches import Batch

_KEYS = ("norm", "mean_abs", "distance", "relative")


@dataclass(frozen=True)
class WeightNorms:
    """Of parameters theta, or a part of them, with theta_0 what they were at the start.

    norm: |theta|_2 over all entries (for a matrix, Frobenius).
    mean_abs: mean |theta_i|.
    distance: |theta - theta_0|_2, NaN without a start.
    relative: |theta - theta_0|_2 / |theta_0|_2.
    """

    norm: float
    mean_abs: float
    distance: float = nan
    relative: float = nan


def weight_norms(model: nn.Module, start: Mapping[str, Tensor] | None = None) -> WeightNorms:
    """Size of all parameters together and their distance from a start, in float64.

    Weights before batch or layer norm can have any scale without a change to the function: their
    norm sets the effective learning rate, not the function. Neither norm nor distance causes a
    loss of plasticity by itself; both signs of correlation occur (Lyle et al., 2023).

    Args:
        model: any module.
        start: parameters by name, as ``dict(model.state_dict())`` had them, copied. Those that are
            not in it, or have another shape now, count in the norm and not in the distance.

    Raises:
        ValueError: a start that shares no parameter with the model, or a model without any.
    """
    named = dict(model.named_parameters())
    if not named:
        raise ValueError(f"model must have parameters, {type(model).__name__} has none")
    if start is not None and not any(_comparable(p, start.get(n)) for n, p in named.items()):
        raise ValueError(
            f"start shares no parameter with the model: it has {_some(start)}; the model has "
            f"{_some(named)}"
        )
    return _norms(named, start)


def layer_weight_norms(
    model: nn.Module, start: Mapping[str, Tensor] | None = None
) -> dict[str, WeightNorms]:
    """`weight_norms` of each parameter, by name."""
    return {name: _norms({name: p}, start) for name, p in model.named_parameters()}


@torch.no_grad()
def _norms(named: Mapping[str, Tensor], start: Mapping[str, Tensor] | None) -> WeightNorms:
    squares, sizes, moved, began, entries, compared = 0.0, 0.0, 0.0, 0.0, 0, False
    for name, parameter in named.items():
        # A norm in float64 without a copy in float64.
        squares += torch.linalg.vector_norm(parameter, dtype=torch.float64).item() ** 2
        sizes += torch.linalg.vector_norm(parameter, 1, dtype=torch.float64).item()
        entries += parameter.numel()
        then = None if start is None else start.get(name)
        if then is not None and _comparable(parameter, then):
            then = then.to(parameter.device)
            compared = True
            moved += torch.linalg.vector_norm(parameter - then, dtype=torch.float64).item() ** 2
            began += torch.linalg.vector_norm(then, dtype=torch.float64).item() ** 2
    mean = sizes / entries if entries else nan
    if not compared:
        return WeightNorms(sqrt(squares), mean)
    relative = sqrt(moved / began) if began > 0 else (0.0 if moved == 0 else float("inf"))
    return WeightNorms(sqrt(squares), mean, sqrt(moved), relative)


def _comparable(parameter: Tensor, then: Tensor | None) -> bool:
    return then is not None and then.shape == parameter.shape


def _some(named: Mapping[str, Tensor]) -> str:
    return ", ".join([f"{n} {tuple(p.shape)}" for n, p in list(named.items())[:4]] or ["nothing"])


class Weights:
    """Probe: `weight_norms` of the learner, from just before the first task was trained.

    ``norm``, ``mean_abs``, ``distance`` and ``relative``; the same on whichever task. What was not
    there at the start, or has grown since, such as a head, counts in the norm and not in the
    distance. Without `before` there is no start. It keeps a copy of the parameters, in checkpoints
    too.
    """

    columns = (*_KEYS, *(f"{key}.own" for key in _KEYS))

    def __init__(self) -> None:
        self._start: dict[str, Tensor] = {}
        self._found: dict[str, float] = {}

    def before(self, learner: Learner, batch: Batch, phase: Phase) -> None:
        """Remember the weights before the first task."""
        if phase.index == 0:
            self._start = {n: p.detach().clone() for n, p in learner.named_parameters()}

    def measure(self, learner: Learner, batch: Batch) -> dict[str, float]:
        """Their size and distance now; measured on the first of the tasks, told on the others."""
        if shown_task(batch) == "0" or not self._found:
            self._found = asdict(_norms(dict(learner.named_parameters()), self._start))
        return dict(self._found)

    def state_dict(self) -> dict[str, Any]:
        """The weights before the first task."""
        return {"start": self._start}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self._start, self._found = dict(state["start"]), {}
