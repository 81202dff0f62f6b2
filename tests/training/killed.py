"""Runs that are killed at random moments, each in a process of its own.

    python killed.py FOLDER KILLS

Prints, as JSON, the digest of a run that was left alone, and for every kill how much of the run
was on disk then and the digest of what resuming gave.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import torch
from small_runs import Setup

from holdfast.methods import DERpp
from holdfast.probes import EffectiveRank, FeatureMovement, TangentKernel
from holdfast.records.record import Record
from holdfast.starts import LeastSquaresHead
from holdfast.training.optimizers import build_optimizer
from holdfast.training.options import Training

SETUP = Setup(
    lambda: DERpp(memory=20),
    net="noisy",
    training={"optimizer": "adam", "lr": 0.01, "reset_optimizer": False, "evaluate_every": 3},
    start=LeastSquaresHead,
    probes=lambda: (EffectiveRank(), FeatureMovement(), TangentKernel(samples=4)),
    stream={"rows": 13, "fed": "own"},
)


def started(out: Path) -> int:
    """A process that runs or resumes."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        SETUP.run(out, resume=True, checkpoint_minutes=0.0)
        status = 0
    finally:
        os._exit(status)


def main(folder: Path, kills: int) -> None:
    torch.set_num_threads(1)
    # Makes torch import what an optimizer needs once, here, and not in every process.
    build_optimizer({"": torch.nn.Parameter(torch.zeros(1))}, Training())
    began = time.monotonic()
    os.waitpid(started(folder / "whole"), 0)
    lasts = time.monotonic() - began
    length = (folder / "whole" / "events.jsonl").stat().st_size
    draws, found = random.Random(0), []
    for i in range(kills):
        out = folder / str(i)
        child = started(out)
        # A moment of the run rather than of the clock, which other work on the machine slows.
        reached = draws.uniform(0, 0.9) * length
        while not (out / "events.jsonl").exists() or (
            (out / "events.jsonl").stat().st_size < reached
        ):
            time.sleep(0.0005)
        time.sleep(draws.uniform(0, lasts / 20))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        events = out / "events.jsonl"
        cut = len(events.read_bytes().splitlines()) if events.exists() else 0
        _, code = os.waitpid(started(out), 0)
        found.append({
            "killed": os.WIFSIGNALED(status), "events": cut, "code": code,
            "digest": Record.load(out).digest(),
            "same_events": events.read_bytes() == (folder / "whole" / "events.jsonl").read_bytes(),
        })  # fmt: skip
    print(json.dumps({"digest": Record.load(folder / "whole").digest(), "kills": found}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
