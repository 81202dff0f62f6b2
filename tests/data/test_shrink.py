"""Shrinking images: the mean of squares, and all else as it was."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.config import build, make_part
from holdfast.data import Dataset, Normalize, Split, digits, shrink, shrunk

Image = np.ndarray[Any, np.dtype[Any]]


def naive(images: Image, factor: int) -> Image:
    """One pixel at a time; of integers exactly, ties to even."""
    n, channels, height, width = images.shape
    out = np.empty((n, channels, height // factor, width // factor), images.dtype)
    for i, c, row, column in np.ndindex(*out.shape):
        square = images[
            i, c, row * factor : (row + 1) * factor, column * factor : (column + 1) * factor
        ]
        if images.dtype == np.uint8:
            whole, left = divmod(int(square.astype(np.int64).sum()), factor**2)
            up = 2 * left > factor**2 or (2 * left == factor**2 and whole % 2 == 1)
            out[i, c, row, column] = whole + up
        else:
            out[i, c, row, column] = square.mean()
    return out


def images(count: int = 6, shape: tuple[int, ...] = (3, 4, 8), seed: int = 0) -> torch.Tensor:
    draws = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, *shape), dtype=torch.uint8, generator=draws)


def labelled(x: torch.Tensor) -> Split:
    return Split(x, torch.arange(len(x)) % 3)


def dataset(**options: Any) -> Dataset:
    given = {"train": labelled(images()), "test": labelled(images(4, seed=1)), **options}
    return Dataset(**given)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 7), st.integers(1, 2), st.integers(1, 3), st.integers(1, 3), st.integers(0, 99)
)
def test_bytes_are_the_exact_means_rounded(
    factor: int, channels: int, rows: int, columns: int, seed: int
) -> None:
    x = images(3, (channels, rows * factor, columns * factor), seed)
    small = shrunk(dataset(train=labelled(x), test=labelled(x)), factor)
    assert small.train.x.dtype == torch.uint8
    assert np.array_equal(small.train.x.numpy(), naive(x.numpy(), factor))


@pytest.mark.parametrize("factor", [2, 4, 6, 10])
def test_ties_go_to_the_even_level(factor: int) -> None:
    half = factor**2 // 2
    x = torch.empty(2, 1, 1, factor**2, dtype=torch.uint8)
    for row, level in zip(x, (6, 253), strict=True):
        row.fill_(level)[..., :half] += 1
    x = x.view(2, 1, factor, factor)
    assert shrunk(
        dataset(train=labelled(x), test=labelled(x)), factor
    ).train.x.flatten().tolist() == [6, 254]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_floats_are_the_means(dtype: torch.dtype) -> None:
    x = torch.randn(5, 2, 6, 9, dtype=dtype)
    small = shrunk(dataset(train=labelled(x), test=labelled(x)), 3).train.x
    torch.testing.assert_close(small, torch.from_numpy(naive(x.numpy(), 3)))


def test_parts_of_the_images_at_a_time_make_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = shrunk(dataset(), 2)
    for pixels in (1, 200, 400):
        monkeypatch.setattr(shrink, "_AT_ONCE", pixels)
        assert torch.equal(shrunk(dataset(), 2).train.x, whole.train.x)


def test_all_but_the_images_stays() -> None:
    data = dataset(
        validation=labelled(images(3, seed=2)),
        class_names=("a", "b", "c"),
        groups=(0, 0, 1),
        group_names=("g", "h"),
        name="mine",
    )
    before = data.train.x.clone()
    small = shrunk(data, 2)
    assert (small.class_names, small.groups, small.group_names, small.name, small.normalize) == (
        data.class_names, data.groups, data.group_names, "mine", None,
    )  # fmt: skip
    for name in ("train", "test", "validation"):
        old, new = getattr(data, name), getattr(small, name)
        assert torch.equal(new.y, old.y)
        assert np.array_equal(new.x.numpy(), naive(old.x.numpy(), 2))
    assert torch.equal(data.train.x, before)
    assert shrunk(data, 1) is data


def test_targets_are_kept() -> None:
    split = Split(images(4), torch.rand(4, 2))
    assert torch.equal(shrunk(Dataset(split, split), 4).train.y, split.y)


def test_the_normalisation_is_that_of_the_smaller_images() -> None:
    data = dataset()
    x = shrunk(data, 2).train.x
    for old, new in (
        (Normalize.of(data.train.x), Normalize.of(x)),
        (Normalize.of(data.train.x, per_channel=False), Normalize.of(x, per_channel=False)),
        (None, None),
    ):
        assert shrunk(dataset(normalize=old), 2).normalize == new
    own = Normalize((127.5,), (127.5,))
    for chosen in (own, None):
        given = dataset(normalize=Normalize.of(data.train.x))
        assert shrunk(given, 2, normalize=chosen).normalize == chosen
        assert shrunk(given, 1, normalize=chosen).normalize == chosen
    made = shrunk(dataset(normalize=Normalize.of(data.train.x)), 2)
    assert made.normalize is not None
    standard = made.normalize(made.train.x)
    torch.testing.assert_close(standard.var(dim=(0, 2, 3), correction=0), torch.ones(3))


@pytest.mark.parametrize(
    ("x", "factor", "match"),
    [
        (images(), 3, r"'mine' holds images of 4 x 8 pixels, .* shrunk by 3; 2, 4 will do"),
        (images(), 8, r"4 x 8 pixels, .* shrunk by 8"),
        (images(shape=(1, 5, 7)), 2, "no factor but 1 will do"),
        (images(), 0, "factor must be positive, got 0"),
        (torch.zeros(6, 8), 2, r"'mine' holds samples of shape \(8,\) and torch.float32.*images"),
        (torch.zeros(6, 8, 8), 2, r"samples of shape \(8, 8\)"),
        (torch.zeros(6, 1, 8, 8, dtype=torch.int64), 2, r"shape \(1, 8, 8\) and torch.int64"),
    ],
)
def test_refuses(x: torch.Tensor, factor: int, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        shrunk(dataset(train=labelled(x), test=labelled(x), name="mine"), factor)


@pytest.mark.parametrize("factor", [2.0, True, "2"])
def test_refuses_a_factor_that_is_no_integer(factor: Any) -> None:
    with pytest.raises(TypeError, match="factor"):
        shrunk(dataset(), factor)


def test_an_option_of_a_dataset_in_a_configuration() -> None:
    small = make_part("dataset", {"name": "digits", "shrink": 2})
    assert torch.equal(small.train.x, shrunk(digits(), 2).train.x)
    # A part of the samples keeps the normalisation of all, as one of whole images does.
    few = make_part("dataset", {"name": "digits", "shrink": 2, "per_class": 5})
    assert few.normalize == small.normalize
    assert torch.equal(few.train.x, small.subset(per_class=5).train.x)
    split = {"name": "split", "dataset": {"name": "digits", "shrink": 4}}
    assert build({"stream": split, "net": "mlp"}).stream.input_shape == (1, 2, 2)
    with pytest.raises(ValueError, match="'digits' holds images of 8 x 8 pixels"):
        make_part("dataset", {"name": "digits", "shrink": 3})
    with pytest.raises(ValueError, match=r"shrink must be an integer, got 'half'"):
        make_part("dataset", {"name": "digits", "shrink": "half"})
