"""The runs of a diagnosis in a folder: what is there is not run again."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from holdfast.data.digests import of_module, of_tensor
from holdfast.nets.learner import Learner
from holdfast.records.files import write_atomic
from holdfast.records.strict_json import dumps, loads, numbers
from holdfast.streams.stream import Stream
from holdfast.studies.plasticity.diagnose_arms import Arm
from holdfast.studies.plasticity.diagnose_data import NEW, OLD, training_split
from holdfast.studies.plasticity.diagnose_run import ArmRun
from holdfast.training.checkpoint import load_checkpoint, save_checkpoint
from holdfast.training.options import Training


class Kept:
    """Runs under a hash of all that they depend on, and weights of yesterday until they are used.

    Args:
        folder: of the diagnosis; None keeps nothing.
        stream: the two phases.
        old: training of the old phase.
        given: yesterday's weights, where they were given.
    """

    def __init__(
        self, folder: Path | None, stream: Stream, old: Training, given: Learner | None
    ) -> None:
        self.folder = folder
        if folder is None:
            return
        if folder.exists() and not folder.is_dir():
            raise ValueError(f"out must be a folder, {folder} is a file")
        for name, what in _OTHERS:
            if (folder / name).exists():
                raise ValueError(f"out {folder} holds a {what}; give the diagnosis its own folder")
        splits = [training_split(stream, NEW), stream[NEW].test]
        free = ("device", "checkpoint_minutes")
        self._shared: list[Any] = [
            [of_tensor(part) for split in splits for part in (split.x, split.y)],
            len(training_split(stream, OLD)),
            {k: v for k, v in asdict(old).items() if k not in free},
            None if given is None else of_module(given),
        ]

    def run_path(self, arm: Arm, learner: Learner, seed: int) -> Path | None:
        """The file of a run; `learner` is the arm's model as it was made for the seed."""
        if self.folder is None:
            return None
        return self.folder / "runs" / f"{self._hash(arm.identity(), learner, seed)}.json"

    def weights_path(self, arm: Arm, learner: Learner, seed: int) -> Path | None:
        """The file of an arm's weights of yesterday."""
        if self.folder is None:
            return None
        past = arm.identity()["parts"] if arm.has_own_past else []
        return self.folder / "weights" / f"{self._hash(past, learner, seed)}.safetensors"

    def _hash(self, what: Any, learner: Learner, seed: int) -> str:
        text = json.dumps([self._shared, what, of_module(learner), seed], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:24]


def read_run(path: Path | None) -> ArmRun | None:
    """A run that has ended, or None."""
    if path is None or not path.is_file():
        return None
    try:
        return ArmRun.from_dict(numbers(loads(path.read_text(encoding="utf-8"))))
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path} is damaged; delete it to run it again ({error})") from error


def write_run(path: Path | None, run: ArmRun) -> None:
    """Keep a run; the file is whole or not there."""
    if path is not None:
        write_atomic(path, dumps(run.to_dict(), "run") + "\n")


def read_weights(path: Path | None, learner: Learner) -> bool:
    """Give a learner the weights of a file, if it is there."""
    if path is None or not path.is_file():
        return False
    learner.load_state_dict(load_checkpoint(path)["learner"])
    return True


def write_weights(path: Path | None, learner: Learner) -> None:
    """Keep the weights of a learner."""
    if path is not None:
        save_checkpoint(path, {"learner": dict(learner.state_dict())})


def drop_weights(folder: Path | None) -> None:
    """Delete the kept weights, once all runs have ended."""
    if folder is None or not (folder / "weights").is_dir():
        return
    for path in (folder / "weights").glob("*.safetensors"):
        path.unlink()
    (folder / "weights").rmdir()


_OTHERS: Sequence[tuple[str, str]] = (
    ("record.json", "run"), ("checkpoint", "run"), ("study.yaml", "study"),
    ("tuning.yaml", "tuning"), ("theory.yaml", "prediction"),
)  # fmt: skip
