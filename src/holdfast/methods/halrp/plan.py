"""Which layer gets how much of a rank."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


class Spectrum(NamedTuple):
    """What rank choice knows of one layer.

    Args:
        values: singular values of the residual, descending: all, or the largest.
        mass: sum of the squares of all.
        weight: by which a squared value counts: importance of the layer x entries of the weight
            that one entry of the matrix stands for.
        cost: parameters of one more rank.
        largest: rank at which the layer is free.
    """

    values: Float[Tensor, " k"]
    mass: float
    weight: float
    cost: int
    largest: int


@dataclass(frozen=True)
class Choice:
    """What was chosen for one layer.

    Args:
        rank: kept.
        wanted: before the caps.
        share: of the layer's score that is kept.
        of_all: of the score of all layers that this layer's kept triplets hold.
        parameters: rank x cost.
        largest: rank at which it is free.
    """

    rank: int
    wanted: int
    share: float
    of_all: float
    parameters: int
    largest: int


@dataclass(frozen=True)
class Plan:
    """Ranks of all layers, and why.

    Args:
        layers: by name.
        share: of the total score that is kept.
        alpha: that was asked for, or `None` for a budget or flat ranks.
    """

    layers: dict[str, Choice]
    share: float
    alpha: float | None

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> "Plan":
        """The inverse of `dataclasses.asdict`."""
        layers = {name: Choice(**choice) for name, choice in values["layers"].items()}
        return cls(layers, values["share"], values["alpha"])

    @property
    def ranks(self) -> dict[str, int]:
        """By layer."""
        return {name: choice.rank for name, choice in self.layers.items()}

    @property
    def parameters(self) -> int:
        """Of all U and V."""
        return sum(choice.parameters for choice in self.layers.values())

    def __str__(self) -> str:
        return self.text()

    def text(self) -> str:
        """A row a layer."""
        width = max(len("layer"), *(len(n) for n in self.layers))
        lines = [f"{'layer':{width}}  rank  of  kept of layer  of all  parameters"]
        for name, c in self.layers.items():
            lines.append(
                f"{name:{width}}  {c.rank:4d}  {c.largest:<5d} {c.share:9.1%}  {c.of_all:6.1%}"
                f"  {c.parameters:10,d}"
            )
        lines.append(
            f"{'all':{width}}  {self.share:.1%} of the score, {self.parameters:,} parameters"
        )
        return "\n".join(lines)


def choose_ranks(
    spectra: Mapping[str, Spectrum],
    *,
    alpha: float | None = 0.9,
    budget: int | None = None,
    most: int | None = 100,
    least: int = 1,
    per_cost: bool = False,
) -> Plan:
    """Ranks by a greedy choice over the singular triplets of all layers together.

    The score of triplet i of layer l is a_li = weight_l sigma_li^2, by which it lowers the bound

        L(W - D) - L(W) <= 1/2 sum_l |H_l| |D_l|_F^2

    on what truncation costs. Scores of all layers are sorted, and the shortest prefix whose share
    of the total exceeds `alpha` is kept (the published rule), or what fits in `budget` parameters
    (from the top; a layer whose next triplet does not fit is closed, and cheaper ones go on), or,
    if both are given, what fits of the prefix. A layer keeps its own largest triplets, at
    least `least` and at most `most`. Triplets past the known values count in the total, not in the
    choice.

    Li et al. (2024); the choice by budget and by gain per parameter are ours.

    Args:
        spectra: of each layer.
        alpha: share of the total score; `None` to go by the budget alone.
        budget: most parameters of all U and V, those of `least` counted first.
        most: largest rank of a layer, or `None`.
        least: smallest (as far as the layer can have it).
        per_cost: sort by a_li / cost_l, the gain a parameter, instead of a_li.

    Raises:
        ValueError: nothing to choose by, a share outside (0, 1], a score that is not finite, or a
            budget below what the least ranks cost.
    """
    if alpha is None and budget is None:
        raise ValueError("alpha and budget are both None: give one to choose ranks by")
    if alpha is not None and not 0 < alpha <= 1:
        raise ValueError(f"alpha must be in (0, 1], got {alpha}")
    if least < 0 or (most is not None and most < max(least, 1)):
        raise ValueError(f"ranks must be 0 <= least <= most, got least {least} and most {most}")
    if not spectra:
        raise ValueError("spectra is empty: there is no layer to choose a rank for")
    names = list(spectra)
    caps = {n: min(c.largest, len(c.values), most or c.largest) for n, c in spectra.items()}
    floors = {n: min(least, caps[n]) for n in names}
    floor_cost = sum(floors[n] * spectra[n].cost for n in names)
    if budget is not None and floor_cost > budget:
        raise ValueError(
            f"budget is {budget:,} parameters, but rank {least} in every layer takes {floor_cost:,}"
        )
    total = _total(spectra)
    wanted = _prefix(spectra, alpha, total, per_cost)
    ranks = {n: max(min(wanted[n], caps[n]), floors[n]) for n in names}
    if budget is not None and sum(ranks[n] * spectra[n].cost for n in names) > budget:
        ranks = _within(spectra, floors, ranks, budget, per_cost)
    kept = {n: c.weight * c.values[: ranks[n]].square().sum().item() for n, c in spectra.items()}
    layers = {
        n: Choice(
            ranks[n],
            wanted[n],
            _share(kept[n], c.weight * c.mass),
            _share(kept[n], total),
            ranks[n] * c.cost,
            c.largest,
        )
        for n, c in spectra.items()
    }
    return Plan(layers, _share(sum(kept.values()), total), alpha)


def _total(spectra: Mapping[str, Spectrum]) -> float:
    scores = {n: c.weight * c.mass for n, c in spectra.items()}
    odd = [n for n, score in scores.items() if not (math.isfinite(score) and score >= 0)]
    if odd:
        c = spectra[odd[0]]
        raise ValueError(
            f"the score of layer {odd[0]!r} must be finite and not negative, got weight {c.weight} "
            f"and mass {c.mass}: has the warm-up diverged?"
        )
    return sum(scores.values())


def _share(part: float, whole: float) -> float:
    return part / whole if whole > 0 else 1.0


def _prefix(
    spectra: Mapping[str, Spectrum], alpha: float | None, total: float, per_cost: bool
) -> dict[str, int]:
    """How many triplets of each layer are in the shortest prefix past `alpha`."""
    if alpha is None:
        return {n: len(c.values) for n, c in spectra.items()}
    if total == 0:
        return dict.fromkeys(spectra, 0)
    names = list(spectra)
    scores = torch.cat([c.weight * c.values.double().square().cpu() for c in spectra.values()])
    owner = torch.repeat_interleave(
        torch.arange(len(names)), torch.tensor([len(c.values) for c in spectra.values()])
    )
    costs = torch.tensor([c.cost for c in spectra.values()], dtype=torch.float64)
    order = (scores / costs[owner] if per_cost else scores).argsort(descending=True, stable=True)
    reached = scores[order].cumsum(0) > alpha * total
    length = int(reached.int().argmax()) + 1 if bool(reached.any()) else len(order)
    counted = torch.bincount(owner[order[:length]], minlength=len(names))
    return dict(zip(names, counted.tolist(), strict=True))


def _within(
    spectra: Mapping[str, Spectrum],
    floors: Mapping[str, int],
    ceilings: Mapping[str, int],
    budget: int,
    per_cost: bool,
) -> dict[str, int]:
    """Greedily from the floors up to the ceilings as far as the budget goes."""
    candidates = [
        (c.weight * c.values[i].item() ** 2 / (c.cost if per_cost else 1), -i, n)
        for n, c in spectra.items()
        for i in range(floors[n], ceilings[n])
    ]
    ranks = dict(floors)
    left = budget - sum(ranks[n] * spectra[n].cost for n in ranks)
    full: set[str] = set()
    for _, _, name in sorted(candidates, key=lambda x: (-x[0], -x[1])):
        if name in full:
            continue
        if spectra[name].cost > left:
            full.add(name)
            continue
        ranks[name] += 1
        left -= spectra[name].cost
    return ranks


def flat_ranks(spectra: Mapping[str, Spectrum], rank: int) -> Plan:
    """The same rank for every layer, as far as a layer can have it: the ablation."""
    if rank < 0:
        raise ValueError(f"rank must be at least 0, got {rank}")
    total = _total(spectra)
    layers = {}
    for n, c in spectra.items():
        k = min(rank, c.largest, len(c.values))
        kept = c.weight * c.values[:k].square().sum().item()
        layers[n] = Choice(
            k, k, _share(kept, c.weight * c.mass), _share(kept, total), k * c.cost, c.largest
        )
    return Plan(layers, sum(c.of_all for c in layers.values()), None)
