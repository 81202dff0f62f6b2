"""What is told of a run that has ended."""

from argparse import Namespace
from pathlib import Path
from typing import Any

from holdfast.records.record import Record
from holdfast.records.strict_json import dumps

DIVERGED = 3
"""Exit code of a run that diverged."""


def ended(args: Namespace, record: Record, out: Path) -> int:
    """Tell how a run ended and return the exit code."""
    if args.json:
        print(dumps({"out": str(out), **digest(record)}))
    else:
        print(f"\n{record.summary()}\nkept in {out}")
    return DIVERGED if record.status == "diverged" else 0


def digest(record: Record) -> dict[str, Any]:
    """What programs want to know of a run."""
    return {
        "status": record.status,
        "diverged": record.diverged,
        "scenario": record.scenario,
        "seed": record.seed,
        "tasks": list(record.tasks),
        "accuracy": record.accuracy.tolist(),
        "loss": record.loss.tolist(),
        "metrics": record.metrics(),
        "seconds": sum(record.seconds),
        "cpu_seconds": sum(record.cpu_seconds),
        "digest": record.digest(),
    }
