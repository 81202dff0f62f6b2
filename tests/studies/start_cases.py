"""A study of starts whose records are written by hand."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from holdfast.records import Record
from holdfast.studies import Findings
from holdfast.studies.table import table_of

STEPS = (0, 5, 10, 20, 40)
"""Updates within a task of 40 at which it was evaluated; the last is its end."""


def rises(start: float, end: float, by: int) -> list[float]:
    """Accuracies at `STEPS`, on a straight line until `by` updates."""
    return [start + (end - start) * min(1.0, step / max(by, 1)) for step in STEPS]


def starting(seed: int, new: list[float], old: list[float], tasks: int = 3) -> Record:
    """Every task after the first like the others; losses are 2 (1 - accuracy)."""
    made = Record.empty([f"t{i}" for i in range(tasks)], "class_incremental", seed)
    for k in range(tasks):
        made.curve.append({"task": k, "epoch": 0, "step": 40 * (k + 1), "loss": 0.1})
        made.accuracy[k, : k + 1] = [old[-1]] * k + [new[-1]]
        for step, a, b in list(zip(STEPS, new, old, strict=True))[:-1] if k else ():
            row = [b] * k + [a] + [None] * (tasks - 1 - k)
            losses = [None if v is None else 2 * (1 - v) for v in row]
            entry = {"task": k, "step": 40 * k + step, "accuracy": row, "loss": losses}
            made.evaluations.append(entry)
    made.loss[:] = 2 * (1 - made.accuracy)
    made.seconds = made.cpu_seconds = made.eval_seconds = [1.0] * tasks
    made.status = "complete"
    return made


def good(seed: int) -> Record:
    return starting(seed, rises(0.8, 0.85 + 0.01 * seed, 20), rises(0.9, 0.9, 1))


def noise(seed: int) -> Record:
    return starting(seed, rises(0.0, 0.84, 20), rises(0.9, 0.9, 1))


def harmful(seed: int) -> Record:
    return starting(seed, rises(0.9, 0.5, 40), rises(0.1, 0.7, 20))


ARMS: dict[str, Callable[[int], Record]] = {"random": noise, "good": good, "harmful": harmful}


def start_study(folder: Path, seeds: int = 3, lost: tuple[str, ...] = ()) -> Findings:
    """Starts times two memories, in a folder; the runs of `lost` cells have failed."""
    rows, cells = [], []
    for memory in (100, 200):
        for arm, make in ARMS.items():
            cells.append(f"{arm} {memory}")
            for seed in range(seeds):
                record = make(seed)
                name = f"{arm}{memory}{seed}"
                record.save(folder / "runs" / name)
                failed = cells[-1] in lost
                rows.append(
                    {
                        "cell": cells[-1], "start": arm, "method.memory": memory, "seed": seed,
                        "status": "failed" if failed else "complete", "hash": name,
                        "acc": np.nan if failed else record.metrics()["acc"],
                        "error": "it broke" if failed else "",
                    }
                )  # fmt: skip
    axes = ("start", "method.memory")
    table = table_of(rows)
    return Findings("starts", axes, tuple(cells), tuple(range(seeds)), (), table, {}, folder)
