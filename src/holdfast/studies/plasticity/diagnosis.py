"""What a diagnosis found, in words and in files."""

import json
from pathlib import Path
from typing import Any

from holdfast.records.files import write_atomic
from holdfast.records.intervals import student_interval
from holdfast.records.strict_json import loads, numbers, plain
from holdfast.studies.plasticity.diagnose_arms import WARM
from holdfast.studies.plasticity.diagnose_run import ArmRun
from holdfast.studies.plasticity.diagnosis_arms import ArmFound, Compared
from holdfast.studies.plasticity.diagnosis_words import report, verdict

FILE = "diagnosis.json"
_FORMAT, _VERSION = "holdfast diagnosis", 1


class Diagnosis(Compared):
    """Warm and fresh weights side by side, and what was tried: `print` it for the verdict.

    What it holds is described at `Compared`.
    """

    def verdict(self) -> str:
        """In plain words: what carrying on costs, and what mends it."""
        return verdict(self)

    def text(self) -> str:
        """The verdict, a row an arm, and what was measured where the phase begins."""
        return report(self)

    def __str__(self) -> str:
        return self.text()

    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON holds it."""
        rows = []
        for arm in self.arms:
            found = self.reach(arm.label)
            rows.append(
                {
                    "label": arm.label,
                    "kind": arm.kind,
                    "words": arm.words,
                    "accuracy": student_interval(arm.accuracy)._asdict(),
                    "train_accuracy": float(arm.train_accuracy.mean()),
                    "gap": self.gap(arm.label)._asdict(),
                    "gain": self.gap(arm.label, WARM)._asdict(),
                    "updates": arm.updates,
                    "cpu_seconds": arm.cpu_seconds,
                    "reach": {"epochs": found.epochs, "of_fresh": found.ratio._asdict()},
                    "runs": [run.to_dict() for run in arm.runs],
                }
            )
        head = {"format": _FORMAT, "version": _VERSION, "verdict": self.verdict()}
        whole: dict[str, Any] = plain(
            {**head, "settings": self.settings, "tolerance": self.tolerance, "arms": rows},
            "diagnosis",
        )
        return whole

    def save(self, folder: str | Path) -> list[Path]:
        """Write ``diagnosis.json`` and ``diagnosis.txt``, each aside and renamed.

        Raises:
            OSError: one could not be written; that of before is untouched.
        """
        folder = Path(folder)
        text = json.dumps(self.to_dict(), indent=1, allow_nan=False, ensure_ascii=False)
        write_atomic(folder / FILE, text + "\n")
        write_atomic(folder / "diagnosis.txt", self.text() + "\n")
        return [folder / FILE, folder / "diagnosis.txt"]

    @classmethod
    def load(cls, folder: str | Path) -> "Diagnosis":
        """What `save` wrote.

        Raises:
            FileNotFoundError: the folder holds no diagnosis that has come to its end.
            ValueError: the file holds something else.
        """
        path = Path(folder) / FILE
        if not path.is_file():
            raise FileNotFoundError(
                f"the diagnosis in {folder} has no findings yet; let it end, or go on with it by "
                f"`holdfast resume {folder}`"
            )
        held = numbers(loads(path.read_text(encoding="utf-8")))
        if not isinstance(held, dict) or held.get("format") != _FORMAT:
            raise ValueError(f"{path} holds no diagnosis")
        if held.get("version") != _VERSION:
            raise ValueError(
                f"{path} is of version {held.get('version')}; this Holdfast reads {_VERSION}"
            )
        arms = tuple(_arm(row) for row in held["arms"])
        return cls(arms, held["settings"], held["tolerance"])


def _arm(row: dict[str, Any]) -> ArmFound:
    runs = tuple(ArmRun.from_dict(run) for run in row["runs"])
    return ArmFound(row["label"], row["kind"], row["words"], runs)
