import sys

import datasets
import pytest
import torch
from tables import image_column, noise, write

from holdfast.data import Dataset, hub, images


@pytest.fixture
def served(monkeypatch, tmp_path):
    """Stands in for the hub: what the path asked for holds, and what was asked."""
    asked = []

    def serve(names=None, **splits):
        write(tmp_path / "hub", names, **splits)
        files = {s: str(tmp_path / "hub" / f"{s}.parquet") for s in splits}
        parquet = datasets.load_dataset

        def load_dataset(path, config=None):
            asked.append((path, config))
            return parquet("parquet", data_files=files, cache_dir=str(tmp_path / "hf"))

        monkeypatch.setattr(datasets, "load_dataset", load_dataset)
        monkeypatch.setattr(hub, "_reachable", lambda endpoint: True)
        datasets.disable_progress_bars()
        return asked

    return serve


def test_images_by_known_name(served, monkeypatch):
    pixels = noise(4, 4, 5, 3)
    columns = {"img": image_column(pixels), "label": [1, 0, 1, 0]}
    asked = served(names={"label": ["cat", "dog"]}, train=columns, test=columns)
    data = Dataset.from_hub("cifar10")
    assert asked == [("uoft-cs/cifar10", None)]
    assert torch.equal(data.train.x, torch.from_numpy(pixels).permute(0, 3, 1, 2))
    assert data.train.y.tolist() == [1, 0, 1, 0]
    assert data.name == "cifar10"
    monkeypatch.setattr(images, "decode", None)
    assert torch.equal(Dataset.from_hub("cifar10").train.x, data.train.x)


def test_tiny_imagenet_is_tested_on_its_labelled_split(served):
    columns = [{"image": image_column(noise(n, 64, 64, 3)), "label": [0, 1] * n} for n in (4, 2)]
    files = [{**c, "label": c["label"][: len(c["image"])]} for c in columns]
    asked = served(train=files[0], valid=files[1])
    data = Dataset.from_hub("tiny_imagenet")
    assert asked == [("zh-plus/tiny-imagenet", None)]
    assert (len(data.train), len(data.test), data.validation) == (4, 2, None)
    assert data.input_shape == (3, 64, 64)


def test_text_in_the_order_of_names(served):
    columns = {"text": ["a b c", "d e f", "g h i"], "intent": ["yes", "oos", "apr"]}
    asked = served(train=columns, test=columns, validation=columns)
    data = Dataset.from_hub("clinc150", encode=lambda texts: torch.eye(len(texts)))
    assert asked == [("clinc/clinc_oos", "plus")]
    assert data.class_names == ("apr", "yes")
    assert data.train.y.tolist() == [1, 0]
    assert data.validation is not None


def test_omniglot_counts_drawings_shrinks_and_inverts(served):
    """Dark ink on a bright square of 105 pixels, three channels, no number of the drawing."""

    def file(labels):
        pixels = noise(len(labels), 105, 105, 3) // 255 * 0 + 255
        for image, label in zip(pixels, labels, strict=True):
            image[: 15 * (label + 1)] = 0
        return {
            "image": image_column(pixels),
            "label": labels,
            "alphabet": [v // 2 for v in labels],
        }

    asked = served(train=file([0, 3] * 20), test=file([1] * 20))
    data = Dataset.from_hub("omniglot")
    assert asked == [("dpdl-benchmark/omniglot", None)]
    assert data.input_shape == (1, 28, 28)
    assert data.class_names == ("0", "3", "1")
    assert torch.bincount(data.train.y).tolist() == [15, 15, 15]
    assert torch.bincount(data.test.y).tolist() == [5, 5, 5]
    assert data.groups == (0, 1, 0)
    inked = data.test.x.float().mean(dim=(1, 2, 3)) / 255 * 7
    expected = torch.tensor([1.0, 4.0, 2.0])[data.test.y]
    torch.testing.assert_close(inked, expected, atol=0.05, rtol=0)


def test_any_path_with_own_columns(served):
    columns = {"sentence": ["a b", "c d"], "kind": ["x", "y"]}
    asked = served(train=columns, test=columns)
    data = Dataset.from_hub("someone/something", config="small", y="kind")
    assert asked == [("someone/something", "small")]
    assert data.class_names == ("x", "y")


def test_a_split_is_missing(served):
    served(train={"text": ["a b"], "label": [0]})
    with pytest.raises(ValueError, match=r"has no split \['test'\]; it has \['train'\]"):
        Dataset.from_hub("someone/something")


@pytest.mark.parametrize(
    ("name", "match"),
    [("notmnist", "no agreed place on the hub"), ("minst", "must be 'owner/dataset' or one of")],
)
def test_names(name, match):
    with pytest.raises(ValueError, match=match):
        Dataset.from_hub(name)


def test_offline_is_told_at_once(monkeypatch, tmp_path):
    monkeypatch.setattr(hub, "_reachable", lambda endpoint: False)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    monkeypatch.setattr(datasets, "load_dataset", None)
    with pytest.raises(
        ConnectionError, match=r"ylecun/mnist is not in .* and .* cannot be reached"
    ):
        Dataset.from_hub("mnist")


def test_what_the_client_says_is_passed_on(monkeypatch):
    def load_dataset(path, config=None):
        raise RuntimeError("the server is on fire")

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    monkeypatch.setattr(hub, "_reachable", lambda endpoint: True)
    with pytest.raises(
        ConnectionError, match=r"mnist could not be loaded from .*: the server is on fire"
    ):
        Dataset.from_hub("mnist")


def test_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ImportError, match=r'pip install "holdfast\[data\]"'):
        Dataset.from_hub("mnist")


def test_reachable(monkeypatch):
    def nobody(*_args):
        raise OSError("no such host")

    monkeypatch.setattr(hub.socket, "getaddrinfo", nobody)
    monkeypatch.setattr(hub, "getproxies", dict)
    assert not hub._reachable("https://hub.example")
    monkeypatch.setattr(hub, "getproxies", lambda: {"https": "http://proxy.example"})
    assert hub._reachable("https://hub.example")
    monkeypatch.setattr(hub, "getproxies", dict)
    monkeypatch.setattr(hub.socket, "getaddrinfo", lambda *_args: [])
    assert hub._reachable("https://hub.example")
