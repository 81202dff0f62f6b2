import numpy as np
import pytest
import torch

from holdfast.data import Normalize


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.int64])
@pytest.mark.parametrize("shape", [(50, 3, 4, 5), (50, 1, 8, 8), (50, 7)], ids=str)
def test_matches_the_definition(dtype, shape):
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, shape, generator=generator).to(dtype)
    found = Normalize.of(x)
    wide = x.numpy().astype(np.float64)
    axes = (0, *range(2, wide.ndim)) if wide.ndim > 2 else None
    np.testing.assert_allclose(found.mean, np.atleast_1d(wide.mean(axis=axes)), rtol=1e-12)
    np.testing.assert_allclose(found.std, np.atleast_1d(wide.std(axis=axes)), rtol=1e-12)
    z = found(x)
    assert z.dtype == torch.float32
    expected = (wide - wide.mean(axes, keepdims=True)) / wide.std(axes, keepdims=True)
    np.testing.assert_allclose(z.numpy(), expected, atol=1e-5)


def test_one_value_for_all_channels():
    x = torch.stack([torch.zeros(4, 2, 2), torch.full((4, 2, 2), 2.0)], dim=1)
    assert Normalize.of(x, per_channel=False) == Normalize((1.0,), (1.0,))


def test_a_constant_channel_keeps_its_scale():
    found = Normalize.of(torch.full((3, 1, 2, 2), 7, dtype=torch.uint8))
    assert found == Normalize((7.0,), (1.0,))


def test_leaves_its_input_alone():
    x = torch.ones(2, 3)
    Normalize((1.0,), (2.0,))(x)
    assert torch.equal(x, torch.ones(2, 3))


@pytest.mark.parametrize(
    ("mean", "std", "match"),
    [
        ((1.0,), (1.0, 2.0), "match in length"),
        ((), (), "match in length"),
        ((0.0,), (0.0,), "positive"),
    ],
)
def test_refuses(mean, std, match):
    with pytest.raises(ValueError, match=match):
        Normalize(mean, std)


def test_refuses_nothing():
    with pytest.raises(ValueError, match="it has no mean"):
        Normalize.of(torch.zeros(0, 3))
