import io

import numpy as np
import pytest
import torch
from PIL import Image
from tables import encoded, noise

from holdfast.data.images import decode


@pytest.mark.parametrize("format", ["PNG", "WEBP"])
def test_colour_comes_back_bit_for_bit(format):
    pixels = noise(5, 6, 7, 3)
    found = decode([encoded(p, format) for p in pixels], "here")
    assert torch.equal(found, torch.from_numpy(pixels).permute(0, 3, 1, 2))
    assert found.is_contiguous()


def test_grey_has_one_channel():
    pixels = noise(5, 6, 7)
    found = decode([encoded(p) for p in pixels], "here")
    assert torch.equal(found[:, 0], torch.from_numpy(pixels))


@pytest.mark.parametrize("grey_first", [True, False])
def test_grey_among_colour_becomes_colour(grey_first):
    grey, colour = noise(1, 4, 4)[0], noise(1, 4, 4, 3)[0]
    pair = [grey, colour] if grey_first else [colour, grey]
    found = decode([encoded(p) for p in pair], "here")
    assert found.shape == (2, 3, 4, 4)
    assert torch.equal(found[0 if grey_first else 1], torch.from_numpy(grey).expand(3, 4, 4))


@pytest.mark.parametrize(
    ("mode", "channels"), [("1", 1), ("LA", 1), ("P", 3), ("RGBA", 3), ("CMYK", 3)]
)
def test_other_modes(mode, channels):
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4), (255, 255, 255)).convert(mode).save(
        buffer, format="TIFF" if mode == "CMYK" else "PNG"
    )
    found = decode([buffer.getvalue()], "here")
    assert found.shape == (1, channels, 4, 4)
    assert int(found.min()) == 255


def test_reduction_averages_areas_and_inversion_brightens_ink():
    pixels = noise(3, 8, 8, 3)
    pixels[..., 1:] = pixels[..., :1]
    found = decode([encoded(p) for p in pixels], "here", edge=4, invert=True)
    means = pixels[..., 0].reshape(3, 4, 2, 4, 2).mean(axis=(2, 4))
    assert found.shape == (3, 1, 4, 4)
    np.testing.assert_allclose(found[:, 0].numpy(), 255 - means, atol=1.01)


def sixteen_bit() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((4, 4), np.uint16)).save(buffer, format="PNG")
    return buffer.getvalue()


GOOD = encoded(noise(1, 4, 4)[0])


@pytest.mark.parametrize(
    ("rows", "match"),
    [
        ([], "here holds no images"),
        ([GOOD, None], "row 1 of here is empty"),
        ([GOOD, b"no image"], "row 1 of here is no readable image"),
        ([GOOD, GOOD[:60]], "row 1 of here is no readable image"),
        ([GOOD, encoded(noise(1, 4, 5)[0])], "row 1 of here is 4 x 5 pixels, row 0 is 4 x 4"),
        ([sixteen_bit()], "8 bits a channel"),
    ],
)
def test_refuses(rows, match):
    with pytest.raises(ValueError, match=match):
        decode(rows, "here")
