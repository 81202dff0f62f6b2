import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from holdfast.data.normalize import Normalize
from holdfast.data.split import Dataset, Split
from holdfast.streams import Fit, chained


def images(name: str, channels: int, height: int, width: int, classes: int = 2) -> Dataset:
    x = torch.full((2 * classes, channels, height, width), 6, dtype=torch.uint8)
    part = Split(x, torch.arange(2 * classes) % classes)
    return Dataset(part, part, name=name, normalize=Normalize((2.0,), (4.0,)))


@given(height=st.integers(1, 6), width=st.integers(1, 6), more=st.tuples(*[st.integers(0, 5)] * 2))
def test_fit_centres_and_repeats(height, width, more) -> None:
    x = torch.rand(2, 1, height, width) + 1
    fitted = Fit(3, height + more[0], width + more[1])(x)
    assert fitted.shape == (2, 3, height + more[0], width + more[1])
    top, left = more[0] // 2, more[1] // 2
    inner = fitted[:, :, top : top + height, left : left + width]
    assert torch.equal(inner, x.expand(-1, 3, -1, -1))
    assert int((fitted != 0).sum()) == 3 * x.numel()


def test_images_are_matched_and_labels_made_unique() -> None:
    stream = chained([images("a", 1, 2, 4), images("b", 3, 4, 2, 3), images("c", 1, 4, 4)])
    assert [t.name for t in stream] == ["a", "b", "c"]
    assert [t.classes for t in stream] == [(0, 1), (2, 3, 4), (5, 6)]
    assert stream[1].train.classes == stream[1].test.classes == (2, 3, 4)
    assert stream.input_shape == (3, 4, 4)
    seen = stream[0].inputs(stream[0].test.x)
    assert seen[0, :, 0].unique().tolist() == [
        -0.5
    ]  # the border is raw 0, normalised with the rest
    assert seen[0, :, 1:3].unique().tolist() == [1.0]


def test_domain_incremental_keeps_labels() -> None:
    stream = chained([images("a", 1, 2, 2), images("b", 1, 3, 3)], "domain_incremental")
    assert [t.classes for t in stream] == [(0, 1), (0, 1)]
    with pytest.raises(ValueError, match="keeps its classes"):
        chained([images("a", 1, 2, 2), images("b", 1, 3, 3, 3)], "domain_incremental")


def test_samples_of_one_shape_are_left_alone(make_dataset) -> None:
    one, two = make_dataset((4, 4), name="a"), make_dataset((4, 4), name="b")
    stream = chained([one, two], "class_incremental", validation=0.5)
    assert torch.equal(stream[0].inputs(one.train.x), one.train.x)
    assert stream.classes == (0, 1, 2, 3)
    assert [t.validation.classes for t in stream] == [(0, 1), (2, 3)]


def test_regression_targets_are_chained_too() -> None:
    part = Split(torch.rand(3, 2), torch.rand(3, 1))
    stream = chained([Dataset(part, part, name=n) for n in "ab"])
    assert stream.is_regression
    assert stream[1].train is part


def test_refuses(make_dataset) -> None:
    with pytest.raises(ValueError, match="datasets is empty"):
        chained([])
    with pytest.raises(ValueError, match="must have different names, got"):
        chained([make_dataset(), make_dataset()])
    with pytest.raises(ValueError, match=r"only images .* can be matched, got {'a'"):
        chained([make_dataset(name="a"), make_dataset(shape=(3,), name="b")])
    with pytest.raises(ValueError, match="images must have 1 or 3 channels"):
        chained([images("a", 2, 3, 3), images("b", 3, 3, 3)])
