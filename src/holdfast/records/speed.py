"""How much sooner one start is there than another."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from holdfast.records.intervals import UNKNOWN, Interval, mean_interval, ratio_interval
from holdfast.records.record import Record
from holdfast.records.within import Part

Bound = Literal["", "at least", "at most", "unknown"]


@dataclass(frozen=True)
class SpeedUp:
    """How many times fewer updates an arm takes than the baseline.

    Args:
        ratio: sum of the baseline's updates over that of the arm's; NaN without a seed that both
            have.
        steps: the arm's updates until the target, a mean over tasks and its interval over seeds.
        censored: in how many cases the arm never reached the target.
        baseline_censored: likewise of the baseline.
        immediate: in how many the arm had reached it before the first update.
        cases: a task of a seed each.
        seeds: that were compared.
        left_out: seeds of the arm or the baseline that could not be: of one of them alone, cut
            short, or without evaluations within tasks.
        best: the arm whose final accuracy the target is a share of.
    """

    ratio: Interval
    steps: Interval
    censored: int
    baseline_censored: int
    immediate: int
    cases: int
    seeds: tuple[int, ...]
    left_out: tuple[int, ...]
    best: str

    @property
    def bound(self) -> Bound:
        """What a censored case makes of the ratio: it is at least, or at most, the number given."""
        if self.censored:
            return "unknown" if self.baseline_censored else "at most"
        return "at least" if self.baseline_censored else ""


@dataclass(frozen=True, eq=False)
class _Course:
    """A run as far as it is compared: a number a task."""

    steps: Float[np.ndarray, " tasks"]
    censored: int
    immediate: int


def speed_up(
    records: Mapping[str, Sequence[Record]],
    baseline: str = "random",
    level: float = 0.95,
    part: Part = "all",
    task: int | None = None,
    interval: float = 0.95,
    resamples: int = 10_000,
) -> dict[str, SpeedUp]:
    """Updates of the baseline until a target accuracy over those of each arm.

        S = sum_{s,k} n_base(s, k) / sum_{s,k} n_arm(s, k)

    over seeds s that both have and tasks k after the first, n the updates in task k until the mean
    accuracy on the part reaches `level` x that of the best arm at the end of task k, in the same
    seed. The best arm has the highest mean of these final accuracies over seeds and tasks. A sum,
    not a mean of ratios: it says what share of the updates is saved, and few updates in the
    denominator do not blow it up. Exchanging arm and baseline gives 1 / S.

    n is the first evaluation that reaches the target (`Onset.steps_to`), 0 counts as 1 update, and
    one that never reaches it counts the length of the task and is said to be censored: then the
    ratio is a bound (`SpeedUp.bound`). The interval is a percentile bootstrap over seeds, the runs
    of a seed drawn together (`holdfast.records.ratio_interval`).

    Args:
        records: the runs of each arm, one a seed, over streams of as many tasks.
        baseline: the arm that the others are compared with.
        level: share of the best arm's final accuracy, in (0, 1].
        part: of the tasks, whose accuracy counts.
        task: one task in place of all after the first.
        interval: its level.
        resamples: draws of the bootstrap.

    Raises:
        ValueError: an unknown baseline, arms without records, two of a seed in an arm, records
            of different numbers of tasks or of a single one, no such task, or `level` out of range.
    """
    arms = _by_seed(records, baseline)
    tasks = _tasks(records, task, part)
    if not 0 < level <= 1:
        raise ValueError(f"level must lie in (0, 1], got {level}")
    finals = {
        arm: {s: _finals(record, tasks, part) for s, record in runs.items()}
        for arm, runs in arms.items()
    }
    shared = set.intersection(*(set(runs) for runs in arms.values()))
    means = {arm: _mean(runs, shared) for arm, runs in finals.items()}
    best = max(means, key=lambda arm: -1.0 if np.isnan(means[arm]) else means[arm])
    courses = {
        arm: {
            seed: _course(record, tasks, part, level * finals[best][seed])
            for seed, record in runs.items()
            if seed in finals[best]
        }
        for arm, runs in arms.items()
    }
    return {arm: _compare(arms, courses, baseline, arm, best, interval, resamples) for arm in arms}


def _compare(
    arms: Mapping[str, Mapping[int, Record]],
    courses: Mapping[str, Mapping[int, _Course | None]],
    baseline: str,
    arm: str,
    best: str,
    interval: float,
    resamples: int,
) -> SpeedUp:
    seeds = sorted({*arms[arm], *arms[baseline]})
    pairs = {s: (courses[baseline].get(s), courses[arm].get(s)) for s in seeds}
    known = {s: (a, b) for s, (a, b) in pairs.items() if a is not None and b is not None}
    ratio = steps = UNKNOWN
    if known:
        base = np.array([a.steps.sum() for a, _ in known.values()])
        own = np.array([b.steps.sum() for _, b in known.values()])
        ratio = ratio_interval(base, own, interval, resamples)
        steps = mean_interval(np.array([b.steps.mean() for _, b in known.values()]), interval)
    return SpeedUp(
        ratio,
        steps,
        censored=sum(b.censored for _, b in known.values()),
        baseline_censored=sum(a.censored for a, _ in known.values()),
        immediate=sum(b.immediate for _, b in known.values()),
        cases=sum(len(b.steps) for _, b in known.values()),
        seeds=tuple(known),
        left_out=tuple(s for s in pairs if s not in known),
        best=best,
    )


def _course(
    record: Record, tasks: Sequence[int], part: Part, targets: Float[np.ndarray, " tasks"]
) -> _Course | None:
    """None where it is not known how long the run took."""
    steps, censored, immediate = [], 0, 0
    for task, target in zip(tasks, targets, strict=True):
        onset = record.onset(task, part)
        if not onset.watched or np.isnan(onset.accuracy).any() or np.isnan(target):
            return None
        reached = onset.steps_to(1.0, target)
        censored += bool(np.isnan(reached))
        immediate += reached == 0
        steps.append(float(onset.steps[-1]) if np.isnan(reached) else max(reached, 1.0))
    return _Course(np.array(steps), censored, immediate)


def _finals(record: Record, tasks: Sequence[int], part: Part) -> Float[np.ndarray, " tasks"]:
    return np.array([record.onset(task, part).final_accuracy for task in tasks])


def _mean(runs: Mapping[int, Float[np.ndarray, " tasks"]], seeds: set[int]) -> float:
    """Over the seeds that all arms have: a mean over others would be of other streams."""
    return float(np.mean([runs[s] for s in sorted(seeds)])) if seeds else float("nan")


def _by_seed(
    records: Mapping[str, Sequence[Record]], baseline: str
) -> dict[str, dict[int, Record]]:
    if baseline not in records:
        raise ValueError(f"baseline must be one of {', '.join(records)}; got {baseline!r}")
    arms = {}
    for arm, runs in records.items():
        seeds = [record.seed for record in runs]
        if not seeds:
            raise ValueError(f"records[{arm!r}] holds no records")
        if len(set(seeds)) < len(seeds):
            raise ValueError(f"records[{arm!r}] must hold one record a seed, got seeds {seeds}")
        arms[arm] = dict(zip(seeds, runs, strict=True))
    return arms


def _tasks(
    records: Mapping[str, Sequence[Record]], task: int | None, part: Part
) -> tuple[int, ...]:
    counts = {len(record.tasks) for runs in records.values() for record in runs}
    if len(counts) > 1:
        raise ValueError(f"records must be of as many tasks, got {sorted(counts)}")
    count = counts.pop()
    tasks = tuple(range(1, count)) if task is None else (task,)
    if not tasks:
        raise ValueError("records are of a single task; there is none after the first")
    return tasks
