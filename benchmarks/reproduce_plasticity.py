"""Warm starts on real data: ``python -m benchmarks.reproduce_plasticity [OUT] [--size S]``.

Runs the shipped studies ``plasticity/...`` in a size (``paper`` and ``cifar10`` are for a GPU; the
studies of CIFAR-10 need it, see the docs on data), tests each claim and writes ``summary.md``,
``findings.json`` and figures. Interrupted, it goes on where it stopped; ``--parts resets`` runs one
of them and tells what is there of the others, ``--parts`` alone runs none.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.plasticity_claims import verdicts
from benchmarks.telling import telling
from benchmarks.verdicts import write_verdicts
from holdfast.cli.naming import slug
from holdfast.cli.shipped import shipped
from holdfast.reports.analyses import analysis_figures
from holdfast.reports.save import save_figure
from holdfast.studies.findings import Findings
from holdfast.studies.study import Study

GROUP = "plasticity/"
SIZES = ("cpu", "cifar10", "paper")


def main(words: Sequence[str] | None = None) -> int:
    """Run what is asked for, test all claims, print and write what came of them."""
    args = _arguments(words)
    torch.set_num_threads(1)
    folder, began = Path(args.out or f"out/plasticity/{args.size}"), time.monotonic()
    found: dict[str, Findings] = {}
    for part in _parts(args.size):
        study = _study(part, args.size, args.seeds)
        if part in args.parts:
            print(f"{part}: {len(study.runs())} runs", flush=True)
            found[part] = study.run(folder / part, listener=telling())
        elif (folder / part / "findings.json").is_file():
            found[part] = Findings.load(folder / part)
        if part in found and (analyst := study.analyst()) is not None:
            for name, figure in analysis_figures(analyst, found[part]).items():
                save_figure(figure, folder / "figures" / slug(f"{part}-{name}"))
    claims = verdicts(found)
    lines = []
    for part, findings in found.items():
        lines += ["", f"## {part}", "", "```text", *findings.analysis.get("text", []), "```"]
    write_verdicts(folder, "plasticity", claims, lines, size=args.size)
    print(f"{time.monotonic() - began:.0f} s in all, {time.process_time():.0f} s of CPU")
    return 0


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reproduce_plasticity")
    parser.add_argument("out", nargs="?", help="by default out/plasticity/SIZE")
    parser.add_argument("--size", choices=SIZES, default="cpu")
    parser.add_argument("--seeds", type=int, help="number of them; by default that of the study")
    parser.add_argument("--parts", nargs="*", help="of the studies; by default all of the size")
    args = parser.parse_args(words)
    there = _parts(args.size)
    args.parts = there if args.parts is None else tuple(args.parts)
    unknown = sorted(set(args.parts) - set(there))
    if unknown:
        parser.error(f"--parts must be of {', '.join(there)}; got {', '.join(unknown)}")
    return args


def _parts(size: str) -> tuple[str, ...]:
    """The studies that come in the size."""
    return tuple(
        name.removeprefix(GROUP)
        for name, study in shipped().items()
        if name.startswith(GROUP) and size in study.sizes
    )


def _study(part: str, size: str, seeds: int | None) -> Study:
    study = Study.read(shipped()[GROUP + part].file(size))
    return replace(study, workers=1, seeds=study.seeds if seeds is None else seeds)


if __name__ == "__main__":
    raise SystemExit(main())
