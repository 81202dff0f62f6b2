"""A linear classifier in closed form against scikit-learn's: ``python -m benchmarks.linear``."""

import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import RidgeClassifier, SGDClassifier

from benchmarks.timing import Comparison, compare
from holdfast.estimator import ContinualLinearClassifier

ROWS, WIDTH, CLASSES = 100_000, 384, 150
SINGLE = 2000


def samples(kind: type[np.floating]) -> tuple[np.ndarray, np.ndarray]:
    """Points around a centre for each class, of features as unlike in scale as an encoder's."""
    rng = np.random.default_rng(0)
    y = rng.integers(CLASSES, size=ROWS)
    centres = rng.normal(size=(CLASSES, WIDTH))
    scale = np.geomspace(0.1, 1, WIDTH)
    return ((centres[y] + 3 * rng.normal(size=(ROWS, WIDTH))) * scale).astype(kind), y


def fits(repetitions: int) -> Iterator[tuple[str, Comparison]]:
    """Fitting and the solution, of both; ours sums in float64 whatever the samples are."""
    classes = np.arange(CLASSES)
    for kind in (np.float32, np.float64):
        x, y = samples(kind)
        found = compare(
            partial(ours, x, y, ridge=0.1), partial(RidgeClassifier().fit, x, y), repetitions
        )
        yield f"RidgeClassifier, {kind.__name__}", found
    lda = partial(ours, x, y, head="lda", ridge=0.1)
    theirs = LinearDiscriminantAnalysis(solver="lsqr").fit
    yield "LinearDiscriminantAnalysis by lsqr", compare(lda, partial(theirs, x, y), repetitions)
    theirs = LinearDiscriminantAnalysis().fit
    yield "LinearDiscriminantAnalysis by svd", compare(lda, partial(theirs, x, y), 1)
    found = compare(
        partial(ours, x, y), partial(SGDClassifier().partial_fit, x, y, classes=classes), 1
    )
    yield "SGDClassifier, one pass of partial_fit", found
    found = compare(
        partial(one_by_one, ContinualLinearClassifier, x, y),
        partial(one_by_one, SGDClassifier, x, y, classes=classes),
        repetitions,
    )
    yield f"SGDClassifier, {SINGLE:,} samples one by one", found


def ours(x: np.ndarray, y: np.ndarray, **options: Any) -> np.ndarray:
    """Statistics of all samples and the rows."""
    return ContinualLinearClassifier(**options).fit(x, y).coef_


def one_by_one(make: Callable[[], Any], x: np.ndarray, y: np.ndarray, **options: Any) -> np.ndarray:
    """A stream of single samples, then the rows."""
    model = make()
    for i in range(SINGLE):
        model.partial_fit(x[i : i + 1], y[i : i + 1], **options)
    rows: np.ndarray = model.coef_
    return rows


def main(repetitions: int = 3) -> None:
    """Print the rows of the table."""
    torch.set_num_threads(1)
    for name, found in fits(repetitions):
        print("| " + " | ".join([*found.cells(name), "-", "-"]) + " |", flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
