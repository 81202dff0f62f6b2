"""What "The Importance of Being Lazy" claims, as statements that a study can fail to show."""

from collections.abc import Callable, Mapping

import numpy as np

from benchmarks.verdicts import Verdict
from holdfast.records.intervals import Interval, mean_interval
from holdfast.studies.findings import Findings
from holdfast.studies.richness.agreements import agreement
from holdfast.studies.richness.collapse import collapse_quality, fit_exponents
from holdfast.studies.richness.curves import GammaCurve, stable_range
from holdfast.studies.richness.departure import plateau_departure
from holdfast.studies.richness.optima import optimum
from holdfast.studies.richness.tables import groups_of

X = "richness.gamma0"
RESAMPLES = 10_000

All = Mapping[str, Findings]


def curves(findings: Findings, metric: str, by: str, **settings: object) -> tuple[GammaCurve, ...]:
    """The curves of a metric against gamma_0, of one group where other axes are held."""
    for group in groups_of(findings, X, (by,), metric):
        if all(group.settings.get(k.replace("__", ".")) == v for k, v in settings.items()):
            return group.curves
    raise ValueError(f"no curves of {metric} with {settings}")


def interior(found: Findings, by: str, study: str, claim: str, **settings: object) -> list[Verdict]:
    """Whether AE has an interior optimum in each curve, and whether the optima agree."""
    given = curves(found, "ae", by, **settings)
    best = [optimum(c.gamma0, c.values) for c in given]
    rows = [
        Verdict(
            f"{claim}: {c.label}",
            study,
            "gamma0* (AE lower than at both ends of the range)",
            f"{_show(b.gamma0)}, refined {b.refined.mean:.2g}; {b.verdict}; excess at ends "
            f"{_show(b.lower_excess)}, {_show(b.upper_excess)}",
            b.interior,
        )
        for c, b in zip(given, best, strict=True)
    ]
    same = agreement(given, best)
    rows.append(
        Verdict(
            f"{claim}: the optima agree",
            study,
            f"{same.compared} of {same.of} interior; intervals overlap; last over first, decades",
            f"{same.overlap}; {_show(same.shift)}; largest ratio {same.refined_decades:.2f}",
            bool(same.overlap) and same.compared == same.of,
        )
    )
    return rows


def width_gamma0(found: All) -> list[Verdict]:
    """Claims 1 and 2."""
    name, by = "width_gamma0", "net.width"
    rows = interior(found[name], by, name, "1. AE is U-shaped in gamma0")
    for curve in curves(found[name], "cfr", by):
        place = plateau_departure(curve.gamma0, curve.values)
        rows.append(
            Verdict(
                f"2. CFr: low plateau, then a rise: {curve.label}",
                name,
                "first gamma0 with CFr two standard errors above the plateau",
                f"{_show(place.gamma0)}; {place.verdict}; CFr {curve.values[:, 0].mean():.3f} at "
                f"{curve.gamma0[0]:g}, {np.nanmean(curve.values[:, -1]):.3f} at "
                f"{curve.gamma0[-1]:g}",
                place.kind == "found",
            )
        )
    for curve in curves(found[name], "FeatureMovement.drift", by):
        rows.append(_change(curve, "2. 1 - CKA rises with it", name, "1 - CKA", 1))
    return rows


def width(found: All) -> list[Verdict]:
    """Claim 3."""
    table = found["width"].table
    rows = []
    slopes: dict[str, np.ndarray] = {}
    for kind, falls in (("NTP", True), ("muP", False), ("SP", True)):
        values = _by_seed(table, kind)
        widths = np.log2(sorted(values))
        matrix = np.stack([values[w] for w in sorted(values)], axis=1)
        slopes[kind] = matrix @ (widths - widths.mean()) / ((widths - widths.mean()) ** 2).sum()
        slope = mean_interval(slopes[kind], resamples=RESAMPLES)
        shown = slope.high < 0 if falls else slope.high >= 0
        said = "falls with width" if falls else "does not fall with width"
        means = ", ".join(f"{w}: {values[w].mean():.3f}" for w in sorted(values))
        rows.append(
            Verdict(f"3. {kind}: CFr {said}", "width", "slope of CFr per doubling",
                    f"{_show(slope)} ({means})", bool(shown))
        )  # fmt: skip
    apart = mean_interval(slopes["NTP"] - slopes["muP"], resamples=RESAMPLES)
    rows.append(
        Verdict("3. it falls faster in NTP than in muP", "width",
                "difference of the slopes, NTP - muP", _show(apart), apart.high < 0)
    )  # fmt: skip
    return rows


def similarity(found: All) -> list[Verdict]:
    """Claim 4."""
    name, by = "similarity", "stream.similarity"
    errors = curves(found[name], "ae", by)
    best = [optimum(c.gamma0, c.values) for c in errors]
    places = [plateau_departure(c.gamma0, c.values) for c in curves(found[name], "cfr", by)]
    rows = [
        Verdict(
            f"4. where they lie: {curve.label}",
            name,
            "gamma0*; the transition",
            f"{_show(own.gamma0)} ({own.verdict}); {_show(place.gamma0)} ({place.verdict})",
            own.interior and place.kind == "found",
        )
        for curve, own, place in zip(errors, best, places, strict=True)
    ]
    for i, j in ((0, 1), (1, 2), (0, 2)):
        shift = agreement([errors[i], errors[j]], [best[i], best[j]]).shift
        rows.append(
            Verdict(
                f"4. gamma0* is larger at {errors[j].label} than at {errors[i].label}",
                name,
                "log10 of the ratio of the optima (parabolas)",
                _show(shift),
                shift.low > 0,
            )
        )
    first, last = places[0].gamma0, places[-1].gamma0
    rows.append(
        Verdict(
            f"4. the transition too: {errors[-1].label} against {errors[0].label}",
            name,
            "the intervals of the two, apart",
            f"{_show(last)} against {_show(first)}",
            last.low > first.high,
        )
    )
    return rows


def joint(found: All) -> list[Verdict]:
    """Claim 5."""
    rows = []
    for curve in curves(found["joint"], "ae", "net.width"):
        upto = curve.gamma0 <= 1
        own = GammaCurve(curve.gamma0[upto], curve.values[:, upto], curve.settings)
        rows.append(_change(own, "5. joint training improves up to 1", "joint", "error", -1))
        best = optimum(curve.gamma0, curve.values)
        rows.append(
            Verdict(
                f"5. and nowhere in the range gets worse: {curve.label}",
                "joint",
                "place of the least error; excess at the largest gamma0",
                f"{_show(best.gamma0)}; {_show(best.upper_excess)}",
                not best.interior,
            )
        )
    return rows


def depth(found: All) -> list[Verdict]:
    """Claim 6."""
    rows = []
    for kind in ("with 1/sqrt(L)", "without"):
        settings = {"richness__depth_scaling": kind}
        rows += interior(found["depth"], "net.depth", "depth", f"6. {kind}", **settings)
        given = curves(found["depth"], "ae", "net.depth", **settings)
        lies = collapse_quality(given)
        ends = [stable_range(c.gamma0, c.values).every for c in given]
        rows.append(
            Verdict(
                f"6. {kind}: deeper nets diverge no sooner",
                "depth",
                "largest stable gamma0 of each; spread of AE between them; what seeds alone make",
                f"{', '.join(f'{end:g}' for end in ends)}; {lies.spread:.2f}; {lies.noise:.2f}",
                min(ends) == max(ends),
            )
        )
    return rows


def heads(found: All) -> list[Verdict]:
    """What one head for all tasks changes."""
    rows = []
    given = curves(found["heads"], "cfr", "stream.scenario")
    for curve in given:
        place = plateau_departure(curve.gamma0, curve.values)
        rows.append(
            Verdict(
                f"7. a low plateau: {curve.label}",
                "heads",
                "CFr at the smallest gamma0; the transition",
                f"{_show(mean_interval(curve.values[:, 0], resamples=RESAMPLES))}; {place.verdict}",
                place.kind == "found",
            )
        )
    return rows


def training_time(found: All) -> list[Verdict]:
    """How gamma0* goes with the learning rate and the number of epochs, and what collapses."""
    name = "training_time"
    (group,) = groups_of(found[name], X, ("training.lr", "training.epochs"), "ae")
    law = fit_exponents(group.curves, ("training.lr", "training.epochs"))
    said = "too few interior optima" if law is None else ", ".join(
        f"{key.rpartition('.')[2]}^({_show(value)})" for key, value in law.values.items()
    )  # fmt: skip
    within = law is not None and all(v.low <= -0.5 <= v.high for v in law.values.values())
    rows = [
        Verdict(
            "8. gamma0* goes as (lr x epochs)^(-1/2)",
            name,
            "exponents of gamma0*, and how many of 9 settings have an interior optimum",
            said + ("" if law is None else f"; {law.curves} of {len(group.curves)}"),
            within,
        )
    ]
    for metric in ("ae", "cfr"):
        (own,) = groups_of(found[name], X, ("training.lr", "training.epochs"), metric)
        plain = collapse_quality(own.curves)
        half = {"training.lr": 0.5, "training.epochs": 0.5}
        joined = collapse_quality(own.curves, half)
        rows.append(
            Verdict(
                f"8. gamma0^2 x lr x epochs collapses the curves of {metric}",
                name,
                "spread as it is, rescaled; what seeds alone make",
                f"{plain.spread:.3f}, {joined.spread:.3f}; {joined.noise:.3f}",
                joined.spread < plain.spread,
            )
        )
    return rows


CLAIMS: tuple[Callable[[All], list[Verdict]], ...] = (
    width_gamma0, width, similarity, joint, depth, heads, training_time,
)  # fmt: skip


def _change(curve: GammaCurve, claim: str, study: str, what: str, sign: int) -> Verdict:
    own = curve.usable()
    change = mean_interval(own.values[:, -1] - own.values[:, 0], resamples=RESAMPLES)
    shown = change.low > 0 if sign > 0 else change.high < 0
    measured = f"{what} at {own.gamma0[-1]:g} minus at {own.gamma0[0]:g}"
    return Verdict(f"{claim}: {curve.label}", study, measured, _show(change), bool(shown))


def _by_seed(table: Mapping[str, np.ndarray], kind: str) -> dict[int, np.ndarray]:
    values = {}
    for width in sorted(set(table["net.width"].tolist())):
        rows = (table["variant"] == kind) & (table["net.width"] == width)
        values[int(width)] = table["cfr"][rows][np.argsort(table["seed"][rows])]
    return values


def _show(value: Interval) -> str:
    return f"{value.mean:.3g} [{value.low:.3g}, {value.high:.3g}]"
