"""What is claimed of starts, as statements that data can fail to show."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float

from benchmarks.verdicts import Verdict
from holdfast.records import Record, speed_up
from holdfast.records.intervals import Interval, mean_interval, ratio_interval
from holdfast.records.onset import Onset
from holdfast.records.within import Part
from holdfast.studies.good_start import Condition

RESAMPLES = 10_000
SOONER = 10.0
"""How many times fewer updates to 95 % of the best final accuracy."""

FALL = 0.015
"""What the old classes may lose before the first update."""

Measure = Callable[[Onset], float]


@dataclass(frozen=True)
class Asked:
    """Runs that the claims are asked of.

    Args:
        of: what they are runs of.
        loss: that they were trained with.
        condition: the runs by start.
    """

    of: str
    loss: str
    condition: Condition

    @property
    def name(self) -> str:
        """What they are runs of, and the loss where it is no cross-entropy."""
        return self.of if self.loss == "cross_entropy" else f"{self.of}, {self.loss}"


def order(asked: Asked) -> list[Verdict]:
    """Losses before the first update are in one order."""
    chain = ["calibrated", "LS, all classes", "random", "mean of old rows", "class mean"]
    known = [arm for arm in chain if arm in asked.condition.arms]
    if len(known) < len(chain) or asked.loss != "cross_entropy":
        return []
    losses = {arm: _values(asked, arm, lambda o: o.initial_loss) for arm in known}
    apart = [_mean(losses[higher] - losses[lower]) for lower, higher in pairwise(known)]
    told = " < ".join(f"{arm} {losses[arm].mean():.3g}" for arm in known)
    wrong = [a for a, d in zip(known, apart, strict=False) if not d.low > 0]
    after = f"; not apart from the next: {', '.join(wrong)}" if wrong else ""
    return [
        Verdict(
            "1. before the first update calibrated < plain LS < random < mean of old < class mean",
            asked.name, "means of the loss on all classes", told + after, not wrong,
        )
    ]  # fmt: skip


def plain(asked: Asked) -> list[Verdict]:
    """Plain least squares lowers the loss: little under cross-entropy, much under squared error."""
    little = asked.loss == "cross_entropy"
    claim = (
        "2. plain LS lowers the loss before the first update, but by less than half"
        if little
        else "2. under squared error plain LS lowers it by more than half"
    )
    left = _ratio(asked, "LS, all classes", lambda o: o.initial_loss)
    fine = left.low > 0.5 and left.high < 1 if little else left.high < 0.5
    return [Verdict(claim, asked.name, "loss on all, of random's", _shown(left), fine)]


def scale(asked: Asked) -> list[Verdict]:
    """Why: scores of least squares are smaller than trained logits by an order."""
    if asked.loss != "cross_entropy":
        return []
    runs = asked.condition.arms["calibrated"]
    fitted = [[s["scale"] for s in r.starts if s.get("scale") is not None] for r in runs]
    medians = np.array([float(np.median(scales)) for scales in fitted])
    found = _mean(medians)
    return [
        Verdict(
            "3. trained logits are ten times larger than scores of LS, or more", asked.name,
            "the scale fitted to the old rows, median over tasks", _shown(found), found.low >= 10,
        )
    ]  # fmt: skip


def calibrated(asked: Asked) -> list[Verdict]:
    """The calibrated form lowers the loss by more than half, keeps the old and saves updates."""
    left = _ratio(asked, "calibrated", lambda o: o.initial_loss)
    new = _ratio(asked, "calibrated", lambda o: o.initial_loss, "new")
    fall = _fall(asked, "calibrated")
    speed = speed_up(asked.condition.arms, "random", 0.95, resamples=RESAMPLES)["calibrated"]
    sign = {"": "", "at least": ">= ", "at most": "<= ", "unknown": "? "}[speed.bound]
    sure = speed.bound in ("", "at least")
    told = f"{sign}{_shown(speed.ratio)}; {speed.immediate} of {speed.cases} before the first"
    return [
        Verdict(
            "4. calibrated rows lower the loss before the first update by more than half",
            asked.name, "loss on all, and on new classes, of random's",
            f"{_shown(left)}; {_shown(new)}", left.high < 0.5,
        ),
        Verdict(
            f"5. they take at most {100 * FALL:g} points from the accuracy on old classes then",
            asked.name, "random's less theirs", _shown(fall), fall.high <= FALL,
        ),
        Verdict(
            f"6. they save a factor {SOONER:g} of the updates to 95 % of the best final accuracy",
            asked.name, "updates of random over theirs", told, sure and speed.ratio.low >= SOONER,
        ),
    ]  # fmt: skip


def ends(asked: Asked) -> list[Verdict]:
    """Where training starts changes when it arrives, not where."""
    theirs = _values(asked, "calibrated", lambda o: o.final_accuracy)
    found = _mean(theirs - _values(asked, "random", lambda o: o.final_accuracy))
    return [
        Verdict(
            "7. the accuracy at the end is the same within a point", asked.name,
            "calibrated less random", _shown(found), found.low > -0.01 and found.high < 0.01,
        )
    ]  # fmt: skip


def means(asked: Asked) -> list[Verdict]:
    """A warning: class means as rows destroy the old classes."""
    rows = []
    for arm in ("class mean", "unit class mean"):
        if arm in asked.condition.arms:
            fall = _fall(asked, arm)
            rows.append(
                Verdict(
                    f"8. {arm} as rows takes more than 5 points from the old classes",
                    asked.name, "random's accuracy on old less theirs", _shown(fall),
                    fall.low > 0.05,
                )
            )  # fmt: skip
    return rows


def intents(asked: Asked) -> list[Verdict]:
    """What was to be reached with 150 intents."""
    if asked.of != "clinc150" or asked.loss != "cross_entropy":
        return []
    rows = []
    for task in (1, 4):
        loss = {
            arm: _mean(_values(asked, arm, lambda o: o.initial_loss, task=task))
            for arm in ("calibrated", "random")
        }
        fall = _fall(asked, "calibrated", task)
        rows.append(
            Verdict(
                f"9. at task {task + 1} calibrated rows start at a loss of .20 or less, and take "
                f"at most {100 * FALL:g} points from the old classes",
                asked.name, "loss on all, calibrated and random; what old classes lose",
                f"{_shown(loss['calibrated'])}, {_shown(loss['random'])}; {_shown(fall)}",
                loss["calibrated"].high <= 0.20 and fall.high <= FALL,
            )
        )  # fmt: skip
    return rows


CLAIMS: tuple[Callable[[Asked], list[Verdict]], ...] = (
    order, plain, scale, calibrated, ends, means, intents,
)  # fmt: skip


def verdicts(asked: Sequence[Asked]) -> list[Verdict]:
    """All claims, each of all runs that it is about."""
    found = [verdict for claim in CLAIMS for one in asked for verdict in claim(one)]
    return sorted(found, key=lambda verdict: verdict.claim.partition(".")[0])


def _values(
    asked: Asked, arm: str, measure: Measure, part: Part = "all", task: int | None = None
) -> Float[np.ndarray, " seeds"]:
    """Of each run a mean over the tasks after the first, or of one."""
    return np.array([_of(record, measure, part, task) for record in asked.condition.arms[arm]])


def _of(record: Record, measure: Measure, part: Part, task: int | None) -> float:
    tasks = range(1, len(record.tasks)) if task is None else [task]
    return float(np.mean([measure(record.onset(k, part)) for k in tasks]))


def _ratio(asked: Asked, arm: str, measure: Measure, part: Part = "all") -> Interval:
    own, base = (_values(asked, one, measure, part) for one in (arm, "random"))
    return ratio_interval(own, base, resamples=RESAMPLES)


def _fall(asked: Asked, arm: str, task: int | None = None) -> Interval:
    base, own = (
        _values(asked, one, lambda o: o.zero_step_accuracy, "old", task) for one in ("random", arm)
    )
    return _mean(base - own)


def _mean(values: Float[np.ndarray, " seeds"]) -> Interval:
    return mean_interval(values, resamples=RESAMPLES)


def _shown(found: Interval) -> str:
    return f"{found.mean:.3g} [{found.low:.3g}, {found.high:.3g}]"
