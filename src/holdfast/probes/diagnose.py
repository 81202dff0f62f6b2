"""The state of a network's units, features and weights, layer by layer, from one pass."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from math import isnan, nan

from torch import Tensor, nn

from holdfast.nets.modes import uses_batch_statistics
from holdfast.probes.activations import Activations, activations
from holdfast.probes.feature_change import Change, feature_change
from holdfast.probes.ranks import Ranks, check_samples, feature_ranks, warn_of_bound
from holdfast.probes.unit_probes import UnitRule, UnitShares
from holdfast.probes.weights import WeightNorms, weight_norms

_RULE = UnitRule()


@dataclass(frozen=True)
class LayerDiagnosis:
    """One nonlinearity, or output asked for.

    name, kind: where it is, and which.
    units: how many.
    shares: dormant, dead, linearised and saturated ones.
    ranks: of its features (n, units), which are means over positions.
    change: since an earlier moment, `None` without one.
    """

    name: str
    kind: str
    units: int
    shares: UnitShares
    ranks: Ranks
    change: Change | None = None


@dataclass(frozen=True)
class Diagnosis:
    """What `diagnose` found; as text by `str`.

    samples, mode: of the batch, and in which mode the model was looked at.
    layers: one a nonlinearity, in the order of the pass.
    shares: of all units of all nonlinearities together, without outputs asked for.
    weights: of all parameters.
    notes: what to mind when reading it.
    seen: the activations, to be given as `before` to a later call.
    """

    samples: int
    mode: str
    layers: tuple[LayerDiagnosis, ...]
    shares: UnitShares
    weights: WeightNorms | None
    notes: tuple[str, ...]
    seen: tuple[Activations, ...] = field(repr=False)

    def rows(self) -> list[dict[str, float | int | str]]:
        """The layers as flat rows, for a table of one's own."""
        return [
            {
                "name": layer.name,
                "kind": layer.kind,
                "units": layer.units,
                **_flat(layer.shares),
                **_flat(layer.ranks),
                **(layer.change._asdict() if layer.change else {}),
            }
            for layer in self.layers
        ]

    def __str__(self) -> str:
        """A table of the layers, the weights, and the notes."""
        changed = any(layer.change for layer in self.layers)
        head = ["layer", "kind", "units", "dormant", "dead", "linear", "satur.", "erank", "srank",
                "stable", "bound", *(["gram", "pattern"] if changed else [])]  # fmt: skip
        table = [head, *(_cells(layer, changed) for layer in self.layers)]
        widths = [max(len(row[i]) for row in table) for i in range(len(head))]
        lines = [f"{self.samples} samples, {self.mode} mode"]
        for row in table:
            left = [cell.ljust(width) for cell, width in zip(row[:2], widths[:2], strict=True)]
            right = [cell.rjust(width) for cell, width in zip(row[2:], widths[2:], strict=True)]
            lines.append("  ".join([*left, *right]).rstrip())
        if self.weights is not None:
            lines.append(_weights(self.weights))
        return "\n".join([*lines, *(f"- {note}" for note in self.notes)])


def diagnose(
    model: nn.Module,
    batch: object,
    mode: str = "eval",
    outputs: Sequence[str] = (),
    rule: UnitRule = _RULE,
    start: Mapping[str, Tensor] | None = None,
    before: Sequence[Activations] | None = None,
) -> Diagnosis:
    """Look at anyone's network in one forward pass, and leave it as it was found.

    For each nonlinearity: the shares of dormant, dead, linearised and saturated units
    (`UnitShares`), three ranks of its features (`Ranks`), and on request how far these changed.
    Which nonlinearities are seen, and which axis has the units: see
    `holdfast.probes.activations`. Compare what was measured on one batch, in one mode; none of
    these numbers by itself tells whether a network can still learn.

    Args:
        model: any module.
        batch: what it is called with; see `holdfast.probes.activations`.
        mode: ``eval``, or ``train``.
        outputs: names of modules whose outputs are looked at too.
        rule: when a unit counts as dormant, dead, linearised or saturated.
        start: parameters by name, copied when training began; gives the distance from them.
        before: `Diagnosis.seen` of an earlier moment, on the same batch; gives `Change`.

    Raises:
        ValueError: fewer than 2 samples; a mode, output, start or earlier moment that does not fit;
            no nonlinearity seen.
        TypeError: a batch of another kind.

    Warns:
        RankBoundWarning: fewer samples than units in some layer: rank <= min(n, d).
    """
    seen = activations(model, batch, mode, outputs, rule.eps)
    samples = len(seen[0].features)
    check_samples(samples)
    weights = weight_norms(model, start) if any(True for _ in model.parameters()) else None
    changes = feature_change(before, seen) if before is not None else {}
    layers = tuple(
        LayerDiagnosis(
            a.name, a.known.kind, a.units, rule.shares([a]), feature_ranks(a.features),
            changes.get(a.name),
        )
        for a in seen
    )  # fmt: skip
    widest = max(seen, key=lambda a: a.units)
    warn_of_bound(samples, widest.units, f"diagnose, layer {widest.name!r}")
    nonlinearities = [a for a in seen if a.known.kind != "output"]
    return Diagnosis(
        samples, mode, layers, rule.shares(nonlinearities), weights,
        _notes(model, mode, seen, rule), seen,
    )  # fmt: skip


def _notes(
    model: nn.Module, mode: str, seen: Sequence[Activations], rule: UnitRule
) -> tuple[str, ...]:
    samples = len(seen[0].features)
    notes = [
        f"dormant: E|h| at most {rule.threshold:g} of the mean of the layer, so relative to it; a "
        "layer that sinks as a whole is not seen",
        f"dead: 0 on these {samples} samples; a unit may fire on others",
        "linear: linear on all samples, alive but no nonlinearity; counts of dead units miss it",
        "erank exp(-sum p log p), srank min{k: sum of k >= .99 of all}, stable |H|^2 / s_1^2 are "
        "three different ranks, of features not centred and averaged over space or tokens",
        "none of these causes a loss of plasticity, and none foretells it everywhere: compare on "
        "one batch, set no threshold",
    ]
    if rule.linear_share < 1:
        notes[2] = notes[2].replace("all samples", f"at least {rule.linear_share:g} of samples")
    if rule.dead_share > 0:
        notes[1] = notes[1].replace("0 on", f"not 0 on at most {rule.dead_share:g} of")
    bound = [a.name for a in seen if a.units > samples]
    if bound:
        notes.append(
            f"ranks of {', '.join(bound)} are bounded by the batch: rank <= min(n, d) = {samples}"
        )
    if mode == "train":
        notes.append("train mode: batch norm by this batch, dropout on (units it drops are 0)")
    elif uses_batch_statistics(model):
        notes.append("batch norm without running statistics: by this batch in eval mode too")
    return tuple(notes)


def _flat(found: UnitShares | Ranks) -> dict[str, float]:
    return {entry.name: getattr(found, entry.name) for entry in fields(found)}


def _cells(layer: LayerDiagnosis, changed: bool) -> list[str]:
    ranks, change = layer.ranks, layer.change or Change(nan, nan)
    return [
        layer.name,
        layer.kind,
        str(layer.units),
        *(_share(value) for value in _flat(layer.shares).values()),
        _number(ranks.effective, 1),
        _number(ranks.srank, 0),
        _number(ranks.stable, 2),
        str(ranks.bound),
        *([_number(change.gram, 3), _number(change.pattern, 3)] if changed else []),
    ]


def _share(value: float) -> str:
    return "-" if isnan(value) else f"{100 * value:.1f}%"


def _number(value: float, digits: int) -> str:
    return "-" if isnan(value) else f"{value:.{digits}f}"


def _weights(found: WeightNorms) -> str:
    line = f"weights: norm {found.norm:.4g}, mean |w| {found.mean_abs:.3g}"
    if isnan(found.distance):
        return line
    return f"{line}, distance from the start {found.distance:.4g}, relative {found.relative:.3g}"
