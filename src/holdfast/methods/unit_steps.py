"""Adam's step count, for each unit by itself."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from jaxtyping import Int64
from torch import Tensor, nn
from torch.optim import Adam, AdamW, Optimizer

from holdfast.nets.unit_paths import UnitPath

_NEVER = 1 << 40
"""Steps since a reset that never was."""
_UNFINISHED = 1e-4
"""Up to which share of the second moment is missing a step count counts as large."""


class UnitSteps:
    """Lets Adam treat the weights of units that began anew as if it had begun anew with them.

    torch keeps one step count t for a parameter, by which Adam makes up for moments that began at
    zero. Weights whose moments were set to zero s steps ago need the count s: with t they would
    take steps 3 to 7 times too large for a thousand steps. With s for the whole parameter all
    other weights would take steps as many times too small. So the optimizer goes on as it is, and
    the step it took is multiplied, for these weights alone, by

        sqrt((1 - beta2^s) / (1 - beta2^t)) (1 - beta1^t) / (1 - beta1^s),

    which makes it the one with the count s, up to Adam's epsilon. A weight between two units began
    with the younger one. `Adam` and `AdamW` of torch are treated so, the shrinking of a decoupled
    weight decay excepted; other optimizers count no steps, or are left to what they do.

    Dohare et al., "Loss of plasticity in deep continual learning", 2024, keep a step count a
    weight in an Adam of their own, with the same result.

    Args:
        paths: the layers whose units begin anew.
    """

    def __init__(self, paths: Iterable[UnitPath]) -> None:
        self._paths = tuple(paths)
        self._since = {path.name: torch.full((path.units,), _NEVER) for path in self._paths}
        self._before: list[tuple[nn.Parameter, Tensor, list[Tensor], dict[str, Any]]] = []

    def begin(self, path: UnitPath, units: Int64[Tensor, " chosen"]) -> None:
        """These units have begun anew, after the last step."""
        self._since[path.name][units.cpu()] = 0

    @torch.no_grad()
    def before(self, optimizer: Optimizer | None) -> None:
        """Just before a step of the optimizer, with the gradients there."""
        self._before = []
        if not isinstance(optimizer, Adam | AdamW):
            return
        horizon = max(_horizon(group) for group in optimizer.param_groups)
        if all(int(since.min()) >= horizon for since in self._since.values()):
            return
        ages = self._ages()
        for group in optimizer.param_groups:
            for p in group["params"]:
                own = ages.get(id(p), [])
                if p.grad is not None and any(int(age.min()) < horizon for age in own):
                    self._before.append((p, p.detach().clone(), own, group))

    @torch.no_grad()
    def after(self, optimizer: Optimizer | None) -> None:
        """Just after it."""
        for since in self._since.values():
            since += 1
        for p, old, ages, group in self._before:
            assert optimizer is not None
            t = torch.as_tensor(optimizer.state[p]["step"], device=p.device)
            if group["weight_decay"] and group.get("decoupled_weight_decay", False):
                old *= 1 - group["lr"] * group["weight_decay"]
            p.copy_(torch.lerp(old, p, _factors(p, ages, t, group)))
        self._before = []

    def state_dict(self) -> dict[str, Any]:
        """Steps since each unit began anew, by layer."""
        return {name: since.clone() for name, since in self._since.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self._since = {name: since.clone() for name, since in state.items()}

    def _ages(self) -> dict[int, list[Tensor]]:
        """By the id of a parameter, the step count that the next step is the last of: of its rows
        and, for a weight, of its columns.
        """
        rows: dict[int, Tensor] = {}
        columns: dict[int, Tensor] = {}
        weights = []
        for path in self._paths:
            since = self._since[path.name] + 1
            weights.append(path.weight)
            rows[id(path.weight)] = since
            if path.bias is not None:
                rows[id(path.bias)] = since
            for norm in path.norms:
                for p in norm.module.parameters(recurse=False):
                    rows[id(p)] = _minimum(rows.get(id(p)), _spread(since, norm.units))
            for reader in path.readers:
                own = _spread(since, reader.units)
                for weight, _, _ in reader.reads:
                    weights.append(weight)
                    columns[id(weight)] = _minimum(columns.get(id(weight)), own)
        found = {key: [age] for key, age in rows.items()}
        for weight in weights:
            never = torch.full((len(weight),), _NEVER)
            nowhere = torch.full((weight.shape[1],), _NEVER)
            key = id(weight)
            found[key] = [rows.get(key, never), columns.get(key, nowhere)]
        return found


def _spread(since: Tensor, units: Tensor) -> Tensor:
    units = units.cpu()
    return torch.where(units >= 0, since[units.clamp(min=0)], _NEVER)


def _minimum(a: Tensor | None, b: Tensor) -> Tensor:
    return b if a is None else torch.minimum(a, b)


def _factors(p: Tensor, ages: list[Tensor], t: Tensor, group: dict[str, Any]) -> Tensor:
    """Of each entry of a vector, or of a weight with the ages of its rows and columns."""
    dtype = torch.float64 if p.dtype == torch.float64 else torch.float32
    ages = [age.to(p.device) for age in ages]
    found = []
    for age in ages:
        s = torch.minimum(age, t.to(age.dtype)).to(dtype)
        first, second = (
            [_completed(steps, float(beta)) for steps in (s, t.to(dtype))]
            for beta in group["betas"]
        )
        found.append(((second[0] / second[1]).sqrt() * first[1] / first[0]).to(p.dtype))
    if len(found) == 1:
        return found[0]
    younger = torch.where(ages[0][:, None] <= ages[1], found[0][:, None], found[1])
    return younger.view(*younger.shape, *[1] * (p.ndim - 2))


def _completed(steps: Tensor, beta: float) -> Tensor:
    """1 - beta^steps."""
    return -torch.expm1(steps * math.log(beta)) if beta > 0 else torch.ones_like(steps)


def _horizon(group: dict[str, Any]) -> int:
    """Steps after which the moments are as good as complete."""
    slowest = max(float(beta) for beta in group["betas"])
    return math.ceil(math.log(_UNFINISHED) / math.log(slowest)) if slowest > 0 else 1
