"""Labels drawn at random: which, how many, and that they stay."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from holdfast.data.split import Dataset, Split
from holdfast.streams import growing, noisy_labels, relabelled


@given(n=st.integers(1, 60), k=st.integers(1, 5), fraction=st.floats(0, 1), seed=st.integers(0, 99))
def test_a_share_is_drawn_and_the_rest_stays(n, k, fraction, seed) -> None:
    classes = tuple(range(10, 10 + k))
    y = torch.full((n,), 3)
    noisy = noisy_labels(y, classes, fraction, seed)
    # No drawn label is the one that was: the changed ones are the chosen ones.
    assert int((noisy != 3).sum()) == round(fraction * n)
    assert set(noisy.tolist()) <= {3, *classes}
    assert y.eq(3).all()
    assert torch.equal(noisy, noisy_labels(y, classes, fraction, seed))
    more = noisy_labels(y, classes, min(1.0, fraction + 0.2), seed)
    assert torch.equal(more[noisy != 3], noisy[noisy != 3])


def test_drawn_labels_are_uniform_and_tell_nothing() -> None:
    y = torch.arange(40_000) % 4
    noisy = noisy_labels(y, (0, 1, 2, 3), 0.4)
    assert (noisy != y).double().mean().item() == pytest.approx(0.4 * 3 / 4, abs=0.01)
    assert noisy.bincount().double().div(len(y)).tolist() == pytest.approx([0.25] * 4, abs=0.01)


def test_a_sample_keeps_its_label_at_all_stages(make_dataset) -> None:
    dataset = make_dataset([30] * 4)
    for uniform in (1.0, 0.0):
        stream = growing(dataset, 4, uniform, label_noise=0.3, validation=0.2, seed=5)
        clean = growing(dataset, 4, uniform, validation=0.2, seed=5)
        last = dict(zip(stream[3].train.x[:, 0].tolist(), stream[3].train.y.tolist(), strict=True))
        wrong = 0
        for noisy, right in zip(stream, clean, strict=True):
            assert torch.equal(noisy.train.x, right.train.x)
            assert noisy.test is dataset.test
            assert torch.equal(noisy.validation.y, right.validation.y)
            rows = zip(noisy.train.x[:, 0].tolist(), noisy.train.y.tolist(), strict=True)
            assert all(last[x] == y for x, y in rows)
            wrong = int((noisy.train.y != right.train.y).sum())
        assert 10 < wrong < 29  # of 96, three quarters of 29 on average
        # One stage has the same labels as several.
        one = growing(dataset, 1, uniform, label_noise=0.3, validation=0.2, seed=5)[0].train
        assert dict(zip(one.x[:, 0].tolist(), one.y.tolist(), strict=True)) == last


def test_new_labels_for_the_same_images(make_dataset) -> None:
    dataset = make_dataset([50] * 4)
    stream = relabelled(dataset, tasks=3, seed=1)
    assert [task.name for task in stream] == ["labels 1", "labels 2", "labels 3"]
    for task in stream:
        assert task.train is task.test
        assert task.train.x is dataset.train.x
        assert task.classes == dataset.classes
        # Agreement with the labels there were, and with those of another task, is chance.
        for other in (dataset.train.y, stream[0].train.y if task is not stream[0] else None):
            if other is not None:
                assert 0.12 < (task.train.y == other).double().mean().item() < 0.38
    again = relabelled(dataset, tasks=2, seed=1)
    assert torch.equal(again[1].train.y, stream[1].train.y)


def test_refuses(make_dataset) -> None:
    with pytest.raises(ValueError, match=r"label_noise must be a fraction in \[0, 1\], got 1.5"):
        growing(make_dataset(), label_noise=1.5)
    with pytest.raises(ValueError, match="tasks must be a positive integer, got 0"):
        relabelled(make_dataset(), 0)
    part = Split(torch.arange(10.0)[:, None], torch.rand(10, 1))
    targets = Dataset(part, part)
    with pytest.raises(ValueError, match="label_noise must be 0 for regression targets"):
        growing(targets, label_noise=0.1)
    with pytest.raises(ValueError, match="relabelled needs class labels"):
        relabelled(targets)
