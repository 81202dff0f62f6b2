"""How much the activations of nets of several sizes move, and whether the size matters."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Shaped

from holdfast.richness.activations import OUTPUT
from holdfast.richness.causes import SAID, Fault, Kind, cause
from holdfast.richness.setting import Setting
from holdfast.richness.slopes import Slopes, log_slopes

_LISTED = 20
"""Faults that a message names."""


@dataclass(frozen=True, eq=False)
class Coordinates:
    """What a coordinate check measured, and what it says.

    Args:
        over: what the sizes are of.
        sizes: in order.
        seeds: of the weights.
        layers: paths of modules in the order of the forward pass, and ``output``.
        start: root mean square of the entries of each layer's activations on the batch.
        moved: root mean square of their change by k steps.
        band: a slope counts as 0 within +- this.
        setting: what was trained, and how.
        dtype: of the activations.
    """

    over: Literal["width", "depth"]
    sizes: tuple[int, ...]
    seeds: tuple[int, ...]
    layers: tuple[str, ...]
    start: Float[np.ndarray, "sizes seeds layers"]
    moved: Float[np.ndarray, "sizes seeds layers"]
    band: float
    setting: Setting
    dtype: torch.dtype = torch.float32

    @property
    def start_slopes(self) -> Slopes:
        """Slopes of log size at the start against log width or depth, a layer."""
        return log_slopes(np.array(self.sizes, dtype=np.float64), self.start)

    @property
    def moved_slopes(self) -> Slopes:
        """Slopes of log movement against log width or depth, a layer."""
        return log_slopes(np.array(self.sizes, dtype=np.float64), self.moved)

    @property
    def expected_start(self) -> float:
        """Slope of the output's size at the start: -1/2 in muP with a readout that is not 0."""
        random = self.setting.parametrization == "mup" and self.setting.readout == "random"
        return -0.5 if random and self.over == "width" else 0.0

    @property
    def faults(self) -> tuple[Fault, ...]:
        """What is out of its band, in the order of the layers; nothing for a check that passed."""
        moved, start = self.moved_slopes, self.start_slopes
        found = []
        for i, layer in enumerate(self.layers):
            for slopes, kind in (
                (moved, self._movement(i, float(moved.mean[i]))),
                (start, self._size(i, float(start.mean[i]))),
            ):
                if kind is not None:
                    found.append(Fault(layer, kind, float(slopes.mean[i]), float(slopes.error[i])))
        return tuple(found)

    def _movement(self, layer: int, slope: float) -> Kind | None:
        values = self.moved[:, :, layer]
        if not np.isfinite(values).all():
            return "diverged"
        if not (values > 0).all():
            return "still"
        if abs(slope) <= self.band:
            return None
        return "more" if slope > 0 else "less"

    def _size(self, layer: int, slope: float) -> Kind | None:
        expected = 0.0
        if self.layers[layer] == OUTPUT:
            if self.setting.readout == "unknown":
                return None
            if self.setting.readout == "zero":
                return "not zero" if self.start[:, :, layer].any() else None
            expected = self.expected_start
        # Without a slope (NaN), what starts as 0, nothing is amiss.
        if not abs(slope - expected) > self.band:
            return None
        return "grows" if slope > expected else "shrinks"

    def columns(self) -> dict[str, Shaped[np.ndarray, " rows"]]:
        """The measurements as a tidy table: a row a size, seed and layer."""
        axes = (np.array(self.sizes), np.array(self.seeds), np.array(self.layers))
        size, seed, layer = (axis.ravel() for axis in np.meshgrid(*axes, indexing="ij"))
        return {
            self.over: size,
            "seed": seed,
            "layer": layer,
            "start": self.start.ravel(),
            "moved": self.moved.ravel(),
        }

    def to_dict(self) -> dict[str, Any]:
        """Measurements, slopes and faults, of lists, numbers and names."""
        return {
            "over": self.over,
            "band": self.band,
            "setting": asdict(self.setting),
            "columns": {name: values.tolist() for name, values in self.columns().items()},
            "slopes": {
                layer: {
                    "start": [self.start_slopes.mean[i], self.start_slopes.error[i]],
                    "moved": [self.moved_slopes.mean[i], self.moved_slopes.error[i]],
                }
                for i, layer in enumerate(self.layers)
            },
            "faults": [fault._asdict() for fault in self.faults],
            "text": self.text(),
        }

    def text(self) -> str:
        """A table, a row a layer, and what it means.

        Means over seeds are geometric; slopes have their standard errors.
        """
        setting = self.setting
        head = (
            f"coordinate check over {self.over}s {', '.join(map(str, self.sizes))}, "
            f"{len(self.seeds)} seeds: {setting.parametrization or 'not parametrized'}, "
            f"{setting.optimizer}, lr {setting.lr:g}, {setting.steps} steps"
        )
        return "\n".join([head, *self._table(), "", *self._meaning()])

    def __str__(self) -> str:
        return self.text()

    def complaint(self) -> str:
        """The layers out of their bands, the band, and the likely cause; empty for a pass."""
        if not self.faults:
            return ""
        lines = [
            f"the {self.over} matters; out of the band |slope| <= {self.band:g} are "
            f"{len({fault.layer for fault in self.faults})} of {len(self.layers)} layers:"
        ]
        for fault in self.faults[:_LISTED]:
            slope = "" if np.isnan(fault.slope) else f", slope {_slope(fault.slope, fault.error)}"
            lines.append(f"  {fault.layer} {SAID[fault.kind]}{slope}")
        if len(self.faults) > _LISTED:
            lines.append(f"  and {len(self.faults) - _LISTED} more")
        return "\n".join([*lines, cause(self.over, self.setting, self.faults, self.band)])

    def _table(self) -> list[str]:
        first, last = self.sizes[0], self.sizes[-1]
        faulty = {fault.layer for fault in self.faults}
        rows = [["layer", f"start at {first}", f"at {last}", "slope",
                 f"movement at {first}", f"at {last}", "slope", ""]]  # fmt: skip
        start, moved = self.start_slopes, self.moved_slopes
        for i, layer in enumerate(self.layers):
            rows.append([
                layer,
                _mean(self.start[0, :, i]), _mean(self.start[-1, :, i]),
                _slope(start.mean[i], start.error[i]),
                _mean(self.moved[0, :, i]), _mean(self.moved[-1, :, i]),
                _slope(moved.mean[i], moved.error[i]),
                "out" if layer in faulty else "",
            ])  # fmt: skip
        widths = [max(len(row[c]) for row in rows) for c in range(len(rows[0]))]
        return [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]

    def _meaning(self) -> list[str]:
        setting, said = self.setting, []
        if self.faults:
            said.append(self.complaint())
        else:
            said.append(
                f"Every layer moves by an amount free of the {self.over}, within |slope| <= "
                f"{self.band:g}: a learning rate and a gamma_0 hold at all these sizes alike."
            )
        output = self.layers.index(OUTPUT)
        if setting.readout == "zero" and not self.start[:, :, output].any():
            said.append(
                "The output starts as 0 at every size, as it should: so the first step moves the "
                "readout alone, and the layers before it move from the second step on."
            )
        elif self.expected_start:
            said.append(
                "The output starts as about width^(-1/2), as it should in muP with readout_std=1: "
                "what counts is its movement."
            )
        unsure = np.nanmax(np.append(self.moved_slopes.error, 0.0)) * 2 > self.band
        if unsure:
            said.append(
                "Two standard errors of a slope are more than the band: give more seeds, or "
                "sizes that lie further apart."
            )
        return said + self._resolution()

    def _resolution(self) -> list[str]:
        with np.errstate(divide="ignore", invalid="ignore"):
            relative = self.moved / self.start
        known = relative[np.isfinite(relative) & (relative > 0)]
        if not known.size or known.min() > 100 * torch.finfo(self.dtype).eps:
            return []
        return [
            f"Some layer moves by {known.min():.0e} of its size, near what {self.dtype} can tell: "
            "give x in float64, which the models then take on."
        ]


class DriftError(Exception):
    """A coordinate check found layers whose movement depends on the size of the net.

    Args:
        coordinates: what was measured; kept as an attribute.
    """

    def __init__(self, coordinates: Coordinates) -> None:
        super().__init__(coordinates.complaint())
        self.coordinates = coordinates


def _mean(values: Float[np.ndarray, " seeds"]) -> str:
    if not np.isfinite(values).all():
        return "not finite"
    return f"{np.exp(np.log(values).mean()):.3g}" if (values > 0).all() else f"{values.mean():.3g}"


def _slope(mean: float, error: float) -> str:
    if np.isnan(mean):
        return "-"
    # + 0.0: no minus before a zero.
    return f"{round(mean, 2) + 0.0:+.2f}" + ("" if np.isnan(error) else f" +- {error:.2f}")
