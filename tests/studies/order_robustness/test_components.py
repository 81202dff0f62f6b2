"""The parts of the variance, by order, seed and task."""

import itertools

import numpy as np
import pytest

from holdfast.studies.order_robustness import (
    components,
)


def naive_components(y: np.ndarray) -> dict[str, float]:
    """From sums written out, by solving for the expected mean squares of the seven effects."""
    n = dict(zip("ost", y.shape, strict=True))
    subsets = ["".join(c) for k in (1, 2, 3) for c in itertools.combinations("ost", k)]
    squares = []
    for subset in subsets:
        total = 0.0
        for at in itertools.product(*(range(n[f]) for f in "ost")):
            effect = 0.0
            for k in range(len(subset) + 1):
                for kept in itertools.combinations(subset, k):
                    index = tuple(
                        i if f in kept else slice(None) for f, i in zip("ost", at, strict=True)
                    )
                    effect += (-1) ** (len(subset) - k) * y[index].mean()
            total += effect**2
        squares.append(total / np.prod([n[f] - 1 for f in subset]))
    expected = [
        [
            np.prod([n[f] for f in "ost" if f not in part]) if set(subset) <= set(part) else 0.0
            for part in subsets
        ]
        for subset in subsets
    ]
    return dict(zip(subsets, np.linalg.solve(expected, squares), strict=True))


def test_components_against_a_naive_reference() -> None:
    y = np.random.default_rng(0).uniform(0, 1, (3, 2, 4))
    found, naive = components(y), naive_components(y)
    assert found.task == pytest.approx(naive["t"])
    assert found.order == pytest.approx(naive["o"])
    assert found.task_by_order == pytest.approx(naive["ot"])
    assert found.seed == pytest.approx(sum(v for k, v in naive.items() if "s" in k))
    # All parts together: the variance of two runs that share nothing, here by its own estimate.
    assert set(found.parts) == {
        "order", "seed", "task", "order x seed", "order x task", "seed x task",
        "order x seed x task",
    }  # fmt: skip


def test_components_find_the_variances_that_were_put_in() -> None:
    rng = np.random.default_rng(0)
    sizes = {"o": 5, "s": 4, "t": 10}
    true = {"t": 0.04, "o": 0.0025, "ot": 0.01, "s": 0.0009, "st": 0.0016, "ost": 0.0025}
    found = []
    for _ in range(400):
        y = np.zeros(tuple(sizes.values()))
        for part, variance in true.items():
            shape = [sizes[f] if f in part else 1 for f in "ost"]
            y = y + np.sqrt(variance) * rng.standard_normal(shape)
        c = components(y)
        found.append([c.task, c.order, c.task_by_order, c.seed])
    wanted = [true["t"], true["o"], true["ot"], true["s"] + true["st"] + true["ost"]]
    error = 4 * np.std(found, axis=0) / 20
    assert (np.abs(np.mean(found, axis=0) - wanted) < error).all()
    assert np.isnan(components(np.zeros((3, 1, 4))).order)
