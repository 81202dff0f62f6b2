"""Normalisations by name are those that pretrained nets know."""

import pytest
import torch

from holdfast.config import make_part
from holdfast.data import Dataset, Normalize, Split, digits, normalized


def images(dtype: torch.dtype = torch.uint8, channels: int = 3) -> Dataset:
    draws = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (6, channels, 4, 4), generator=draws, dtype=torch.uint8)
    if dtype != torch.uint8:
        x = x.to(dtype) / 255
    split = Split(x, torch.arange(6) % 2)
    return Dataset(split, split, normalize=Normalize((1.0,), (2.0,)))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_imagenet_is_that_of_images_from_0_to_1(dtype: torch.dtype) -> None:
    found = normalized(images(dtype), "imagenet")
    assert found.normalize is not None
    x = images().train.x.double() / 255
    mean = torch.tensor([0.485, 0.456, 0.406]).double().view(3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).double().view(3, 1, 1)
    wanted = ((x - mean) / std).float()
    assert torch.allclose(found.normalize(found.train.x), wanted, atol=1e-5)


def test_the_others() -> None:
    data = images()
    assert normalized(data, "auto") is data
    assert normalized(data, "none").normalize is None
    own = Normalize((3.0,), (4.0,))
    assert normalized(data, own).normalize == own


def test_refused() -> None:
    with pytest.raises(ValueError, match=r"images \(3, height, width\); 'digits' holds"):
        normalized(digits(), "imagenet")
    wide = images(torch.float32)
    wide = Dataset(Split(2 * wide.train.x, wide.train.y), wide.test)
    with pytest.raises(ValueError, match="uint8 images or floats from 0 to 1"):
        normalized(wide, "imagenet")


def test_in_a_configuration() -> None:
    assert make_part("dataset", {"name": "digits", "normalize": "none"}).normalize is None
    assert make_part("dataset", "digits").normalize == digits().normalize
    with pytest.raises(ValueError, match="holds samples of shape"):
        make_part("dataset", {"name": "digits", "normalize": "imagenet"})
    with pytest.raises(ValueError, match=r"normalize must be one of 'auto', 'none', 'imagenet'"):
        make_part("dataset", {"name": "digits", "normalize": "imagnet"})
