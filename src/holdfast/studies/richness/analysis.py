"""The analysis ``richness`` of a study: gamma0* and the lazy-rich transition of each curve."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from holdfast.signatures import nearest
from holdfast.studies.axes import Axis, check_varied
from holdfast.studies.findings import LEVEL, RESAMPLES, Findings
from holdfast.studies.richness.agreements import agreement
from holdfast.studies.richness.collapse import Exponents, collapse_quality, fit_exponents
from holdfast.studies.richness.curves import GammaCurve
from holdfast.studies.richness.departure import plateau_departure
from holdfast.studies.richness.optima import Optimum, optimum
from holdfast.studies.richness.slope import steepest_slope
from holdfast.studies.richness.tables import Group, groups_of
from holdfast.studies.richness.text import curve_lines, group_lines
from holdfast.studies.richness.transitions import Transition
from holdfast.studies.table import TIMES, metric_names


@dataclass(frozen=True)
class GammaAnalysis:
    """gamma0*, the lazy-rich transition, their agreement and the collapse of curves.

    Args:
        x: the axis along the curves, positive numbers.
        by: axes that part the curves to be compared, such as ``net.width``; curves that differ in
            another are kept apart. By default the axes of numbers; those of names keep apart.
        error: the metric whose least value is sought (see `optimum`).
        forgetting: the metric that sets in (see `plateau_departure` and `steepest_slope`); None
            where there is none, as of a single task.
        rescale: exponents of the rescaling gamma0 x product of setting^exponent with which the
            collapse is tried, besides none and the one that the optima suggest.
        k: standard errors by which forgetting has left its plateau.
        draw: further metrics to draw, such as ``FeatureMovement.drift``.

    Raises:
        ValueError: `k` that is negative, or a metric that cannot be one.
    """

    x: str = "richness.gamma0"
    by: str | Sequence[str] | None = None
    error: str = "ae"
    forgetting: str | None = "cfr"
    rescale: dict[str, float] | None = None
    k: float = 2.0
    draw: Sequence[str] = ()

    def __post_init__(self) -> None:
        if not self.k >= 0:
            raise ValueError(f"k must be 0 or more, got {self.k}")
        known = (*metric_names(), *TIMES)
        for metric in (*self.metrics, *self.draw):
            # With a dot it is a probe's value, which the table alone knows.
            if metric not in known and "." not in metric:
                raise ValueError(
                    f"the analysis asks for {metric!r}, which is none{nearest(metric, known)}; "
                    f"there are {', '.join(known)}"
                )

    def check(self, axes: Sequence[Axis]) -> None:
        """Refuse a study without the axes that this needs.

        Raises:
            ValueError: no such axis, one along the curves that parts them too or holds anything but
                positive numbers, or a rescaling by an axis that does not part them by such numbers.
        """
        named = {axis.name: [choice.value for choice in axis.choices] for axis in axes}
        numeric = [name for name, values in named.items() if all(map(_number, values))]
        parting = self.parting(list(named), numeric)
        for what, names in (("x", [self.x]), ("by", parting), ("rescale", self.rescale or {})):
            for name in names:
                check_varied(what, name, named)
        if self.x in parting:
            raise ValueError(f"analysis.by names {self.x}, which is the axis along the curves")
        if not all(_positive(value) for value in named[self.x]):
            raise ValueError(f"{self.x} must be a list of positive numbers, got {named[self.x]}")
        for name in self.rescale or {}:
            if name not in parting or not all(_positive(value) for value in named[name]):
                raise ValueError(
                    f"analysis.rescale takes positive numbers that part the curves "
                    f"({', '.join(parting)}), {name} is {named[name]}"
                )

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that are analysed: the error, and forgetting if there is any."""
        return (self.error,) if self.forgetting is None else (self.error, self.forgetting)

    def parting(self, axes: Sequence[str], numeric: Sequence[str]) -> tuple[str, ...]:
        """The axes that part the curves of a group, of all axes and those of numbers."""
        if self.by is None:
            return tuple(axis for axis in axes if axis in numeric and axis != self.x)
        return (self.by,) if isinstance(self.by, str) else tuple(self.by)

    def groups(self, findings: Findings, metric: str) -> tuple[Group, ...]:
        """The curves of a metric.

        Raises:
            ValueError: the table has no such column.
        """
        table = findings.table
        numeric = [axis for axis in findings.axes if table[axis].dtype.kind in "iuf"]
        return groups_of(findings, self.x, self.parting(findings.axes, numeric), metric)

    def optimum(self, curve: GammaCurve) -> Optimum:
        """gamma0* of a curve of the error."""
        return optimum(curve.gamma0, curve.values)

    def transitions(self, curve: GammaCurve) -> dict[str, Transition]:
        """Where a curve of forgetting sets in, by estimator."""
        return {
            "plateau_departure": plateau_departure(curve.gamma0, curve.values, self.k),
            "steepest_slope": steepest_slope(curve.gamma0, curve.values),
        }

    def __call__(self, findings: Findings) -> dict[str, Any]:
        """The results of each curve and group, and lines that say them."""
        by_metric = [self.groups(findings, metric) for metric in self.metrics]
        groups, text = [], self._head(findings)
        for error, *others in zip(*by_metric, strict=True):
            optima = [self.optimum(curve) for curve in error.curves]
            sets_in = [
                [self.transitions(curve) for curve in forgetting.curves] for forgetting in others
            ]
            places = sets_in[0] if sets_in else [{} for _ in optima]
            together = self._compared([error, *others], optima)
            text += ["", *([error.label] if error.settings else [])]
            text += curve_lines(self.x, error.curves, optima, places)
            text += group_lines(self.x, together)
            curves = [
                {"settings": curve.settings, "gamma0": curve.gamma0, "optimum": best, **more}
                for curve, best, more in zip(error.curves, optima, places, strict=True)
            ]
            groups.append(_as_json({"settings": error.settings, "curves": curves, **together}))
        named = {"x": self.x, "error": self.error, "forgetting": self.forgetting}
        interval = {
            "kind": "percentile bootstrap over seeds, whole curves at a time",
            "level": LEVEL,
            "resamples": RESAMPLES,
        }
        return {**named, "interval": interval, "groups": groups, "text": text}

    def collapses(self, error: Group) -> dict[str, Mapping[str, float]]:
        """The exponents with which the curves of a group are rescaled, by where these come from.

        ``as it is`` has none, ``rescaled`` those of the configuration, ``fitted`` those that bring
        the optima together, if there are enough.
        """
        law = self._law(error)
        tried: dict[str, Mapping[str, float]] = {"as it is": {}}
        if self.rescale:
            tried["rescaled"] = self.rescale
        if law is not None:
            tried["fitted"] = {name: -value.mean for name, value in law.values.items()}
        return tried

    def _compared(self, groups: Sequence[Group], optima: Sequence[Optimum]) -> dict[str, Any]:
        """What the curves of a group say together, as far as there are several."""
        error = groups[0]
        if len(error.curves) < 2:
            return {}
        collapse = [
            {
                "kind": kind,
                "exponents": exponents,
                **{
                    metric: collapse_quality(group.curves, exponents)
                    for metric, group in zip(self.metrics, groups, strict=True)
                },
            }
            for kind, exponents in self.collapses(error).items()
        ]
        return {
            "agreement": agreement(error.curves, optima),
            "law": self._law(error),
            "collapse": collapse,
        }

    def _law(self, error: Group) -> Exponents | None:
        settings = [value for curve in error.curves for value in curve.settings.values()]
        if len(error.curves) < 2 or not all(map(_positive, settings)):
            return None
        return fit_exponents(error.curves, list(error.curves[0].settings))

    def _head(self, findings: Findings) -> list[str]:
        seeds, ended = len(findings.seeds), len(findings.table["seed"])
        planned = len(findings.cells) * seeds
        counted = f"{seeds} seed{'s' if seeds > 1 else ''}"
        head = f"{' and '.join(self.metrics)} against {self.x}, {counted}"
        if ended == planned:
            return [head]
        left = f"{planned - ended} of {planned} runs are to come"
        return [head, f"{left}; a value of {self.x} counts when its seeds have ended"]


def _number(value: object) -> bool:
    return isinstance(value, int | float)


def _positive(value: object) -> bool:
    return isinstance(value, int | float) and 0 < value < float("inf")


def _as_json(value: Any) -> Any:
    """Dataclasses and named tuples as mappings, keys as text."""
    if is_dataclass(value):
        value = {field.name: getattr(value, field.name) for field in fields(value)}
    if hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, Mapping):
        return {
            key if isinstance(key, str) else f"{key:g}": _as_json(item)
            for key, item in value.items()
        }
    return [_as_json(item) for item in value] if isinstance(value, list | tuple) else value
