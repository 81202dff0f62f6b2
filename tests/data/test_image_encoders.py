import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from holdfast.data import image_encoder
from holdfast.data.encoding import FeatureEncoder

transformers = pytest.importorskip("transformers")

PREPARED = {
    "image_processor_type": "ViTImageProcessor",
    "do_resize": True, "size": {"height": 16, "width": 16}, "resample": 2,
    "do_rescale": True, "rescale_factor": 1 / 255,
    "do_normalize": True, "image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.3, 0.4],
}  # fmt: skip


def vit() -> Any:
    return transformers.ViTConfig(
        hidden_size=12, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16,
        image_size=16, patch_size=8,
    )  # fmt: skip


MODELS = {
    "vit": lambda: transformers.ViTModel(vit()),
    "vit_classifier": lambda: transformers.ViTForImageClassification(vit()),
    "convnext": lambda: transformers.ConvNextModel(
        transformers.ConvNextConfig(num_stages=2, hidden_sizes=[6, 12], depths=[1, 1])
    ),
    "resnet": lambda: transformers.ResNetModel(
        transformers.ResNetConfig(
            embedding_size=6, hidden_sizes=[6, 12], depths=[1, 1], layer_type="basic"
        )
    ),
}


def saved(folder: Path, kind: str) -> Any:
    torch.manual_seed(0)
    model = MODELS[kind]().eval()
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PREPARED))
    return model


@pytest.fixture
def images() -> Tensor:
    draws = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (5, 3, 16, 16), generator=draws).to(torch.uint8)


def prepared(images: Tensor) -> Tensor:
    """By hand, for images that are of the asked size already."""
    mean, std = (torch.tensor(PREPARED[k]).view(1, 3, 1, 1) for k in ("image_mean", "image_std"))
    return (images / 255 - mean) / std


@pytest.mark.parametrize("kind", MODELS)
def test_features_are_those_of_the_model(kind: str, tmp_path: Path, images: Tensor) -> None:
    model = saved(tmp_path, kind)
    with torch.no_grad():
        out = getattr(model, "vit", model)(prepared(images))
    states = out.last_hidden_state
    expected = {
        "pooled": None if kind == "vit_classifier" else out.pooler_output.flatten(1),
        "first": states[:, 0] if states.ndim == 3 else None,
        "mean": states.mean(1) if states.ndim == 3 else states.mean((2, 3)),
    }
    # the checkpoint of a classifier holds no pooler: its random one is never taken
    expected["auto"] = expected["pooled" if kind != "vit_classifier" else "first"]
    for output, features in expected.items():
        encode = image_encoder(tmp_path, "cpu", batch_size=2, output=output)  # type: ignore[arg-type]
        if features is None:
            with pytest.raises(ValueError, match=f"output='{output}', but "):
                encode(images)
            continue
        torch.testing.assert_close(encode(images), features, rtol=1e-4, atol=1e-5)
        assert torch.equal(image_encoder(tmp_path, "cpu", 2, output=output)(images), encode(images))  # type: ignore[arg-type]


def test_images_of_other_sizes_and_grey_ones(tmp_path: Path, images: Tensor) -> None:
    saved(tmp_path, "resnet")
    encode = image_encoder(tmp_path, "cpu")
    assert encode(images[:, :, :9, :12]).shape == (5, 12)
    grey = images[:, :1]
    assert torch.equal(encode(grey), encode(grey.expand(-1, 3, -1, -1).clone()))


@pytest.mark.parametrize(
    "wrong", [torch.zeros(2, 3, 4, 4), torch.zeros(2, 4, 4, 4).byte(), torch.zeros(2, 9).byte()]
)
def test_what_is_no_image_is_refused(wrong: Tensor, tmp_path: Path) -> None:
    saved(tmp_path, "resnet")
    with pytest.raises(ValueError, match="takes uint8 images of 1 or 3 channels"):
        image_encoder(tmp_path, "cpu")(wrong)


def test_weights_that_are_missing_are_named(tmp_path: Path, images: Tensor) -> None:
    from safetensors.torch import load_file, save_file

    saved(tmp_path, "convnext")
    weights = load_file(tmp_path / "model.safetensors")
    del weights["layernorm.weight"]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"lacks weights of ConvNextModel: \['layernorm.weight'\]"):
        image_encoder(tmp_path, "cpu")(images)


def test_folders_that_hold_no_model(tmp_path: Path, images: Tensor) -> None:
    with pytest.raises(ValueError, match=r"no model of transformers: there is no config\.json"):
        image_encoder(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ValueError, match=r"no image processor .* no preprocessor_config\.json"):
        image_encoder(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text("{}")
    with pytest.raises(ValueError, match="holds no model that transformers can read"):
        image_encoder(tmp_path)(images)


def test_what_it_is(tmp_path: Path) -> None:
    saved(tmp_path, "resnet")
    encoder = image_encoder(tmp_path)
    assert isinstance(encoder, FeatureEncoder)
    assert encoder.samples == "images"
    before = encoder.batches.identity()  # type: ignore[attr-defined]
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(PREPARED | {"do_resize": False}))
    assert encoder.batches.identity() != before  # type: ignore[attr-defined]
    assert encoder.batches._read is None  # type: ignore[attr-defined]


def test_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ImportError, match=r'pip install "holdfast\[transformers\]"'):
        image_encoder(tmp_path)
