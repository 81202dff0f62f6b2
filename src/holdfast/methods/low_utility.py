"""Utilities of units, and how those of the lowest make room for new ones."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from holdfast.methods.arguments import check_number
from holdfast.methods.unit_replacement import ReplaceableUnits, by_unit, unit_magnitudes
from holdfast.nets.unit_paths import UnitPath


@dataclass
class _Kept:
    """What is known of the units of a layer.

    age: steps since each began; on the CPU, so that counting waits for no device.
    utility: (units,).
    means: (columns,) running mean of the input of each reader, by name, yet to be divided by
        1 - decay^age.
    due: units that are to be replaced, with a fraction.
    """

    age: Tensor
    utility: Tensor
    means: dict[str, Tensor]
    due: float = 0.0


class LowUtilityReplacer:
    """`ContinualBackprop` for a training loop of one's own.

    Forward passes of training run inside `observed`, and `step` is called in the place of
    ``optimizer.step()``:

        replacer = LowUtilityReplacer(model, x)
        for x, y in loader:
            with replacer.observed():
                loss = criterion(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            replacer.step(optimizer)

    Args:
        model: any module, or a `Learner`. The layers it applies to are in `units.paths`, the
            others with the reason in `units.refused`.
        x: a batch of inputs, see `holdfast.nets.unit_paths`.
        rho, maturity, decay: see `ContinualBackprop`.
        seed: of the new weights.

    Raises:
        TypeError, ValueError: an option out of range, or no layer with units to replace.
    """

    def __init__(
        self,
        model: nn.Module,
        x: Tensor,
        *,
        rho: float = 1e-4,
        maturity: int = 100,
        decay: float = 0.99,
        seed: int = 0,
    ) -> None:
        check_rates(rho, maturity, decay)
        self.rho, self.maturity, self.decay = rho, maturity, decay
        self.units = ReplaceableUnits(model, x, seed)
        self._seen: dict[str, Tensor] = {}
        self._kept = {path.name: self._fresh(path) for path in self.units.paths}

    @property
    def utilities(self) -> dict[str, Tensor]:
        """U of the units, by layer: a copy."""
        return {name: kept.utility.clone() for name, kept in self._kept.items()}

    @property
    def ages(self) -> dict[str, Tensor]:
        """Steps since each unit began, by layer: a copy."""
        return {name: kept.age.clone() for name, kept in self._kept.items()}

    @contextmanager
    def observed(self) -> Iterator[None]:
        """Notes the activations of the forward pass inside: of several, those of the last."""
        with self.units.observed() as seen:
            yield
        self._seen = seen

    def step(self, optimizer: Optimizer) -> dict[str, int]:
        """A step of the optimizer, and after it the replacements that are due.

        Returns:
            how many units of each layer were replaced.

        Raises:
            ValueError: no forward pass was observed since the last step.
        """
        if not self._seen:
            raise ValueError(
                "no forward pass was observed since the last step: run it inside `with "
                "replacer.observed():`"
            )
        self.before(optimizer)
        optimizer.step()
        return self.after(optimizer)

    def before(self, optimizer: Optimizer | None) -> None:
        """The first half of `step`: before the optimizer's."""
        self.units.steps.before(optimizer)

    @torch.no_grad()
    def after(self, optimizer: Optimizer | None) -> dict[str, int]:
        """The second half of `step`: after the optimizer's."""
        self.units.steps.after(optimizer)
        chosen = {}
        for path in self.units.paths:
            if all(reader.name in self._seen for reader in path.readers) and path.is_trained:
                self._count(path)
                units = self._lowest(path)
                if len(units):
                    chosen[path.name] = units
        self._seen = {}
        replaced = [path for path in self.units.paths if path.name in chosen]
        for path in replaced:
            self._hand_over(path, chosen[path.name])
        self.units.replace(chosen, optimizer, biases=False)
        for path in replaced:
            self._begin(path, chosen[path.name])
        return {name: len(units) for name, units in chosen.items()}

    def state_dict(self) -> dict[str, Any]:
        """All that must survive a kill."""
        kept = {
            name: {"age": k.age, "utility": k.utility, "means": dict(k.means), "due": k.due}
            for name, k in self._kept.items()
        }
        return {"kept": kept, "units": self.units.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        for path in self.units.paths:
            saved, place = state["kept"][path.name], path.weight.device
            means = {name: mean.to(place) for name, mean in saved["means"].items()}
            utility = saved["utility"].to(place)
            age = saved["age"].cpu().clone()
            self._kept[path.name] = _Kept(age, utility, means, float(saved["due"]))
        self.units.load_state_dict(state["units"])

    def _fresh(self, path: UnitPath) -> _Kept:
        zeros = torch.zeros_like(path.weight.flatten(1)[:, 0], requires_grad=False)
        means = {r.name: zeros.new_zeros(len(r.units)) for r in path.readers}
        return _Kept(torch.zeros(path.units, dtype=torch.int64), zeros, means)

    def _count(self, path: UnitPath) -> None:
        """Age, utility and mean activations, with the step just taken."""
        kept = self._kept[path.name]
        kept.age += 1
        sizes = unit_magnitudes(path, self._seen).to(kept.utility)
        kept.utility.lerp_(sizes * outgoing_magnitudes(path), 1 - self.decay)
        for reader in path.readers:
            mean = reader.means(self._seen[reader.name]).to(kept.utility)
            kept.means[reader.name].lerp_(mean, 1 - self.decay)

    def _lowest(self, path: UnitPath) -> Tensor:
        """Positions of the units that are due."""
        kept = self._kept[path.name]
        eligible = kept.age > self.maturity
        count = int(eligible.sum())
        kept.due += self.rho * count
        units = min(int(kept.due), count)
        if not units:
            return eligible.new_empty(0, dtype=torch.int64)
        kept.due -= units
        ranked = kept.utility.masked_fill(~eligible.to(kept.utility.device), torch.inf)
        return ranked.argsort(stable=True)[:units]

    def _hand_over(self, path: UnitPath, units: Tensor) -> None:
        """Add what the units gave on average to the biases of what reads them."""
        kept = self._kept[path.name]
        chosen = torch.isin(torch.arange(path.units, device=units.device), units)
        complete = 1 - self.decay ** kept.age.double().clamp(min=1)
        for reader in path.readers:
            columns = reader.columns(chosen)
            of = reader.units.to(units.device)[columns]
            mean = kept.means[reader.name][columns] / complete.to(kept.utility)[of]
            for weight, bias, multiplier in reader.reads:
                if bias is not None and bias.requires_grad:
                    read = weight[:, columns]
                    # A convolution reads the mean at each place of its kernel.
                    total = read.sum(tuple(range(2, read.ndim))) if read.ndim > 2 else read
                    bias.add_(total @ mean.to(weight), alpha=multiplier)

    def _begin(self, path: UnitPath, units: Tensor) -> None:
        """Know nothing of units that have been replaced."""
        kept = self._kept[path.name]
        kept.age[units.cpu()] = 0
        kept.utility[units] = 0
        chosen = torch.isin(torch.arange(path.units, device=units.device), units)
        for reader in path.readers:
            kept.means[reader.name][reader.columns(chosen)] = 0


def outgoing_magnitudes(path: UnitPath) -> Tensor:
    """The mean size of the weights that read each unit of a layer, over all its readers."""
    total = torch.zeros_like(path.weight.flatten(1)[:, 0], requires_grad=False)
    parts = 0
    for reader in path.readers:
        for weight, _, multiplier in reader.reads:
            if len(weight):
                size = weight.detach().abs().transpose(0, 1).flatten(1).mean(1) * abs(multiplier)
                total += by_unit(reader, size, path.units)
                parts += 1
    return total / max(parts, 1)


def check_rates(rho: float, maturity: int, decay: float) -> None:
    """Refuse options of continual backpropagation that are out of range.

    Raises:
        TypeError, ValueError: naming the option.
    """
    check_number("rho", rho, to=1.0)
    if not isinstance(maturity, int) or isinstance(maturity, bool):
        raise TypeError(f"maturity must be an integer, got {maturity!r}")
    if maturity < 0:
        raise ValueError(f"maturity must be at least 0, got {maturity}")
    if isinstance(decay, bool) or not isinstance(decay, float | int):
        raise TypeError(f"decay must be a number, got {decay!r}")
    if not 0 <= decay < 1:
        raise ValueError(f"decay must lie in [0, 1), got {decay}")
