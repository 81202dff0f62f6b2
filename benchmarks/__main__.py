"""Print the table: ``python -m benchmarks [repetitions]``."""

import platform
import sys

import torch

from benchmarks.epoch import plain_epochs
from benchmarks.fisher import fisher, fisher_over_vmap
from benchmarks.good_start_statistics import accumulation
from benchmarks.halrp import halrp_rows
from benchmarks.imports import import_seconds
from benchmarks.many_tasks import many_tasks
from benchmarks.methods import derpp, ewc
from benchmarks.parametrized import parametrized_steps

HEAD = ["work", "theirs, s", "ours, s", "ours / theirs [min, max]", "reach", "reached"]


def main(repetitions: int = 9) -> None:
    """Time everything, one torch thread, and print the table."""
    torch.set_num_threads(1)
    print(
        f"CPU seconds, medians of {repetitions} interleaved repetitions in one process, 1 thread; "
        f"torch {torch.__version__}, Python {platform.python_version()}, {platform.machine()}\n"
    )
    backward, both = fisher(repetitions)
    rows = [
        plain_epochs(repetitions).row("5 epochs, bare loop", 1.05),
        many_tasks(repetitions, 40).row("50 tasks, 40 test rows each, bare loop", 1.0),
        many_tasks(repetitions, 200).row("50 tasks, 200 test rows each, bare loop", 1.0),
        backward.row("exact Fisher, backward passes of an epoch", 1.5),
        both.row("exact Fisher, forward and backward passes of an epoch", 1.5),
        fisher_over_vmap(max(3, repetitions // 3)).row("exact Fisher, vmap of grad", 1.0),
        ewc(repetitions).row("3 epochs of EWC, bare EWC", 1.05),
        derpp(repetitions).row("3 epochs of DER++, bare DER++", 1.05),
    ]
    rows += [
        found.row(f"steps of a parametrized {name}, plain", 1.03)
        for name, found in parametrized_steps(10 * repetitions).items()
    ]
    rows += [
        # 70 % of the rate of the product: 1 / 0.7 of its time.
        accumulation(repetitions, width).row(f"statistics of 8,192 x {width}, X^T X", 1 / 0.7)
        for width in (768, 2048)
    ]
    rows += halrp_rows(repetitions)
    wall, cpu = import_seconds(7)
    reached = "yes" if wall <= 0.3 else "no"
    rows.append(
        ["import beyond torch", "-", f"{wall:.3f}", f"CPU {cpu:.3f} s", "<= 0.3 s", reached]
    )
    for line in [HEAD, ["---"] * len(HEAD), *rows]:
        print("| " + " | ".join(line) + " |")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
