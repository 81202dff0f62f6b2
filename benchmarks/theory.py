"""Hold the deep solvers of the theory against finite networks and iteration, and time them.

``python -m benchmarks.theory [agreement] [divergence] [cost]``, all three by default.
"""

import math
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, StrMethodFormatter

from holdfast.reports.save import save_figure
from holdfast.reports.style import house_style, new_figure
from holdfast.theory import Problem, causal, fixed_point, linear, networks, problem

WIDTH, SEEDS = 2000, 6


def two_tasks(points: int = 4, steps: int = 18, features: int = 20, **options: Any) -> Problem:
    """Two tasks of Gaussian inputs with labels of random signs."""
    draw = torch.Generator().manual_seed(0)
    x, y = (
        [torch.randn(*shape, generator=draw, dtype=torch.float64) for _ in range(2)]
        for shape in ((points, features), (points,))
    )
    given: dict[str, Any] = {"lr": 0.5, "gamma0": 0.5, "phi": "tanh", "depth": 2} | options
    return problem(x, [labels.sign() for labels in y], steps, **given)


def off(found: torch.Tensor, right: torch.Tensor) -> float:
    """Relative L2 distance, over both loss curves."""
    return float((found - right).norm() / right.norm())


AGREEMENT: dict[str, tuple[dict[str, Any], float]] = {
    "tanh, L = 2, gamma0 = 0.5": ({}, 0.025),
    "tanh, L = 2, gamma0 = 1.5": ({"gamma0": 1.5}, 0.025),
    "tanh, L = 2, gamma0 = 1.5, eta = 0.2": ({"gamma0": 1.5, "lr": 0.2}, 0.025),
    "ReLU, L = 2, gamma0 = 0.5": ({"phi": "relu"}, 0.025),
    "ReLU, L = 2, gamma0 = 1.5": ({"phi": "relu", "gamma0": 1.5}, 0.025),
    "tanh, L = 3, gamma0 = 1": ({"depth": 3, "gamma0": 1.0}, 0.025),
    "tanh, L = 2, zero readout a task": ({"readout_std": 0.0, "heads": "per_task"}, 0.02),
    "tanh, L = 3, zero readout a task": (
        {"readout_std": 0.0, "heads": "per_task", "depth": 3}, 0.02,
    ),
    "tanh, L = 2, zero readout, single head": ({"readout_std": 0.0}, 0.02),
    "tanh, L = 3, zero readout, single head": ({"readout_std": 0.0, "depth": 3}, 0.02),
    "tanh, L = 2, momentum 0.5, decay 0.05": (
        {"momentum": 0.5, "weight_decay": 0.05, "lr": 0.25}, 0.025,
    ),
}  # fmt: skip


def agreement() -> None:
    """Loss curves beside those of networks of a width."""
    print(
        f"Relative L2 over both loss curves against networks of width {WIDTH}: of the mean of "
        f"{SEEDS} networks, with the standard error of that mean; of one, in the mean.\n"
    )
    print("| case | theory | of the mean | s.e. | of one | no responses | reach | reached |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for name, (options, reach) in AGREEMENT.items():
        own = two_tasks(**options)
        theory, without = causal(own), causal(own, responses=False)
        curves = own.losses(networks(own, WIDTH, SEEDS).outputs)
        mean, size = curves.mean(0), theory.losses.norm()
        assert theory.loss_error is not None
        noise = theory.loss_error.norm() / size
        spread = (curves.std(0) / math.sqrt(SEEDS)).norm() / size
        each = sum(off(theory.losses, curve) for curve in curves) / SEEDS
        found = off(theory.losses, mean)
        cells = [found, float(spread), each, off(without.losses, mean)]
        shown = " | ".join(f"{100 * cell:.2f} %" for cell in cells)
        verdict = "yes" if found <= reach else "no"
        noise_shown = f"+- {100 * float(noise):.2f} %"
        print(f"| {name} | {noise_shown} | {shown} | {100 * reach:g} % | {verdict} |", flush=True)


def divergence() -> None:
    """Linear networks, by iteration with some dampings and in one pass."""
    print("\n| linear | damping | iteration | s | causal from it | causal, s | linear, s |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for depth, gamma0 in ((2, 0.5), (2, 1.5), (3, 1.0)):
        own = two_tasks(6, 15, 30, depth=depth, gamma0=gamma0, phi="linear", lr=0.2)
        one, one_s = timed(lambda own=own: causal(own, samples=2048, groups=2, tolerance=1e-12))
        _, exact_s = timed(lambda own=own: linear(own))
        for damping in (1.0, 0.6, 0.3):
            began, distance = time.process_time(), "-"
            try:
                found = fixed_point(own, damping=damping, tolerance=1e-10)
                said = f"{found.settings['iterations']} iterations"
                distance = f"{float((found.outputs - one.outputs).abs().max()):.1e}"
            except ArithmeticError as error:
                said = str(error).split(" (")[0].removeprefix("fixed_point ")
            cells = [f"L = {depth}, gamma0 = {gamma0}", f"{damping:g}", said]
            cells += [f"{time.process_time() - began:.2f}", distance, f"{one_s:.2f}"]
            print("| " + " | ".join([*cells, f"{exact_s:.2f}"]) + " |", flush=True)


def timed(work: Any) -> tuple[Any, float]:
    """A result, and CPU seconds."""
    began = time.process_time()
    made = work()
    return made, time.process_time() - began


SIZES = ((4, 18), (8, 36), (15, 50), (25, 100))
"""Points and steps of each of two tasks."""


def cost() -> None:
    """Time and memory over n = T P, each in a process of its own."""
    timings: dict[str, list[tuple[float, float]]] = {}
    print("\n| phi | T | P | n | CPU s | wall s | GiB more | ranks | s.e. of losses | dropped |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for phi in ("tanh", "relu"):
        seconds: list[tuple[float, float]] = []
        for points, steps in SIZES:
            line = subprocess.run(
                [sys.executable, "-m", "benchmarks.theory", "one", phi, str(points), str(steps)],
                check=True, capture_output=True, text=True,
            ).stdout.strip()  # fmt: skip
            print(line, flush=True)
            cells = [cell.strip() for cell in line.split("|")]
            seconds.append((float(cells[4]), float(cells[5])))
        logs = torch.tensor(seconds, dtype=torch.float64).log()
        n, s = (logs - logs.mean(0)).T
        print(f"\n{phi}: CPU seconds grow as n^{float(n @ s / (n @ n)):.2f}\n", flush=True)
        timings[f"{phi}, n^{float(n @ s / (n @ n)):.2f}"] = seconds
    print(*save_figure(cost_figure(timings), "out/theory/cost"))


def cost_figure(timings: dict[str, list[tuple[float, float]]]) -> Figure:
    """CPU seconds against n = T P, a line an activation."""
    with house_style():
        figure = new_figure(5.0, 3.4)
        axes = figure.add_subplot()
        for (name, found), (colour, marker) in zip(
            timings.items(), (("#0072b2", "o"), ("#d55e00", "s")), strict=True
        ):
            axes.loglog(*zip(*found, strict=True), color=colour, marker=marker, label=name)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(StrMethodFormatter("{x:,g}"))
            axis.set_minor_formatter(NullFormatter())
        axes.set_xlabel("n = T P")
        axes.set_ylabel("CPU seconds")
        axes.legend(frameon=False)
    return figure


def peak() -> float:
    """GiB of this process at its largest; its own, where `resource` begins with the parent's."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 2**20


def one(phi: str, points: int, steps: int) -> None:
    """A line of the table of cost."""
    own = two_tasks(points, steps, 4 * points, phi=phi)
    before = peak()
    wall = time.perf_counter()
    found, seconds = timed(lambda: causal(own))
    wall = time.perf_counter() - wall
    memory = peak() - before
    assert found.loss_error is not None
    error = float(found.loss_error.norm() / found.losses.norm())
    ranks = ", ".join("/".join(map(str, pair)) for pair in found.settings["ranks"])
    cells = [phi, 2 * steps, 2 * points, 4 * steps * points, f"{seconds:.2f}", f"{wall:.2f}"]
    cells += [f"{memory:.2f}", ranks, f"{100 * error:.2f} %", f"{found.settings['dropped']:.1e}"]
    print("| " + " | ".join(map(str, cells)) + " |")


if __name__ == "__main__":
    given = sys.argv[1:] or ["agreement", "divergence", "cost"]
    if given[0] == "one":
        one(given[1], int(given[2]), int(given[3]))
    else:
        for name in given:
            {"agreement": agreement, "divergence": divergence, "cost": cost}[name]()
