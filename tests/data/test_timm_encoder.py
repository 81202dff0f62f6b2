"""timm is not installed where these tests are made: a module stands in for what is used of it."""

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from holdfast.data import timm_encoder
from holdfast.data.timm_encoder import Preparation

CONFIG = {
    "input_size": (3, 8, 8), "interpolation": "bicubic", "crop_pct": 1.0, "crop_mode": "center",
    "mean": (0.4, 0.5, 0.6), "std": (0.2, 0.3, 0.4),
}  # fmt: skip


class Net(nn.Module):
    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.convolution = nn.Conv2d(3, 4, 3)
        self.drop = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        return self.drop(self.convolution(x)).mean((2, 3))


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    made: list[Any] = []

    def create_model(name: str, pretrained: bool, num_classes: int) -> Net:
        if name == "unknown":
            raise RuntimeError("Unknown model (unknown)")
        made.append((name, pretrained, num_classes))
        torch.manual_seed(0)
        return Net(num_classes)

    timm: Any = ModuleType("timm")
    timm.create_model = create_model
    timm.data = SimpleNamespace(resolve_model_data_config=lambda model: dict(CONFIG))
    monkeypatch.setitem(sys.modules, "timm", timm)
    return made


@pytest.fixture
def images() -> Tensor:
    draws = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (5, 3, 8, 8), generator=draws).to(torch.uint8)


def standardised(images: Tensor) -> Tensor:
    mean, std = (torch.tensor(CONFIG[k]).view(1, 3, 1, 1) for k in ("mean", "std"))
    return (images / 255 - mean) / std


def test_features_are_those_of_the_model_without_classifier(
    calls: list[Any], images: Tensor
) -> None:
    torch.manual_seed(0)
    net = Net(0).train()
    with torch.no_grad():
        expected = net.convolution(standardised(images)).mean((2, 3))
    features = timm_encoder("net.any", "cpu", batch_size=2)(images)
    assert calls == [("net.any", True, 0)]
    torch.testing.assert_close(features, expected)
    torch.testing.assert_close(timm_encoder(net)(images), expected)
    assert net.training


def test_other_weights_are_another_encoder(calls: list[Any], images: Tensor) -> None:
    net = Net(0)
    before = timm_encoder(net)(images)
    nn.init.zeros_(net.convolution.weight)
    assert not torch.allclose(timm_encoder(net)(images), before)


@pytest.mark.parametrize(
    ("height", "width", "crop", "mode"),
    [
        (8, 8, 1.0, "center"),
        (16, 20, 0.875, "center"),
        (5, 9, 0.8, "center"),
        (9, 5, 1.0, "squash"),
    ],
)
def test_preparation_agrees_with_pillow(height: int, width: int, crop: float, mode: str) -> None:
    image_module = pytest.importorskip("PIL.Image")
    prepare = Preparation((8, 8), (0.0,) * 3, (1.0,) * 3, "bicubic", crop, mode)
    # smooth images: Pillow rounds after each of its two passes
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    image = torch.stack([rows * 9, columns * 9, rows * columns]).to(torch.uint8)
    made = prepare(image[None], torch.device("cpu"))[0]
    edge = int(8 / crop)
    short = min(height, width)
    size = (edge, edge) if mode == "squash" else (edge * width // short, edge * height // short)
    pillow = image_module.fromarray(image.permute(1, 2, 0).numpy())
    pillow = pillow.resize(size, image_module.Resampling.BICUBIC)
    left, top = ((side - 8 + 1) // 2 for side in size)
    expected = np.asarray(pillow.crop((left, top, left + 8, top + 8)))
    assert made.shape == (3, 8, 8)
    difference = made * 255 - torch.tensor(expected).permute(2, 0, 1)
    assert difference.abs().max() <= 1.5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"interpolation": "hamming"}, "interpolation must be 'bilinear' or 'bicubic', got 'ham"),
        ({"crop_mode": "border"}, "crop_mode must be 'center' or 'squash', got 'border'"),
    ],
)
def test_preparations_that_are_not_known(change: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Preparation.of(CONFIG | change)


def test_refusals(calls: list[Any], images: Tensor) -> None:
    with pytest.raises(ValueError, match="timm cannot make the model 'unknown': Unknown model"):
        timm_encoder("unknown")
    with pytest.raises(ValueError, match="made with num_classes=0; it has 7 classes"):
        timm_encoder(Net(7))
    with pytest.raises(ValueError, match="takes uint8 images"):
        timm_encoder("net")(images.float())


def test_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ImportError, match=r'pip install "holdfast\[vision\]"'):
        timm_encoder("resnet18")
