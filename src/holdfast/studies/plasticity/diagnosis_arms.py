"""Arms side by side: their accuracies, the differences between them, and what they cost."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from holdfast.records.intervals import UNKNOWN, Interval, student_interval
from holdfast.studies.plasticity.diagnose_arms import FRESH, WARM, Kind
from holdfast.studies.plasticity.diagnose_run import ArmRun
from holdfast.studies.plasticity.diagnosis_measures import Curves, Reach, last_part, reach


@dataclass(frozen=True, eq=False)
class ArmFound:
    """The runs of an arm.

    Args:
        label: of the arm.
        kind: of the arm, see `Arm`.
        words: what is done in it, as a sentence begins with it.
        runs: one a seed.
    """

    label: str
    kind: Kind
    words: str
    runs: tuple[ArmRun, ...]

    @property
    def curves(self) -> Curves:
        """Test accuracy after each epoch; NaN where a seed diverged."""
        epochs = max(len(run.accuracy) for run in self.runs)
        blank = [math.nan] * epochs
        return np.array([run.accuracy or blank for run in self.runs], dtype=np.float64).reshape(
            len(self.runs), epochs
        )

    @property
    def accuracy(self) -> Float[np.ndarray, " seeds"]:
        """Test accuracy of each seed, a mean over the last 30 % of the epochs."""
        curves = self.curves
        return last_part(curves) if curves.size else np.full(len(self.runs), math.nan)

    @property
    def train_accuracy(self) -> Float[np.ndarray, " seeds"]:
        """Accuracy on the training data at the end."""
        return np.array([run.train_accuracy for run in self.runs])

    @property
    def updates(self) -> int:
        """Of the new phase, alike for all arms."""
        return self.runs[0].updates

    @property
    def cpu_seconds(self) -> float:
        """Of training in the new phase, a mean over seeds that came to its end."""
        known = [run.cpu_seconds for run in self.runs if run.diverged is None]
        return float(np.mean(known)) if known else math.nan

    @property
    def diverged(self) -> int:
        """Number of seeds that diverged."""
        return sum(run.diverged is not None for run in self.runs)

    def probe(self, name: str) -> Interval:
        """A probe where the new phase begins, over seeds; NaN where it is not known of each."""
        values = np.array([run.probes.get(name, math.nan) for run in self.runs])
        return student_interval(values)


@dataclass(frozen=True, eq=False)
class Compared:
    """Warm and fresh weights side by side, and what was tried.

    Differences are paired: both arms of a seed met the same batches in the same order. Intervals
    are Student's, over seeds. Cost counts the new phase alone, for yesterday's weights are there.

    Args:
        arms: fresh and warm first.
        settings: what was asked, for the files.
        tolerance: how near an accuracy must come to count as reached.
    """

    arms: tuple[ArmFound, ...]
    settings: dict[str, Any]
    tolerance: float = 0.005

    def __getitem__(self, label: str) -> ArmFound:
        for arm in self.arms:
            if arm.label == label:
                return arm
        raise KeyError(f"there is no arm {label!r}, but {[arm.label for arm in self.arms]}")

    @property
    def seeds(self) -> tuple[int, ...]:
        """Of the pairs."""
        return tuple(run.seed for run in self.arms[0].runs)

    @property
    def tried(self) -> tuple[ArmFound, ...]:
        """The arms with a mitigation."""
        return tuple(arm for arm in self.arms if arm.kind == "tried")

    def gap(self, label: str = WARM, against: str = FRESH) -> Interval:
        """Generalisation gap: test accuracy of an arm less that of another, paired over seeds.

        Negative where the arm is worse; NaN where a seed of either diverged.
        """
        return student_interval(self[label].accuracy - self[against].accuracy)

    def reach(self, label: str = WARM) -> Reach:
        """Epochs until an arm comes near the accuracy of fresh weights, against their own."""
        arm, fresh = self[label], self[FRESH]
        if arm.diverged or fresh.diverged:
            return Reach(math.nan, math.nan, UNKNOWN)
        return reach(arm.curves, fresh.curves, self.tolerance)
