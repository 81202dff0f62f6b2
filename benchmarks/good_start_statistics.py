"""Memory, rate, rounding and cost of the statistics that closed-form heads are solved from.

``python -m benchmarks.good_start_statistics [million] [rate] [numerics] [beside] [cost]``, all by
default.
"""

import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, StrMethodFormatter
from torch import Tensor

from benchmarks.timing import Comparison, compare
from holdfast.reports.save import save_figure
from holdfast.reports.style import MARKERS, PALETTE, house_style, new_figure
from holdfast.starts import FeatureStatistics
from holdfast.starts.ridge import solve_ridge

RIDGE = 1e-2
COMPARED = ["work", "theirs, s", "ours, s", "ours / theirs [min, max]"]


def classified(n: int, width: int, classes: int, generator: torch.Generator) -> tuple[Tensor, ...]:
    """Float32 features around the mean of their class, and labels."""
    labels = torch.randint(classes, (n,), generator=generator)
    # Means follow from the label alone, so that batches made at different times agree.
    angles = torch.outer(labels + 1.0, torch.arange(1.0, width + 1))
    return torch.randn(n, width, generator=generator) + angles.sin(), labels


def accumulation(repetitions: int, width: int, classes: int = 1000, rows: int = 8192) -> Comparison:
    """`update` with float32 features against one float64 product X^T X of the same shape."""
    x, y = classified(rows, width, classes, torch.Generator().manual_seed(0))
    exact = x.double()
    statistics = FeatureStatistics(width)
    return compare(lambda: statistics.update(x, y), lambda: exact.T @ exact, repetitions)


def table(head: list[str], rows: list[list[str]]) -> None:
    """Print a table."""
    for line in [head, ["---"] * len(head), *rows]:
        print("| " + " | ".join(line) + " |")
    print(flush=True)


def rate() -> None:
    """How fast features are taken in, beside the float64 product of the same shape."""
    found = []
    for width in (64, 384, 768, 2048):
        timed = accumulation(15, width)
        ours, theirs = np.median(timed.ours), np.median(timed.theirs)
        share = float(np.median([1 / ratio for ratio in timed.ratios]))
        rates = [f"{2 * 8192 * width**2 / s / 1e9:.1f}" for s in (theirs, ours)]
        found.append([*timed.cells(f"8,192 x {width}"), *rates, f"{100 * share:.0f} %"])
    head = [*COMPARED, "theirs, GF/s", "ours, GF/s", "share of theirs"]
    table(head, found)


def ill_conditioned(n: int, width: int, condition: float) -> tuple[Tensor, Tensor]:
    """Float32 features whose Gram matrix has this condition number, and ten classes they tell."""
    generator = torch.Generator().manual_seed(0)
    white = torch.randn(n, width, generator=generator, dtype=torch.float64)
    random = torch.randn(width, width, generator=generator, dtype=torch.float64)
    scales = torch.logspace(0, -0.5, width, base=condition, dtype=torch.float64)
    features = (white * scales) @ torch.linalg.qr(random)[0]
    scores = white @ torch.randn(width, 10, generator=generator, dtype=torch.float64)
    return features.float(), scores.argmax(1)


def by_qr(x: Tensor, y: Tensor, classes: tuple[int, ...], ridge: float) -> Tensor:
    """Ridge with a penalised bias from the samples, whose Gram matrix is never made."""
    n = len(x)
    long = torch.cat([x.double(), torch.ones(n, 1, dtype=torch.float64)], 1) / n**0.5
    eye = torch.eye(long.shape[1], dtype=torch.float64)
    q, r = torch.linalg.qr(torch.cat([long, ridge**0.5 * eye]))
    targets = torch.stack([(y == c).double() for c in classes], 1) / n**0.5
    return torch.linalg.solve_triangular(r, q[:n].T @ targets, upper=True).T


def numerics() -> None:
    """Relative errors of solutions from ill-conditioned features, against QR of the samples."""
    x, y = ill_conditioned(20_000, 512, 5e7)
    stream = gathered(list(zip(x.split(256), y.split(256), strict=True)))
    shards = FeatureStatistics(512)
    for i in range(8):
        shards = shards + FeatureStatistics(512).update(x[i::8], y[i::8])
    whole = FeatureStatistics(512).update(x, y)
    classes = whole.classes
    ridge = 1e-9 * float(whole.moments().gram.diagonal().mean())
    expected = by_qr(x, y, classes, ridge)
    single = whole.moments()
    single.gram[:-1, :-1] = (x.T @ x / len(x)).double()
    rows = []
    for name, moments in {
        "one pass": whole.moments(),
        "batches of 256": stream.moments(classes),
        "8 merged shards": shards.moments(classes),
        "float32 Gram matrix": single,
    }.items():
        solved = solve_ridge(moments, ridge)
        off = float((solved.weight - expected).norm() / expected.norm())
        rows.append([name, f"{solved.condition:.1e}", f"{off:.1e}"])
    table(["statistics of 20,000 x 512", "condition", "relative error of W"], rows)


def beside() -> None:
    """Fits of 20,000 x 768 with 1,000 classes beside scikit-learn's, in turn in one process."""
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.linear_model import Ridge

    n, width, classes = 20_000, 768, 1000
    x, y = classified(n, width, classes, torch.Generator().manual_seed(1))
    features, labels = x.double().numpy(), y.numpy()
    targets = np.eye(classes)[labels]

    def ours() -> Tensor:
        found = gathered(list(zip(x.split(2048), y.split(2048), strict=True)))
        return solve_ridge(found.moments(range(classes)), RIDGE, bias="free").weight

    theirs: dict[str, Callable[[], object]] = {
        "Ridge(solver='cholesky')": lambda: Ridge(alpha=n * RIDGE, solver="cholesky").fit(
            features, targets
        ),
        "LinearDiscriminantAnalysis(solver='svd')": lambda: LinearDiscriminantAnalysis().fit(
            features, labels
        ),
        "LinearDiscriminantAnalysis(solver='lsqr')": lambda: LinearDiscriminantAnalysis(
            solver="lsqr"
        ).fit(features, labels),
    }
    table(COMPARED, [compare(ours, fit, 3).cells(name) for name, fit in theirs.items()])
    right = Ridge(alpha=n * RIDGE, solver="cholesky").fit(features, targets)
    weight = torch.from_numpy(np.column_stack([right.coef_, right.intercept_]))
    print(f"Ridge's W and ours differ by {float((ours() - weight).norm() / weight.norm()):.1e}\n")


def mebibytes(field: str) -> float:
    """Memory of this process: VmRSS now, VmHWM at its largest."""
    status = Path("/proc/self/status").read_text()
    return int(status.split(f"{field}:")[1].split()[0]) / 1024


def batches(n: int, size: int, width: int, classes: int) -> Iterator[tuple[Tensor, ...]]:
    """Samples that are made when they are asked for, and never all there."""
    generator = torch.Generator().manual_seed(2)
    for _ in range(n // size):
        yield classified(size, width, classes, generator)


def million() -> None:
    """1,000,000 x 768 of 1,000 classes, batch by batch: CPU seconds and memory as it goes."""
    n, size, width, classes = 1_000_000, 2000, 768, 1000
    statistics = FeatureStatistics(width)
    seconds, rows = 0.0, []
    for i, batch in enumerate(batches(n, size, width, classes), 1):
        began = time.process_time()
        statistics.update(*batch)
        seconds += time.process_time() - began
        if i * size in (n // 100, n // 10, n // 2, n):
            memory = [f"{mebibytes(field):,.0f}" for field in ("VmRSS", "VmHWM")]
            rows.append([f"{i * size:,}", f"{seconds:.2f}", *memory])
    began = time.process_time()
    solved = solve_ridge(statistics.moments(range(classes)), RIDGE)
    solving = time.process_time() - began
    table(["rows", "CPU s of update", "MiB held", "MiB at most"], rows)
    print(
        f"solved in {solving:.2f} s, condition {solved.condition:.3g}; in all "
        f"{1e6 * (seconds + solving) / n:.1f} us a row\n",
        flush=True,
    )


def gathered(parts: list[tuple[Tensor, Tensor]]) -> FeatureStatistics:
    """Statistics of batches of mixed classes."""
    statistics = FeatureStatistics(parts[0][0].shape[1])
    for features, labels in parts:
        statistics.update(features, labels)
    return statistics


def settled(held: list[Tensor]) -> FeatureStatistics:
    """Statistics of classes that come whole, one after the other, balanced in constant memory."""
    statistics = FeatureStatistics(held[0].shape[1], per_class=True)
    for c, features in enumerate(held):
        if len(features):
            statistics.update(features, torch.full((len(features),), c)).settle()
    return statistics


def cost() -> None:
    """CPU seconds over the number of classes, 20,000 x 768."""
    from sklearn.linear_model import Ridge

    n, width = 20_000, 768
    found: dict[str, list[tuple[int, float]]] = {}

    def note(name: str, classes: int, work: Callable[[], object], repetitions: int = 3) -> None:
        times = []
        for _ in range(repetitions):
            began = time.process_time()
            work()
            times.append(time.process_time() - began)
        found.setdefault(name, []).append((classes, float(np.median(times))))

    for classes in (10, 30, 100, 300, 1000, 3000, 10_000):
        x, y = classified(n, width, classes, torch.Generator().manual_seed(3))
        parts = list(zip(x.split(2000), y.split(2000), strict=True))
        order = y.argsort(stable=True)
        held = [x[rows] for rows in order.split(y.bincount(minlength=classes).tolist())]

        moments = gathered(parts).moments()
        note("statistics", classes, partial(gathered, parts))
        note("solving", classes, partial(solve_ridge, moments, RIDGE))
        if classes <= 1000:
            note("statistics of classes one by one, settled", classes, partial(settled, held), 1)
        if classes <= 3000:
            features, targets = x.double().numpy(), np.eye(classes)[y.numpy()]
            ridge = Ridge(alpha=n * RIDGE, solver="cholesky")
            note("scikit-learn's Ridge, from the samples", classes,
                 partial(ridge.fit, features, targets), 1)  # fmt: skip
    numbers = sorted({classes for timed in found.values() for classes, _ in timed})
    rows = [
        [name, *(f"{dict(timed)[c]:.3f}" if c in dict(timed) else "-" for c in numbers)]
        for name, timed in found.items()
    ]
    table(["CPU s, 20,000 x 768", *(f"{c:,} classes" for c in numbers)], rows)
    print(*save_figure(cost_figure(found), "out/good_start/cost"))


def cost_figure(found: dict[str, list[tuple[int, float]]]) -> Figure:
    """CPU seconds against the number of classes, a line a piece of work."""
    with house_style():
        figure = new_figure(5.6, 3.6)
        axes = figure.add_subplot()
        for (name, timed), colour, marker in zip(found.items(), PALETTE, MARKERS, strict=False):
            axes.loglog(*zip(*timed, strict=True), color=colour, marker=marker, label=name)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(StrMethodFormatter("{x:,g}"))
            axis.set_minor_formatter(NullFormatter())
        axes.set_xlabel("classes")
        axes.set_ylabel("CPU seconds, 20,000 x 768")
        axes.legend(fontsize=8)
    return figure


# The million goes first: memory at most is that of the process so far.
PARTS = {"million": million, "rate": rate, "numerics": numerics, "beside": beside, "cost": cost}

if __name__ == "__main__":
    torch.set_num_threads(1)
    for part in sys.argv[1:] or PARTS:
        print(f"\n{part}\n")
        PARTS[part]()
