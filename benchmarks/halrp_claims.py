"""What is claimed of HALRP, as statements that data can fail to show."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from benchmarks.verdicts import Verdict
from holdfast.records import Record, average_order_disparity, maximum_order_disparity
from holdfast.records.intervals import Interval, mean_interval
from holdfast.studies.findings import Findings
from holdfast.studies.good_start.conditions import conditions_of

RESAMPLES = 10_000
GROWTH = 0.2
"""What all tasks together may add to the base, in bytes."""

POINTS = 0.02
"""By which the mean accuracy is to lie above that of the authors' code."""

OURS, AUTHORS, ALONE = "HALRP", "authors' options", "single task"
"""Methods of the study of orders."""

CURVATURE = ("mean squared gradient", "mean squared gradient, per parameter")
BLIND = ("flat", "random")
"""Of the study of ranks: by curvature, and without."""

Arms = Mapping[str, tuple[Record, ...]]


@dataclass(frozen=True)
class Reference:
    """Runs of the authors' code (lijiaqi/HALRP, September 2024) on CIFAR-100, one seed each.

    Args:
        acc: after all tasks, by order.
        seconds: of CPU time for a whole run with its evaluations, by order.
        aopd, mopd: over orders A to E, where all were run.
    """

    acc: Mapping[str, float]
    seconds: Mapping[str, float]
    aopd: float | None = None
    mopd: float | None = None


REFERENCES = {
    "cpu": Reference({"A": 0.419, "B": 0.428}, {"A": 181, "B": 191}, 0.034, 0.067),
    "quarter": Reference({"A": 0.562}, {"A": 519}),
}
"""By the size of the studies."""


@dataclass(frozen=True)
class Asked:
    """The studies that the claims are asked of; those that are not there yet are left out.

    Args:
        of: size of the data in words.
        reference: runs of the authors' code at this size.
        orders: records by method and order.
        ranks: study of how ranks are shared out.
    """

    of: str
    reference: Reference
    orders: Mapping[str, Arms] = field(default_factory=dict)
    ranks: Findings | None = None


def orders_of(findings: Findings) -> dict[str, Arms]:
    """The records of a study of orders by method and order, of orders with records alone."""
    return {str(c.settings["method"]): c.arms for c in conditions_of(findings, "order")}


def faithful(asked: Asked) -> list[Verdict]:
    """The authors' options do as well as the authors' code, at each order that it was run at."""
    rows = []
    for order, theirs in asked.reference.acc.items():
        runs = asked.orders.get(AUTHORS, {}).get(order, ())
        if runs:
            found = _mean([_acc(run) for run in runs])
            rows.append(
                Verdict(
                    "1. with the authors' options ACC is that of their code or above",
                    f"{asked.of}, order {order}", f"ACC; theirs {theirs:.3f}, one seed",
                    _shown(found), found.high >= theirs,
                )
            )  # fmt: skip
    return rows


def robust(asked: Asked) -> list[Verdict]:
    """AOPD and MOPD are not larger than theirs: of single seeds, as theirs are of one."""
    rows = []
    theirs = {"AOPD": asked.reference.aopd, "MOPD": asked.reference.mopd}
    measures = {"AOPD": average_order_disparity, "MOPD": maximum_order_disparity}
    for method in (AUTHORS, OURS):
        for name, value in theirs.items():
            seeds = _by_seed(asked.orders.get(method, {}))
            if value is None or not seeds:
                continue
            found = _mean([measures[name](runs) for runs in seeds.values()])
            alone = _by_seed(asked.orders.get(ALONE, {}))
            beside = _mean([measures[name](runs) for runs in alone.values()]) if alone else None
            told = "" if beside is None else f"; networks of their own {_shown(beside)}"
            rows.append(
                Verdict(
                    f"2. {name} of {method} is not larger than that of the authors' code", asked.of,
                    f"{name} of one seed, mean over seeds; theirs {value:.3f}",
                    _shown(found) + told, found.low <= value,
                )
            )  # fmt: skip
    return rows


def better(asked: Asked) -> list[Verdict]:
    """Ours lies two points above the authors' code, and above its options here."""
    rows = []
    for order, theirs in asked.reference.acc.items():
        runs = asked.orders.get(OURS, {}).get(order, ())
        if runs:
            found = _mean([_acc(run) - theirs for run in runs])
            rows.append(
                Verdict(
                    f"3. HALRP lies {100 * POINTS:g} points above the authors' code, or more",
                    f"{asked.of}, order {order}", f"ACC less {theirs:.3f}", _shown(found),
                    found.low >= POINTS,
                )
            )  # fmt: skip
    return rows + _above(
        asked, AUTHORS, f"3. and {100 * POINTS:g} points above its options here", POINTS
    )


def nothing_lost(asked: Asked) -> list[Verdict]:
    """Forgetting is exactly 0, and no run takes more bytes than it may."""
    runs = [run for arm in asked.orders.get(OURS, {}).values() for run in arm]
    if not runs:
        return []
    worst = max(abs(run.metrics()["bwt"] or 0.0) for run in runs)
    largest = max(run.probe_means()["LearnerSize.growth"] for run in runs)
    return [
        Verdict(
            "4. forgetting is exactly zero", asked.of, f"largest |BWT| of {len(runs)} runs",
            f"{worst:g}", worst == 0,
        ),
        Verdict(
            f"4. all tasks together add {GROWTH:g} of the base or less, in bytes", asked.of,
            f"largest growth of {len(runs)} runs", f"{largest:.4f}", largest <= GROWTH,
        ),
    ]  # fmt: skip


def alone(asked: Asked) -> list[Verdict]:
    """Sharing a base costs nothing against a network for each task."""
    return _above(asked, ALONE, "5. HALRP does as well as a network of its own for each task", 0.0)


def cheap(asked: Asked) -> list[Verdict]:
    """A run takes .6 of the authors' CPU time or less."""
    rows = []
    for method in (OURS, AUTHORS):
        for order, theirs in asked.reference.seconds.items():
            runs = asked.orders.get(method, {}).get(order, ())
            if runs:
                found = _mean([(sum(r.cpu_seconds) + sum(r.eval_seconds)) / theirs for r in runs])
                rows.append(
                    Verdict(
                        f"6. a run of {method} takes .6 of the time of the authors' code or less",
                        f"{asked.of}, order {order}",
                        f"CPU of training and time of evaluation, of {theirs:g} s", _shown(found),
                        found.high <= 0.6,
                    )
                )  # fmt: skip
    return rows


def curvature(asked: Asked) -> list[Verdict]:
    """Ranks by curvature beat flat and random ranks at the same bytes."""
    ranks, rows = asked.ranks, []
    if ranks is None:
        return []
    for chosen in CURVATURE:
        for blind in BLIND:
            if not all(ranks.runs(cell)["complete"] for cell in (chosen, blind)):
                continue
            found = ranks.difference(chosen, blind, "acc")
            sizes = [ranks.mean(cell, "LearnerSize.growth").mean for cell in (chosen, blind)]
            rows.append(
                Verdict(
                    f"7. ranks by {chosen} beat {blind} ones at the same bytes", asked.of,
                    f"difference of ACC; growth {sizes[0]:.4f} and {sizes[1]:.4f}", _shown(found),
                    found.low > 0,
                )
            )  # fmt: skip
    return rows


CLAIMS: tuple[Callable[[Asked], list[Verdict]], ...] = (
    faithful, robust, better, nothing_lost, alone, cheap, curvature,
)  # fmt: skip


def verdicts(asked: Sequence[Asked]) -> list[Verdict]:
    """All claims, each of all data that it is about."""
    return [verdict for claim in CLAIMS for one in asked for verdict in claim(one)]


def _above(asked: Asked, other: str, claim: str, margin: float) -> list[Verdict]:
    """Whether ours lies above another method by a margin, paired by order and seed."""
    ours, theirs = asked.orders.get(OURS, {}), asked.orders.get(other, {})
    first, second = _by_seed(ours), _by_seed(theirs)
    shared = [seed for seed in first if seed in second]
    if not shared or set(ours) != set(theirs):
        return []
    apart = [
        float(np.mean([*map(_acc, first[s])]) - np.mean([*map(_acc, second[s])])) for s in shared
    ]
    found = _mean(apart)
    return [
        Verdict(
            claim, f"{asked.of}, orders {''.join(ours)}", f"ACC less that of {other}",
            _shown(found), found.low >= margin,
        )
    ]  # fmt: skip


def _by_seed(arms: Arms) -> dict[int, list[Record]]:
    """The complete runs of each seed that has one at every order; none below two orders."""
    whole = [{r.seed: r for r in runs if r.status == "complete"} for runs in arms.values()]
    if len(whole) < 2:
        return {}
    shared = sorted(set.intersection(*map(set, whole)))
    return {seed: [runs[seed] for runs in whole] for seed in shared}


def _acc(record: Record) -> float:
    found = record.metrics()["acc"]
    return float("nan") if found is None else found


def _mean(values: Sequence[float] | Float[np.ndarray, " seeds"]) -> Interval:
    return mean_interval(np.asarray(values, dtype=np.float64), resamples=RESAMPLES)


def _shown(found: Interval) -> str:
    if np.isnan(found.low):
        return f"{found.mean:.3g} (one)"
    return f"{found.mean:.3g} [{found.low:.3g}, {found.high:.3g}]"
