"""Class means that have moved are told from means that a sample misses."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from scipy.stats import f
from torch import Tensor

from holdfast.starts.drift import LEVEL, movement, without_drifted
from holdfast.starts.statistics import FeatureStatistics

WIDTH = 6
CENTRES = 4 * torch.randn(8, WIDTH, generator=torch.Generator().manual_seed(9)).double()


def samples(classes: Sequence[int], count: int, seed: int, shift: float = 0.0) -> tuple:
    draw = torch.Generator().manual_seed(seed)
    labels = torch.tensor(classes).repeat(count)
    noise = torch.randn(len(labels), WIDTH, generator=draw).double()
    # Classes of different size and shape.
    noise = noise * (1 + labels.unsqueeze(1) % 3) * torch.linspace(0.2, 2, WIDTH)
    return CENTRES[labels] + noise + shift, labels


def gathered(classes: Sequence[int], count: int, seed: int, **kept: bool) -> FeatureStatistics:
    return FeatureStatistics(WIDTH, **kept).update(*samples(classes, count, seed))


def slow_probability(
    old: tuple[Tensor, Tensor], new: tuple[Tensor, Tensor], classes: list
) -> float:
    """By the formula of the docstring, with matrices."""
    between = traces = squares = shares = 0.0
    for c in classes:
        a, b = (h[y == c].numpy() for h, y in (old, new))
        d = b.mean(0) - a.mean(0)
        m = len(b)
        cov = np.cov(b.T)
        between += d @ d / (1 / m + 1 / len(a))
        traces += np.trace(cov)
        v = m - 1
        square = np.trace(cov @ cov)
        square = v**2 / ((v - 1) * (v + 2)) * (square - np.trace(cov) ** 2 / v)
        square = min(np.trace(cov) ** 2, max(square, np.trace(cov) ** 2 / WIDTH))
        squares += square
        shares += square / v
    return float(f.sf(between / traces, traces**2 / squares, traces**2 / shares))


@pytest.mark.parametrize("shift", [0.0, 3.0])
@pytest.mark.parametrize("count", [4, 30])
def test_the_test_is_the_one_stated(shift: float, count: int) -> None:
    classes = [0, 1, 2, 3]
    old, new = samples(classes, 20, 0), samples(classes, count, 1, shift)
    found = movement(FeatureStatistics(WIDTH).update(*old), *new, classes)
    assert found is not None
    assert found.classes == 4
    assert found.probability == pytest.approx(slow_probability(old, new, classes), rel=1e-5)
    if shift and count == 30:
        assert found.moved
        assert 0.1 < found.distance < 2


def test_samples_of_the_same_features_rarely_seem_moved() -> None:
    classes = [0, 1, 2, 3, 4]
    found = [
        movement(gathered(classes, 20, 2 * seed), *samples(classes, 4, 2 * seed + 1), classes)
        for seed in range(200)
    ]
    values = torch.tensor([one.probability for one in found if one is not None])
    assert len(values) == 200
    # 200 draws at 5 %: 10 expected, with deviation 3.
    assert int((values < 0.05).sum()) <= 20
    assert values.min() > LEVEL


def test_float16_features_of_the_same_samples_have_not_moved() -> None:
    features, labels = samples([0, 1, 2], 10, 0)
    seen = FeatureStatistics(WIDTH).update(features, labels)
    found = movement(seen, features.half(), labels, [0, 1, 2])
    assert found is not None
    assert found.probability > 0.99


def test_classes_of_one_sample_cannot_be_compared() -> None:
    seen = gathered([0, 1], 10, 0)
    assert movement(seen, *samples([0, 1], 1, 1), [0, 1]) is None
    assert movement(seen, *samples([5], 9, 1), [5]) is None
    trusted, notes = without_drifted(seen, samples([0], 1, 1), [0], [1])
    assert trusted is seen
    assert "no old class has two samples" in notes[0]


def test_still_statistics_are_kept() -> None:
    seen = gathered([0, 1, 2, 3], 40, 0)
    trusted, notes = without_drifted(seen, samples([0, 1], 9, 1), [0, 1], [2, 3])
    assert trusted is seen
    assert notes == []


def test_moved_old_classes_are_replaced_by_the_sample() -> None:
    seen = gathered([0, 1, 2, 3], 40, 0, per_class=True)
    features, labels = samples([0, 1], 9, 1, shift=5.0)
    trusted, notes = without_drifted(seen, (features, labels), [0, 1], [2, 3])
    assert trusted is not None
    means = dict(zip(trusted.classes, trusted.means, strict=True))
    torch.testing.assert_close(means[0], features[labels == 0].mean(0))
    torch.testing.assert_close(means[3], seen.means[seen.classes.index(3)])
    assert trusted.total == 2 * 40 + 2 * 9
    assert "the means of 2 old classes moved by" in notes[0]
    assert "count by the 18 samples given; collect again" in notes[0]


def test_statistics_that_cannot_be_told_apart_are_given_up() -> None:
    old = samples([0, 1], 9, 1, shift=5.0)
    pooled = gathered([0, 1, 2, 3], 40, 0)
    trusted, notes = without_drifted(pooled, old, [0, 1], [2, 3])
    assert trusted is None
    assert "cannot be told apart; collect again" in notes[0]
    settled = gathered([0, 1, 2, 3], 40, 0, per_class=True)
    settled.settle()
    assert without_drifted(settled, old, [0, 1], [2, 3])[0] is None


def test_a_sample_of_all_classes_stands_in_for_the_statistics() -> None:
    pooled = gathered([0, 1, 2, 3], 40, 0)
    moved = samples([0, 1, 2, 3], 9, 1, shift=5.0)
    trusted, notes = without_drifted(pooled, moved, [0, 1], [2, 3])
    assert trusted is not None
    assert trusted.total == 36
    assert "old classes moved" in notes[0]
    assert "new classes moved" in notes[0]
    assert "only the 36 samples given count" in notes[0]
