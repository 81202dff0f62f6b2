"""What richness does to forgetting: ``python -m benchmarks.reproduce_richness [OUT] [SIZE]``.

Runs the shipped studies ``richness/*`` in their size ``cpu`` (mnist-like sets and cifar10 must be
there, see the docs on data), tests each claim, and writes ``summary.md``, ``findings.json`` and
figures. Interrupted, it goes on where it stopped.
"""

import json
import sys
import time
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path

import torch

from benchmarks.richness_claims import CLAIMS, Verdict
from holdfast.cli.plotting import study_figures
from holdfast.records.files import write_atomic
from holdfast.studies.findings import Findings
from holdfast.studies.progress import Progress
from holdfast.studies.study import Study

STUDIES = ("width", "similarity", "heads", "joint", "width_gamma0", "depth", "training_time")


def main(out: str = "out/richness", size: str = "cpu") -> int:
    """Run all studies, test all claims, print and write what came of them."""
    torch.set_num_threads(1)
    folder, began = Path(out), time.monotonic()
    shipped = Path(str(files("holdfast") / "configs" / "richness"))
    findings: dict[str, Findings] = {}
    for name in STUDIES:
        start = time.monotonic()
        study = Study.read(shipped / f"{name}.{size}.yaml")
        findings[name] = study.run(folder / name, listener=_tell)
        study_figures(folder / name, folder / name / "figures")
        print(f"{name}: {time.monotonic() - start:.0f} s", flush=True)
    verdicts = [verdict for claim in CLAIMS for verdict in claim(findings)]
    text = "\n".join(_lines(verdicts, findings)) + "\n"
    write_atomic(folder / "summary.md", text)
    found = {
        "format": "holdfast richness claims",
        "size": size,
        "claims": [asdict(verdict) for verdict in verdicts],
        "studies": {name: f"{name}/findings.json" for name in STUDIES},
    }
    write_atomic(folder / "findings.json", json.dumps(found, indent=1) + "\n")
    print(text)
    print(f"{time.monotonic() - began:.0f} s in all")
    return 0


def _lines(verdicts: list[Verdict], findings: dict[str, Findings]) -> list[str]:
    head = ["claim", "study", "measured", "value [95 % interval]", ""]
    rows = [
        [v.claim, v.study, v.measured, v.value, "shown" if v.shown else "not shown"]
        for v in verdicts
    ]
    lines = ["| " + " | ".join(row) + " |" for row in [head, ["---"] * 5, *rows]]
    for name, found in findings.items():
        lines += ["", f"## {name}", "", found.text(markup="markdown")]
        said = (found.analysis or {}).get("text", [])
        lines += ["", "```text", *said, "```"] if said else []
    return lines


def _tell(event: Progress) -> None:
    if event.event == "failed":
        print(f"  failed: {event.cell}, seed {event.seed}: {event.error}", flush=True)


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
