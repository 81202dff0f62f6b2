"""What richness does to forgetting: ``python -m benchmarks.reproduce_richness [OUT] [SIZE]``.

Runs the shipped studies ``richness/*`` in their size ``cpu`` (mnist-like sets and cifar10 must be
there, see the docs on data), tests each claim, and writes ``summary.md``, ``findings.json`` and
figures. Interrupted, it goes on where it stopped.
"""

import sys
import time
from importlib.resources import files
from pathlib import Path

import torch

from benchmarks.richness_claims import CLAIMS
from benchmarks.telling import telling
from benchmarks.verdicts import write_verdicts
from holdfast.cli.plotting import study_figures
from holdfast.studies.findings import Findings
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
        findings[name] = study.run(folder / name, listener=telling(every=50))
        study_figures(folder / name, folder / name / "figures")
        print(f"{name}: {time.monotonic() - start:.0f} s", flush=True)
    verdicts = [verdict for claim in CLAIMS for verdict in claim(findings)]
    lines = []
    for name, found in findings.items():
        lines += ["", f"## {name}", "", found.text(markup="markdown")]
        said = (found.analysis or {}).get("text", [])
        lines += ["", "```text", *said, "```"] if said else []
    studies = {name: f"{name}/findings.json" for name in STUDIES}
    write_verdicts(folder, "richness", verdicts, lines, size=size, studies=studies)
    print(f"{time.monotonic() - began:.0f} s in all")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
