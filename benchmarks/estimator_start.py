"""Does the estimator learn new classes sooner from its default start?

``python -m benchmarks.estimator_start [seeds]``: digits, half of them to test on; accuracy on all
classes after the last chunk, of the start ``calibrated`` and of ``carry_on``, and their difference
seed by seed with its interval.
"""

import sys

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from holdfast import ContinualClassifier
from holdfast.records.intervals import mean_interval

CHUNKS = {"5 + 5 classes": 5, "5 x 2 classes": 2}
METHODS = ("replay", "finetune")
EPOCHS = (1, 5, 30)


def accuracy(start: str, method: str, classes: int, epochs: int, seed: int) -> float:
    """On the test half, after all classes came, some a chunk."""
    X, y = load_digits(return_X_y=True)
    X, x_test, y, y_test = train_test_split(X, y, train_size=0.5, stratify=y, random_state=seed)
    # Labels in another order each seed: which classes come late matters.
    place = np.random.default_rng(seed).permutation(10)
    y, y_test = place[y], place[y_test]
    model = ContinualClassifier(method=method, start=start, epochs=30, random_state=seed)
    for first in range(0, 10, classes):
        rows = (y >= first) & (y < first + classes)
        model.partial_fit(X[rows], y[rows])
        model.set_params(epochs=epochs)  # of every chunk but the first
    return float(model.score(x_test, y_test))


def main(seeds: int = 10) -> None:
    """Print a table."""
    torch.set_num_threads(1)
    print("| chunks | method | epochs | carry_on | calibrated | difference |\n" + "|---" * 6 + "|")
    for name, classes in CHUNKS.items():
        for method in METHODS:
            for epochs in EPOCHS:
                found = {
                    start: np.array(
                        [accuracy(start, method, classes, epochs, seed) for seed in range(seeds)]
                    )
                    for start in ("carry_on", "calibrated")
                }
                gain = mean_interval(found["calibrated"] - found["carry_on"])
                shown = f"{gain.mean:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]"
                means = [f"{values.mean():.3f}" for values in found.values()]
                cells = [name, method, str(epochs), *means, shown]
                print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
