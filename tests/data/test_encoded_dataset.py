from typing import Any

import pytest
import torch
from torch import Tensor, nn

from holdfast.data import Dataset, FeatureEncoder, Normalize, digits, encode_dataset
from holdfast.data.split import Split


def dataset(normalize: Normalize | None = None) -> Dataset:
    draws = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (30, 1, 4, 4), generator=draws).to(torch.uint8)
    y = torch.arange(30) % 3
    return Dataset(
        Split(x[:20], y[:20]), Split(x[20:26], y[20:26]), Split(x[26:], y[26:]),
        class_names=("a", "b", "c"), groups=(0, 0, 1), group_names=("g", "h"),
        normalize=normalize, name="small",
    )  # fmt: skip


class Net(nn.Module):
    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        draws = torch.Generator().manual_seed(seed)
        self.weight = nn.Parameter(torch.randn(16, 5, generator=draws))
        self.drop = nn.Dropout(0.5)
        self.rows = 0

    def forward(self, x: Tensor) -> Tensor:
        assert x.dtype == torch.float32
        self.rows += len(x)
        return self.drop(x.flatten(1)) @ self.weight


class Fixed(Net):
    """Counts where it is no setting of the layer."""

    def forward(self, x: Tensor) -> Tensor:
        SEEN.append(len(x))
        return self.drop(x.flatten(1)) @ self.weight


SEEN: list[int] = []


@pytest.fixture(autouse=True)
def nothing_seen() -> None:
    SEEN.clear()


def test_features_take_the_place_of_samples_and_all_else_stays() -> None:
    data, net = dataset(Normalize((100.0,), (50.0,))), Net().train()
    made = encode_dataset(data, net, batch_size=7)
    assert net.training
    for name in ("train", "test", "validation"):
        old, new = getattr(data, name), getattr(made, name)
        assert torch.equal(new.y, old.y)
        expected = ((old.x.float() - 100) / 50).flatten(1) @ net.weight.detach()
        torch.testing.assert_close(new.x, expected)
        assert not new.x.requires_grad
    kept = ("class_names", "groups", "group_names", "name")
    assert all(getattr(made, k) == getattr(data, k) for k in kept)
    assert made.normalize is None
    assert net.rows == 30


def test_each_sample_is_seen_once() -> None:
    data = dataset(Normalize((0.0,), (255.0,)))
    first = encode_dataset(data, Fixed())
    assert sum(SEEN) == 30
    again = encode_dataset(data, Fixed().eval())
    assert sum(SEEN) == 30
    assert torch.equal(first.train.x, again.train.x)


@pytest.mark.parametrize(
    "change",
    [
        lambda d: encode_dataset(d, Fixed(seed=1)),
        lambda d: encode_dataset(d, Fixed(), batch_size=3),
        lambda d: encode_dataset(d, Fixed(), unit_length=True),
        lambda d: encode_dataset(d, Fixed(), precision="float16"),
        lambda d: encode_dataset(d, Fixed(), cache=False),
        lambda d: encode_dataset(dataset(Normalize((1.0,), (255.0,))), Fixed()),
    ],
)
def test_what_differs_is_encoded_anew(change: Any) -> None:
    data = dataset(Normalize((0.0,), (255.0,)))
    encode_dataset(data, Fixed())
    SEEN.clear()
    change(data)
    assert sum(SEEN) == 30


def test_half_precision_becomes_floats_in_batches() -> None:
    data = dataset(Normalize((0.0,), (255.0,)))
    full = encode_dataset(data, Net(), unit_length=True)
    half = encode_dataset(data, Net(), unit_length=True, precision="float16")
    assert half.train.x.dtype == torch.float16
    assert half.normalize is not None
    batch = half.normalize(half.train.x)
    assert batch.dtype == torch.float32
    torch.testing.assert_close(batch, full.train.x, rtol=0, atol=1e-3)
    torch.testing.assert_close(full.train.x.norm(dim=1), torch.ones(20))


def test_options_come_before_those_of_the_encoder() -> None:
    def flat(samples: Tensor) -> Tensor:
        SEEN.append(len(samples))
        return samples.flatten(1).float()

    encoder = FeatureEncoder(flat, batch_size=10, unit_length=True, cache=False)
    made = encode_dataset(dataset(), encoder, batch_size=20)
    assert SEEN == [20, 6, 4]
    torch.testing.assert_close(made.train.x.norm(dim=1), torch.ones(20))
    assert torch.equal(encode_dataset(dataset(), flat, cache=False).test.x, flat(dataset().test.x))


def test_a_module_comes_back_from_the_device_it_encodes_on() -> None:
    net = Net()
    moved: list[Any] = []
    to = net.to
    net.to = lambda device: moved.append(str(device)) or to(device)  # type: ignore[method-assign,assignment,func-returns-value]
    encode_dataset(dataset(Normalize((0.0,), (1.0,))), net, device="cpu", cache=False)
    assert moved == ["cpu", "cpu"]


class Whole(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone, self.heads = nn.Flatten(), nn.Linear(16, 2)


class PerTask(nn.Flatten):
    per_task = True


@pytest.mark.parametrize(
    ("encoder", "options", "error", "message"),
    [
        (Whole(), {}, TypeError, "encoder is a Whole, which gives logits; give its backbone"),
        (PerTask(), {}, TypeError, "PerTask that computes another function for each task"),
        (lambda x: x, {}, TypeError, r"function has no method identity\(\)"),
        (lambda x: x, {"cache": False, "device": "cpu"}, ValueError, "device='cpu' is for modules"),
        (nn.Identity(), {"batch_size": 0}, ValueError, "batch_size must be a positive integer"),
        (nn.Identity(), {}, TypeError, "must return a tensor of floats, got torch.uint8"),
        (FeatureEncoder(len, "sentences", cache=False), {}, TypeError, "encoder takes sentences"),
    ],
)
def test_refusals(
    encoder: Any, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        encode_dataset(dataset(), encoder, **options)


def test_digits_through_a_module_without_parameters() -> None:
    data = digits()
    made = encode_dataset(data, nn.Flatten())
    assert made.input_shape == (64,)
    assert data.normalize is not None
    assert torch.equal(made.train.x, data.normalize(data.train.x).flatten(1))
