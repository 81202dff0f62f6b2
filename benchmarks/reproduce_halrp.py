"""HALRP on real data: ``python -m benchmarks.reproduce_halrp [OUT] [--size S] [--seeds N]``.

Runs the shipped studies ``halrp/orders``, ``halrp/ranks`` and ``halrp/ablation`` (cifar100 must be
there, see the docs on data) in a size, ``cpu`` (5 % of the training images) or ``quarter`` (25 %),
tests each claim and writes ``summary.md``, ``findings.json`` and figures. Interrupted, it goes on
where it stopped; ``--parts ranks`` runs one of them, and tells what is there of the others.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

from benchmarks.halrp_claims import REFERENCES, Asked, orders_of, verdicts
from benchmarks.telling import telling
from benchmarks.verdicts import write_verdicts
from holdfast.cli.shipped import shipped
from holdfast.reports.analyses import analysis_figures
from holdfast.reports.save import save_figure
from holdfast.reports.style import house_style, new_figure
from holdfast.studies.findings import Findings
from holdfast.studies.study import Study
from holdfast.studies.text import table_text

PARTS = ("orders", "ranks", "ablation")
SIZES = {"cpu": "5 %", "quarter": "25 %"}
COLUMNS = ("acc", "bwt", "LearnerSize.growth", "LearnerSize.growth_counted", "cpu_seconds")
Part = tuple[Study, Findings]


def main(words: Sequence[str] | None = None) -> int:
    """Run what is asked for, test all claims, print and write what came of them."""
    args = _arguments(words)
    torch.set_num_threads(1)
    folder, began = Path(args.out) / args.size, time.monotonic()
    found: dict[str, Part] = {}
    for part in PARTS:
        study = _study(part, args.size, args.seeds)
        if part in args.parts:
            print(f"{part}: {len(study.runs())} runs", flush=True)
            found[part] = study, study.run(folder / part, listener=telling())
        elif (folder / part / "findings.json").is_file():
            found[part] = study, Findings.load(folder / part)
    claims = verdicts([_asked(args.size, found)])
    lines = []
    for part, (study, findings) in found.items():
        lines += ["", f"## {part}", "", *_told(study, findings)]
        for name, figure in _figures(study, findings).items():
            save_figure(figure, folder / "figures" / f"{part}-{name}")
    write_verdicts(folder, "halrp", claims, lines, size=args.size)
    print(f"{time.monotonic() - began:.0f} s in all, {time.process_time():.0f} s of CPU")
    return 0


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reproduce_halrp")
    parser.add_argument("out", nargs="?", default="out/halrp")
    parser.add_argument("--size", choices=SIZES, default="cpu")
    parser.add_argument("--seeds", type=int, help="number of them; by default that of the study")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    return parser.parse_args(words)


def _study(part: str, size: str, seeds: int | None) -> Study:
    study = Study.read(shipped()[f"halrp/{part}"].file(size))
    return replace(study, workers=1, seeds=study.seeds if seeds is None else seeds)


def _asked(size: str, found: dict[str, Part]) -> Asked:
    orders, ranks = found.get("orders"), found.get("ranks")
    return Asked(
        f"{SIZES[size]} of the data",
        REFERENCES[size],
        {} if orders is None else orders_of(orders[1]),
        None if ranks is None else ranks[1],
    )


def _told(study: Study, findings: Findings) -> list[str]:
    """What the analysis says; without one all cells, and how they differ from the first."""
    if study.analysis is not None:
        return ["```text", *findings.analysis.get("text", []), "```"]
    rows = [["", f"ACC less that of {findings.cells[0]}"]]
    for cell in findings.cells[1:]:
        mean, low, high = findings.difference(cell, findings.cells[0], "acc")
        told = f"{mean:+.3f} [{low:+.3f}, {high:+.3f}]" if findings.runs(cell)["complete"] else "-"
        rows.append([cell, told])
    lines = [*findings.text(COLUMNS).splitlines(), "", *table_text(rows).splitlines()]
    return ["```text", *lines, "```"]


def _figures(study: Study, findings: Findings) -> dict[str, Figure]:
    analyst = study.analyst()
    if analyst is not None:
        return analysis_figures(analyst, findings)
    return {"differences": _difference_figure(findings)}


def _difference_figure(findings: Findings) -> Figure:
    """How far the accuracy of each cell lies from that of the first, a dot a seed."""
    first, *others = findings.cells
    base = findings.values(first, "acc")
    with house_style():
        figure = new_figure(6.0, 1.0 + 0.26 * len(others))
        axes = figure.subplots()
        for row, cell in enumerate(others):
            own = findings.values(cell, "acc")
            apart = [100 * (own[seed] - base[seed]) for seed in own if seed in base]
            if apart:
                axes.plot(apart, np.full(len(apart), row), "o", color="0.6", markersize=3)
                axes.plot(np.mean(apart), row, "|", color="black", markersize=11)
        axes.axvline(0, color="0.3", linewidth=0.8)
        axes.set_yticks(range(len(others)), others)
        axes.set_ylim(len(others) - 0.5, -0.5)
        axes.set_xlabel(f"points of accuracy above {first}")
    return figure


if __name__ == "__main__":
    raise SystemExit(main())
