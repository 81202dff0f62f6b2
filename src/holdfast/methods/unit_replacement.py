"""Putting units in the place of others: new weights in, none out, nothing remembered of them."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.optim import Optimizer

from holdfast.methods.unit_steps import UnitSteps
from holdfast.nets.redraw import check_redrawable, fresh_parameters
from holdfast.nets.unit_paths import Reader, UnitPath, UnitPaths, unit_paths

Chosen = Mapping[str, Int64[Tensor, " units"]]
"""Positions of units, by the name of their layer."""


class ReplaceableUnits:
    """The units of a network that can be replaced, and all that replacing one takes.

    Args:
        model: any module, or a `Learner`.
        x: a batch of inputs, see `unit_paths`.
        seed: of the new weights.

    Raises:
        ValueError: no layer has units that can be replaced; the reason is told for each. Or a
            layer's weights cannot be drawn anew.
    """

    def __init__(self, model: nn.Module, x: Tensor, seed: int) -> None:
        found = unit_paths(model, x)
        check_replaceable(model, found)
        self.model, self.seed = model, seed
        self.paths, self.refused = found.paths, found.refused
        self.steps = UnitSteps(self.paths)
        self._drawn = {path.name: 0 for path in self.paths}
        self._fresh: dict[str, tuple[int, dict[str, Tensor]]] = {}

    @contextmanager
    def observed(self) -> Iterator[dict[str, Tensor]]:
        """Note what the readers are given inside the block: of the last pass, by name."""
        seen: dict[str, Tensor] = {}

        def note(name: str) -> Any:
            def hook(module: nn.Module, args: Any, kwargs: Any) -> None:
                x = args[0] if args else next(iter(kwargs.values()))
                seen[name] = x.detach()

            return hook

        readers = {r.name: r.module for path in self.paths for r in path.readers}
        handles = [
            module.register_forward_pre_hook(note(name), with_kwargs=True)
            for name, module in readers.items()
        ]
        try:
            yield seen
        finally:
            for handle in handles:
                handle.remove()

    @torch.no_grad()
    def replace(self, chosen: Chosen, optimizer: Optimizer | None, *, biases: bool = True) -> None:
        """Give units new incoming weights and no outgoing ones; they compute nothing at first.

        Row i of the layer becomes what a fresh layer has in one of its rows, each of which is
        given once. Norm layers on the way begin anew at the unit: gain 1, offset 0, running mean 0
        and variance 1. Its columns in the readers become zero. Of all these entries the optimizer
        forgets what it remembers (momentum, moments), and Adam its step count too: see
        `UnitSteps`.

        Args:
            chosen: the units; layers that are frozen, or read by frozen ones, are passed over.
            optimizer: over the parameters; `None` if there is none yet.
            biases: whether biases are drawn like the weights; else they become zero.

        Raises:
            ValueError: the optimizer keeps state that has no rows and columns. Nothing has been
                changed then.
        """
        taken = [
            (path, chosen[path.name])
            for path in self.paths
            if path.name in chosen and len(chosen[path.name]) and path.is_trained
        ]
        for path, _ in taken:
            _check_state(optimizer, path)
        # All rows before any column, for a weight between two replaced units ends at zero.
        for path, units in taken:
            self._renew_rows(path, units, optimizer, biases)
        for path, units in taken:
            mask = torch.zeros(path.units, dtype=torch.bool, device=path.weight.device)
            mask[units] = True
            for reader in path.readers:
                columns = reader.columns(mask)
                for weight, _, _ in reader.reads:
                    weight[:, columns] = 0
                    _forget(optimizer, weight, (slice(None), columns))
            self.steps.begin(path, units)

    def state_dict(self) -> dict[str, Any]:
        """How many fresh units were given out, and how long ago units began."""
        return {"drawn": dict(self._drawn), "steps": self.steps.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self._drawn = dict(state["drawn"])
        self.steps.load_state_dict(state["steps"])

    def _renew_rows(
        self, path: UnitPath, units: Tensor, optimizer: Optimizer | None, biases: bool
    ) -> None:
        fresh = self._take(path, len(units))
        for name, p in path.layer.named_parameters(recurse=False):
            p[units] = fresh[name].to(p) if name == "weight" or biases else 0
            _forget(optimizer, p, units)
        mask = torch.zeros(path.units, dtype=torch.bool, device=path.weight.device)
        mask[units] = True
        for norm, of in path.norms:
            of = of.to(mask.device)
            entries = mask[of.clamp(min=0)] & (of >= 0)
            begins = {"weight": 1.0, "bias": 0.0, "running_mean": 0.0, "running_var": 1.0}
            for name, value in begins.items():
                tensor = getattr(norm, name, None)
                if tensor is not None:
                    tensor[entries] = value
                    _forget(optimizer, tensor, entries)

    def _take(self, path: UnitPath, count: int) -> dict[str, Tensor]:
        """Rows of fresh layers, one layer after the other, none given twice."""
        parts: list[dict[str, Tensor]] = []
        while count:
            number, position = divmod(self._drawn[path.name], path.units)
            held, layer = self._fresh.get(path.name, (-1, {}))
            if held != number:
                purpose = ("unit", path.name, number)
                layer = fresh_parameters(self.model, path.name, self.seed, *purpose)
                self._fresh[path.name] = (number, layer)
            rows = slice(position, min(position + count, path.units))
            parts.append({name: p[rows] for name, p in layer.items()})
            self._drawn[path.name] += rows.stop - rows.start
            count -= rows.stop - rows.start
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def check_replaceable(model: nn.Module, found: UnitPaths) -> None:
    """Refuse a network without a layer whose units can be replaced.

    Raises:
        ValueError: see `ReplaceableUnits`.
    """
    if not found.paths:
        reasons = "; ".join(f"{name}: {why}" for name, why in [*found.refused.items()][:4])
        more = "; ..." if len(found.refused) > 4 else ""
        raise ValueError(
            "no layer of the network has units that can be replaced "
            f"({reasons or 'it has no torch.nn.Linear or convolution'}{more}). A unit can be "
            "replaced where linear layers or convolutions alone read it: use mlp, cnn, lenet, "
            "alexnet, resnet18, vit or another such net"
        )
    for path in found:
        check_redrawable(path.layer)


def unit_magnitudes(path: UnitPath, seen: Mapping[str, Tensor]) -> Float[Tensor, " units"]:
    """E|h_i| of the units of a layer, over samples and over places or tokens.

    Args:
        path: of the layer.
        seen: what its readers were given: `ReplaceableUnits.observed`. h is what the first of them
            was given, after pooling where there is some.
    """
    reader = path.readers[0]
    return by_unit(reader, reader.means(seen[reader.name].abs()), path.units)


def by_unit(reader: Reader, columns: Float[Tensor, " columns"], units: int) -> Tensor:
    """The mean over the columns that each unit is in the input of a reader."""
    of = reader.units.to(columns.device)
    kept = of >= 0
    sums = columns.new_zeros(2, units)
    sums[0].index_add_(0, of[kept], columns[kept])
    sums[1].index_add_(0, of[kept], torch.ones_like(columns[kept]))
    return sums[0] / sums[1]


def _forget(optimizer: Optimizer | None, p: Tensor, at: Any) -> None:
    for value in (optimizer.state.get(p, {}) if optimizer is not None else {}).values():
        if isinstance(value, Tensor) and value.shape == p.shape:
            value[at] = 0


def _check_state(optimizer: Optimizer | None, path: UnitPath) -> None:
    if optimizer is None:
        return
    weights = [path.weight, *(r.weight for reader in path.readers for r in reader.reads)]
    for p in weights:
        for name, value in optimizer.state.get(p, {}).items():
            if isinstance(value, Tensor) and value.ndim and value.shape != p.shape:
                raise ValueError(
                    f"{type(optimizer).__name__} keeps {name!r} of shape {tuple(value.shape)} for "
                    f"a weight of shape {tuple(p.shape)}: what it remembers of one unit cannot be "
                    "told; use SGD, Adam, AdamW or RMSprop"
                )
