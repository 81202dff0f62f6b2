"""What a foundation must show on real data: ``python -m benchmarks.reproduce_foundation [OUT]``.

Runs the studies of ``benchmarks/foundation`` (mnist and cifar100 must be there, see the docs on
data), tests each claim by the paired difference over seeds, kills a run at random moments, and
writes ``summary.md`` and ``findings.json``. Interrupted, it goes on where it stopped.
"""

import random
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.telling import telling
from benchmarks.verdicts import Verdict, write_verdicts
from holdfast.records.record import Record
from holdfast.studies.findings import Findings
from holdfast.studies.study import Study

HERE = Path(__file__).parent / "foundation"
KILLS = 20
RUN = """
stream: {name: split, dataset: digits, tasks: 5}
net: {name: mlp, hidden: [100], dropout: 0.2}
method: {name: derpp, memory: 200}
training: {optimizer: adam, lr: 0.001, checkpoint_minutes: 0.0, evaluate_every: 25}
"""


@dataclass(frozen=True)
class Claim:
    """``first - second`` of a metric is above zero, or below where `sign` is -1."""

    study: str
    first: str
    second: str
    metric: str
    sign: int
    text: str


CLAIMS = (
    Claim("split_mnist", "joint", "replay", "acc", 1, "Joint > Replay"),
    Claim("split_mnist", "replay", "finetune", "acc", 1, "Replay > Finetune"),
    Claim("split_cifar100", "joint", "replay", "acc", 1, "Joint > Replay"),
    Claim("split_cifar100", "replay", "finetune", "acc", 1, "Replay > Finetune"),
    Claim("split_mnist_tasks", "ewc", "finetune", "forgetting", -1, "EWC forgets less"),
    Claim("split_mnist_tasks", "ewc", "finetune", "acc", 1, "EWC > Finetune"),
    Claim("split_cifar100_tasks", "ewc", "finetune", "forgetting", -1, "EWC forgets less"),
    Claim("split_cifar100_tasks", "ewc", "finetune", "acc", 1, "EWC > Finetune"),
)


def verdict(claim: Claim, findings: Findings) -> Verdict:
    """Whether the difference that is claimed shows."""
    found = findings.difference(claim.first, claim.second, claim.metric)
    shown = found.low > 0 if claim.sign > 0 else found.high < 0
    value = f"{found.mean:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"
    about = f"{claim.metric}: {claim.first} - {claim.second}"
    return Verdict(claim.text, claim.study, about, value, shown)


def kills(seed: int = 0) -> Verdict:
    """SIGKILL a run at a random moment of its training and resume it, again and again.

    The run checkpoints after every step, uses dropout, a replay memory and Adam, and evaluates
    within tasks. Identical means: record and event log, bit for bit but for times.
    """
    draws, same, killed = random.Random(seed), 0, 0
    with tempfile.TemporaryDirectory() as name:
        config, whole = Path(name) / "run.yaml", Path(name) / "whole"
        config.write_text(RUN)
        first = _started(config, whole)
        began = time.perf_counter()
        first.wait()
        length = time.perf_counter() - began
        while killed < KILLS:
            folder = Path(name) / f"{killed}"
            run = _started(config, folder)
            try:
                run.wait(draws.uniform(0.0, length))
                shutil.rmtree(folder)
                continue  # it was done before: another moment
            except subprocess.TimeoutExpired:
                run.kill()
                run.wait()
            _holdfast("resume", str(folder)).wait()
            events = [(f / "events.jsonl").read_bytes() for f in (whole, folder)]
            digests = [Record.load(f).digest() for f in (whole, folder)]
            same += digests[0] == digests[1] and events[0] == events[1]
            killed += 1
    about, value = f"{KILLS} SIGKILLs during training", f"{same} of {KILLS}"
    return Verdict("a killed run resumes identically", "digits", about, value, same == KILLS)


def _started(config: Path, folder: Path) -> subprocess.Popen[bytes]:
    """A run that has written its first checkpoint."""
    run = _holdfast("run", str(config), "--out", str(folder))
    while run.poll() is None and not (folder / "checkpoint" / "state.safetensors").exists():
        time.sleep(0.005)
    return run


def _holdfast(*arguments: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "holdfast.cli", *arguments]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def nothing_forgotten(findings: Findings) -> Verdict:
    """Whether the tasks of a stream without any change are kept."""
    cell = next(cell for cell in findings.cells if cell.startswith("1"))
    found = findings.mean(cell, "forgetting_after_learning")
    value = f"{found.mean:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"
    about = "forgetting_after_learning at similarity 1"
    claim = "similarity 1 forgets nothing"
    return Verdict(claim, "permuted_mnist", about, value, found.high <= 0)


def main(out: str = "out/foundation") -> int:
    """Run all studies, test all claims, print and write the summary."""
    torch.set_num_threads(1)
    folder = Path(out)
    findings: dict[str, Findings] = {}
    for path in sorted(HERE.glob("*.yaml")):
        print(f"study {path.stem}", flush=True)
        findings[path.stem] = Study.read(path).run(folder / path.stem, listener=telling())
    verdicts = [verdict(claim, findings[claim.study]) for claim in CLAIMS]
    verdicts.append(nothing_forgotten(findings["permuted_mnist"]))
    print("killing and resuming", flush=True)
    verdicts.append(kills())
    lines = []
    for name, found in findings.items():
        lines += ["", f"## {name}", "", found.text(markup="markdown")]
    write_verdicts(folder, "foundation", verdicts, lines)
    return 0 if all(found.shown for found in verdicts) else 1


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
