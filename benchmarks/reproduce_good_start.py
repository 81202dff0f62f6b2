"""What starts of a head save, on real data: ``python -m benchmarks.reproduce_good_start [OUT]``.

Runs the shipped studies of starts in their size ``cpu`` (clinc150, fashion_mnist and cifar100 must
be there, see the docs on data, and the encoder ``minilm``), CIFAR-100 with one backbone a seed,
tests each claim, and writes ``summary.md``, ``findings.json`` and figures. Interrupted, it goes on
where it stopped.
"""

import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.good_start_cifar import cifar_conditions
from benchmarks.good_start_claims import Asked, verdicts
from benchmarks.telling import telling
from benchmarks.verdicts import write_verdicts
from holdfast.cli.naming import slug
from holdfast.cli.shipped import shipped
from holdfast.reports.onset import onset_figure
from holdfast.reports.save import save_figure
from holdfast.studies.good_start import Condition, measured, start_courses
from holdfast.studies.good_start.conditions import conditions_of
from holdfast.studies.good_start.text import condition_lines
from holdfast.studies.study import Study
from holdfast.studies.text import table_text

STUDIES = ("digits", "clinc150", "split_fashion")
AT = (10, 25, 50, 100, 400)
"""Updates at which accuracies are told."""

SQUARED = ("random", "class mean", "LS, all classes", "calibrated")
"""Starts of the intents under squared error, of which the shipped study has none."""


def main(out: str = "out/good_start") -> int:
    """Run all, test all claims, print and write what came of them."""
    torch.set_num_threads(1)
    folder, began = Path(out), time.monotonic()
    asked: list[Asked] = []
    for name in STUDIES:
        study = Study.read(shipped()[f"good_start/{name}"].file("cpu"))
        asked += _asked(name, study, folder / name)
        if name == "clinc150":
            asked += _asked("clinc150", _squared(study), folder / "clinc150-mse")
    for arm, condition in cifar_conditions(folder / "cifar100").items():
        asked.append(Asked(f"cifar100, {arm} backbone", "cross_entropy", condition))
    found, lines = verdicts(asked), []
    for one in asked:
        lines += ["", f"## {one.name}", "", "```text", *_told(one), "```"]
        figure = onset_figure(start_courses(one.condition), one.name)
        save_figure(figure, folder / "figures" / slug(one.name))
    write_verdicts(folder, "good start", found, lines)
    print(f"{time.monotonic() - began:.0f} s in all, {time.process_time():.0f} s of CPU")
    return 0


def _asked(name: str, study: Study, folder: Path) -> list[Asked]:
    start, cpu = time.monotonic(), time.process_time()
    findings = replace(study, workers=1).run(folder, listener=telling(every=50))
    spent = time.process_time() - cpu
    print(f"{folder.name}: {time.monotonic() - start:.0f} s, {spent:.0f} s of CPU", flush=True)
    found = []
    for condition in conditions_of(findings, "start"):
        settings = dict(condition.settings)
        own = study.base.get("training", {}).get("loss", "cross_entropy")
        loss = str(settings.pop("training.loss", own))
        backbone = {"after_first": "frozen backbone", "never": "trained backbone"}
        rest = [backbone.get(str(value), str(value)) for value in settings.values()]
        found.append(Asked(", ".join((name, *rest)), loss, condition))
    return found


def _squared(study: Study) -> Study:
    training = {**study.base["training"], "loss": "mse", "evaluate_every": 20}
    return replace(
        study,
        name=f"{study.name}-mse",
        base={**study.base, "training": training},
        grid={"start": {name: study.grid["start"][name] for name in SQUARED}},
        seeds=3,
    )


def _told(asked: Asked) -> list[str]:
    """The measures of each start, its accuracies on the way, and, of five tasks, two alone."""
    condition = asked.condition
    lines = condition_lines(measured(condition, "random", (0.9, 0.95, 0.99)), "random", 0.95, 0.05)
    lines += ["", *_on_the_way(condition)]
    tasks = len(next(iter(condition.arms.values()))[0].tasks)
    for task in (1, tasks - 1) if tasks > 2 else ():
        lines += ["", f"task {task + 1} of {tasks} alone"]
        lines += condition_lines(
            measured(condition, "random", (0.9, 0.95, 0.99), task), "random", 0.95, 0.05
        )
    return lines


def _on_the_way(condition: Condition) -> list[str]:
    courses = start_courses(condition)
    steps = next(iter(courses.values())).steps.tolist()
    at = [step for step in AT if step in steps]
    rows = [["accuracy on all after updates", *map(str, at)]]
    for name, course in courses.items():
        means = np.array(course.accuracy["all"]).mean(axis=0)
        rows.append([name, *(f"{means[steps.index(step)]:.3f}" for step in at)])
    return table_text(rows).splitlines()


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
