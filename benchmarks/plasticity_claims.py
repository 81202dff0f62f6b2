"""What is claimed of warm starts, as statements that data can fail to show.

Those of Berariu et al. (2021, *A study on the plasticity of neural networks*) at the size of the
shipped studies, and figures of prototypes of this library (digits, 8 to 12 seeds).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from benchmarks.verdicts import Verdict
from holdfast.records import Record
from holdfast.records.intervals import Interval, student_interval
from holdfast.studies.findings import Findings
from holdfast.studies.good_start.conditions import Condition
from holdfast.studies.plasticity import (
    Gap,
    PlasticityAnalysis,
    generalisation_gap,
    loss_gap,
    task_losses,
)
from holdfast.studies.plasticity.text import points

NOTHING = 0.005
"""A gap whose interval lies within it is called none."""

FITTED = 0.99
"""Training accuracy of a net that has learned its samples."""

NOISY, CLEAN = "30 % noise", "clean"
PROTOTYPES: Mapping[tuple[str, str], tuple[float, float]] = {
    ("two_stage", "warm"): (-0.0108, 0.0022),
    ("stages", "10 stages"): (-0.0348, 0.0036),
    ("optimizers", "momentum"): (-0.0277, 0.0037),
}
"""Gaps of prototypes at 30 % noise with their standard errors, by part and arm or optimizer."""

LITERATURE = (-0.05, -0.015)
"""Where gaps of a residual net on CIFAR-10 lie in published tables (Ash & Adams, 2020, and
re-implementations), without augmentation."""

BOTH = ("momentum", "Adam")
"""Optimizers whose gaps are compared."""

ARMS = ("warm", "fresh")
NORMED = "layer norm + weight decay"
Studies = Mapping[str, Findings]


@dataclass(frozen=True)
class Compared:
    """The gap of each arm to the first reference, under one condition of a study.

    Args:
        name: the condition in words; empty for a study of arms alone.
        gaps: by arm.
    """

    name: str
    gaps: Mapping[str, Gap]

    def paired(self, arm: str, other: str) -> Interval:
        """The gap of an arm less that of another, over the seeds both have."""
        return paired(self.gaps[arm].differences, self.gaps[other].differences)


def analysis_of(findings: Findings) -> PlasticityAnalysis:
    """The analysis that the study was made with."""
    kept = findings.analysis
    return PlasticityAnalysis(
        kept["arm"], kept["reference"], last=kept["last"], phases=kept["phases"]
    )


def compared(findings: Findings, reference: str | None = None) -> tuple[Compared, ...]:
    """The gaps of a study; conditions without a run of the reference are left out.

    Args:
        findings: of a study with the analysis `plasticity`.
        reference: an arm; by default the first that the study names.
    """
    analysis = analysis_of(findings)
    chosen = analysis.references[0] if reference is None else reference
    return tuple(
        Compared(_name(condition), _gaps(condition, chosen, analysis))
        for condition in analysis.conditions(findings)
        if chosen in condition.arms
    )


def paired(ours: Mapping[int, float], theirs: Mapping[int, float]) -> Interval:
    """Mean of the differences over shared seeds with Student's interval at 95 %."""
    return student([ours[seed] - theirs[seed] for seed in sorted(set(ours) & set(theirs))])


def student(values: Sequence[float]) -> Interval:
    """Mean with Student's interval at 95 %; unknown of none."""
    if not values:
        return Interval(float("nan"), float("nan"), float("nan"))
    return student_interval(np.array(values))


def slope(x: Sequence[float], gaps: Sequence[Gap]) -> Interval:
    """Least-squares slope of the gaps in x, of each seed that all have, with its interval."""
    seeds = set.intersection(*(set(gap.differences) for gap in gaps))
    at = np.array(x) - np.mean(x)
    rows = [np.array([gap.differences[seed] for gap in gaps]) for seed in sorted(seeds)]
    return student([float(at @ row / (at @ at)) for row in rows])


def control(studies: Studies) -> list[Verdict]:
    """With right labels a warm start costs nothing on digits."""
    rows = []
    for one in _conditions(studies, "two_stage"):
        if one.name == CLEAN and "warm" in one.gaps:
            found = one.gaps["warm"].value
            rows.append(
                Verdict(
                    "1. digits with right labels show no gap", f"two_stage, {one.name}",
                    f"gap in points, within +-{100 * NOTHING:g}", points(found),
                    found.low > -NOTHING and found.high < NOTHING,
                )
            )  # fmt: skip
    return rows


def noise(studies: Studies) -> list[Verdict]:
    """With 30 % random labels it costs, as much as in prototypes, and more with momentum."""
    rows, optimizers = [], {one.name: one for one in _conditions(studies, "optimizers")}
    for (part, what), (expected, error) in PROTOTYPES.items():
        arms = {one.name: one.gaps for one in _conditions(studies, part)}
        by_name = {name: gaps["warm"] for name, gaps in arms.items() if "warm" in gaps}
        gap = by_name.get(what) if part == "optimizers" else arms.get(NOISY, {}).get(what)
        if gap is None:
            continue
        of, told = f"{part}, {what}, {NOISY}", f"{100 * expected:.1f} +- {100 * error:.1f}"
        rows += [
            Verdict("2. with 30 % random labels carrying on costs accuracy", of, "gap in points",
                    points(gap.value), gap.value.high < 0),
            Verdict(f"2. as much as in prototypes, {told}", of, "gap in points, two errors apart",
                    points(gap.value), gap.value.low <= expected + 2 * error
                    and gap.value.high >= expected - 2 * error),
        ]  # fmt: skip
    if all(n in optimizers and "warm" in optimizers[n].gaps for n in BOTH):
        found = paired(*(optimizers[n].gaps["warm"].differences for n in BOTH))
        rows.append(
            Verdict("2. more with SGD and momentum than with Adam", f"optimizers, {NOISY}",
                    "difference of gaps", points(found), found.high < 0)
        )  # fmt: skip
    return rows


def everywhere(studies: Studies) -> list[Verdict]:
    """The gap is there with every optimizer, width, depth and speed of the transition."""
    rows = []
    for part, claim in (
        ("optimizers", "3. the gap is there with each optimizer"),
        ("width_depth", "4. the gap is there at each width and depth"),
        ("smooth_transition", "5. a smooth transition keeps the gap"),
        ("pretraining_length", "6. pretraining of five or ten epochs makes a gap"),
    ):
        for one in _conditions(studies, part):
            for arm, gap in one.gaps.items():
                if part == "smooth_transition" and not arm.startswith("g ="):
                    continue
                if part == "pretraining_length" and arm not in ("5 epochs", "10 epochs"):
                    continue
                label = one.name or arm
                rows.append(
                    Verdict(claim, f"{part}, {label}", "gap in points", points(gap.value),
                            gap.value.high < 0)
                )  # fmt: skip
    return rows


def grows(studies: Studies) -> list[Verdict]:
    """More stages, a larger shift of classes and a longer pretraining cost more."""
    rows = []
    for part, claim, unit, at, sign in (
        ("stages", "7. the gap grows with the stages", "ln(stages)", _stages, -1),
        ("class_shift", "8. the gap grows with the shift of classes (falls with r)", "r", _r, 1),
        ("pretraining_length", "6. the gap grows with pretraining", "ln(epochs)", _epochs, -1),
    ):
        for one in _conditions(studies, part):
            there = {v: gap for arm, gap in one.gaps.items() if (v := at(arm)) is not None}
            if len(there) < 2:
                continue
            gaps = [there[v] for v in sorted(there)]
            found, means = slope(sorted(there), gaps), [gap.value.mean for gap in gaps]
            steps = all(sign * (b - a) > 0 for a, b in pairwise(means))
            of = f"{part}, {one.name}" if one.name else part
            rows += [
                Verdict(claim, of, f"slope in {unit}, in points", points(found),
                        (found.high < 0) if sign < 0 else (found.low > 0)),
                Verdict(f"{claim}, at each step", of, "mean gaps in points",
                        ", ".join(f"{100 * mean:+.2f}" for mean in means), steps),
            ]  # fmt: skip
    return rows


def resets(studies: Studies) -> list[Verdict]:
    """The last two groups drawn anew recover what a warm start costs; the head alone half."""
    rows = []
    for one in _conditions(studies, "resets"):
        if one.name != NOISY or not {"warm", "reset last 1", "reset last 2"} <= set(one.gaps):
            continue
        two, head = one.paired("reset last 2", "warm"), one.paired("reset last 1", "warm")
        lost = -one.gaps["warm"].value.mean
        left = one.gaps["reset last 2"].value
        rows += [
            Verdict("9. the last 2 of 3 groups drawn anew lie above the warm start",
                    f"resets, {NOISY}", "difference in points", points(two), two.low > 0),
            Verdict(f"9. and at most {100 * NOTHING:g} points below fresh weights",
                    f"resets, {NOISY}", "gap in points", points(left), left.low > -NOTHING),
            Verdict("9. the head alone recovers about half, .25 to .75", f"resets, {NOISY}",
                    f"share of {100 * lost:.2f} points, of the means; above the warm start by",
                    f"{head.mean / lost:.2f}; {points(head)}", lost > 0
                    and 0.25 <= head.mean / lost <= 0.75 and head.low > 0),
        ]  # fmt: skip
    return rows


def rate(studies: Studies) -> list[Verdict]:
    """Ten times the rate in tuning shrinks the gap, to fresh weights at either rate."""
    findings, rows = studies.get("learning_rate"), []
    if findings is None:
        return []
    tuned, faster = "warm, tuned at rate x 10", "fresh, rate x 10"
    for base, same in zip(compared(findings), compared(findings, faster), strict=True):
        if {"warm", tuned} <= set(base.gaps):
            found = base.paired(tuned, "warm")
            rows.append(
                Verdict("10. tuning at ten times the rate raises the warm start",
                        "learning_rate", "difference in points", points(found), found.low > 0)
            )  # fmt: skip
        if {"warm"} <= set(base.gaps) and tuned in same.gaps:
            found = paired(same.gaps[tuned].differences, base.gaps["warm"].differences)
            rows.append(
                Verdict("10. at ten times the rate for fresh weights too the gap is smaller",
                        "learning_rate", f"difference of gaps; the gap is then "
                        f"{points(same.gaps[tuned].value)}", points(found), found.low > 0)
            )  # fmt: skip
    return rows


def images(studies: Studies) -> list[Verdict]:
    """A residual net with batch norm has a gap on CIFAR-10, and less with augmentation."""
    rows, found = [], {one.name: one for one in _conditions(studies, "two_stage_cifar10")}
    low, high = LITERATURE
    for name, one in found.items():
        if "warm" in one.gaps and "plain" in name:
            gap = one.gaps["warm"].value
            rows += [
                Verdict("11. CIFAR-10 without augmentation: a warm start costs accuracy", name,
                        "gap in points", points(gap), gap.high < 0),
                Verdict(f"11. between {-100 * high:g} and {-100 * low:g} points", name,
                        "mean gap in points", points(gap), low <= gap.mean <= high),
            ]  # fmt: skip
            other = found.get(name.replace("plain", "augmented"))
            if other is not None and "warm" in other.gaps:
                apart = paired(other.gaps["warm"].differences, one.gaps["warm"].differences)
                rows.append(
                    Verdict("11. less with augmentation", name, "difference of gaps; augmented "
                            f"{points(other.gaps['warm'].value)}", points(apart), apart.low > 0)
                )  # fmt: skip
    return rows


def trainable(studies: Studies) -> list[Verdict]:
    """Layer norm with weight decay keeps the trainability that a plain net loses."""
    rows = []
    for part in ("trainability_labels", "trainability_permuted"):
        findings = studies.get(part)
        if findings is None:
            continue
        analysis = analysis_of(findings)
        for condition in analysis.conditions(findings):
            arms, phases = condition.arms, analysis.phases
            if {"fresh", "plain"} <= set(arms):
                lost = loss_gap(arms["plain"], arms["fresh"], phases)
                rows.append(
                    Verdict("12. on a long stream the plain net loses trainability", part,
                            "training loss less that of fresh weights", _told(lost), lost.low > 0)
                )  # fmt: skip
            if {NORMED, "plain"} <= set(arms):
                ours, plain = _growth(arms[NORMED], phases), _growth(arms["plain"], phases)
                apart = paired(ours, plain)
                rows.append(
                    Verdict(f"12. {NORMED} keeps it better", part, "rise of the training loss less "
                            f"that of the plain net; its own is {_told(student([*ours.values()]))}",
                            _told(apart), apart.high < 0)
                )  # fmt: skip
    found = {one.name: one for one in _conditions(studies, "layer_norm")}
    if NORMED in found and "plain" in found:
        gaps = [found[name].gaps["warm"].differences for name in (NORMED, "plain")]
        apart = paired(*gaps)
        rows.append(
            Verdict(f"12. {NORMED} makes the generalisation gap smaller", f"layer_norm, {NOISY}",
                    "difference of gaps; its own is "
                    f"{points(found[NORMED].gaps['warm'].value)}", points(apart), apart.low > 0)
        )  # fmt: skip
    return rows


def mitigated(studies: Studies) -> list[Verdict]:
    """Mitigations raise what ten noisy stages end at; how they stand to fresh weights."""
    findings = studies.get("mitigations")
    if findings is None:
        return []
    last = analysis_of(findings).last
    arms = {_name(one): one.arms for one in analysis_of(findings).conditions(findings)}
    plain, rows = arms.get("plain", {}), []
    for name, there in arms.items():
        if name == "plain" or "warm" not in there or not {"fresh", "warm"} <= set(plain):
            continue
        above, left = (generalisation_gap(there["warm"], plain[arm], last) for arm in ARMS)
        own = generalisation_gap(there["warm"], there.get("fresh", ()), last)
        rows.append(
            Verdict("14. a mitigation lies above plain carrying on", name, "difference in points; "
                    f"to plain fresh weights {points(left.value)}; to fresh weights mended alike "
                    f"{points(own.value)}", points(above.value), above.value.low > 0)
        )  # fmt: skip
    return rows


def fitted(studies: Studies) -> list[Verdict]:
    """All arms learn their training samples, so that gaps are of generalisation."""
    rows = []
    for part in studies:
        if part.startswith("trainability"):
            continue
        for one in _conditions(studies, part):
            known = {arm: gap.arm_train.mean for arm, gap in one.gaps.items()}
            known["the reference"] = min(
                (gap.reference_train.mean for gap in one.gaps.values()), default=1.0
            )
            if one.gaps:
                worst = min(known, key=lambda arm: known[arm])
                rows.append(
                    Verdict(f"13. all arms reach {100 * FITTED:g} % of the training labels",
                            f"{part}, {one.name}" if one.name else part,
                            f"lowest training accuracy, of {worst}", f"{known[worst]:.4f}",
                            known[worst] >= FITTED)
                )  # fmt: skip
    return rows


CLAIMS: tuple[Callable[[Studies], list[Verdict]], ...] = (
    control, noise, everywhere, grows, resets, rate, images, trainable, fitted, mitigated,
)  # fmt: skip


def verdicts(studies: Studies) -> list[Verdict]:
    """All claims that the studies at hand say something of, in order."""
    found = [verdict for claim in CLAIMS for verdict in claim(studies)]
    return sorted(found, key=lambda verdict: float(verdict.claim.split(".")[0]))


def _conditions(studies: Studies, part: str) -> tuple[Compared, ...]:
    return compared(studies[part]) if part in studies else ()


def _gaps(condition: Condition, reference: str, analysis: PlasticityAnalysis) -> dict[str, Gap]:
    found = {
        arm: generalisation_gap(runs, condition.arms[reference], analysis.last, analysis.phases)
        for arm, runs in condition.arms.items()
        if arm != reference
    }
    return {arm: gap for arm, gap in found.items() if gap.differences}


def _name(condition: Condition) -> str:
    return ", ".join(str(value) for value in condition.settings.values())


def _growth(runs: Sequence[Record], phases: int) -> dict[int, float]:
    """Training loss of the last tasks less that of the first, by seed."""
    losses = {run.seed: task_losses(run) for run in runs if run.status == "complete"}
    return {s: float(of[-phases:].mean() - of[:phases].mean()) for s, of in losses.items()}


def _told(found: Interval) -> str:
    if np.isnan(found.low):
        return f"{found.mean:+.3g} (one)"
    return f"{found.mean:+.3g} [{found.low:+.3g}, {found.high:+.3g}]"


def _stages(arm: str) -> float | None:
    return float(np.log(int(arm.split()[0]))) if arm.endswith("stages") else None


def _epochs(arm: str) -> float | None:
    return float(np.log(int(arm.split()[0]))) if arm.endswith("epochs") else None


def _r(arm: str) -> float | None:
    return float(arm.removeprefix("r = ")) if arm.startswith("r = ") else None
