"""Datasets, packages and devices that are not there."""

import socket
import sys
from collections.abc import Callable
from importlib.abc import MetaPathFinder
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml

import holdfast
from holdfast.data import Dataset
from holdfast.streams import Stream
from holdfast.studies import Study
from holdfast.training.run import run
from refusals import Refused, net, small


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No network, nothing fetched before, and an empty folder for datasets."""

    def unreachable(*address: object, **more: object) -> None:
        raise socket.gaierror("no network")

    kept = tmp_path / "fetched"
    config = SimpleNamespace(HF_ENDPOINT="https://hub.invalid", HF_DATASETS_CACHE=kept)
    monkeypatch.setattr(socket, "getaddrinfo", unreachable)
    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(config=config))
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    folder = tmp_path / "datasets"
    folder.mkdir()
    monkeypatch.setenv("HOLDFAST_DATA", str(folder))
    return folder


def test_a_missing_dataset_offline(offline: Path, refused: Refused) -> None:
    with pytest.raises(FileNotFoundError) as missing:
        holdfast.load("mnist")
    said = refused("run", "small.yaml", "--stream.dataset", "{name: mnist}")
    for message in (str(missing.value), said):
        assert f"Looked: {offline / 'mnist'}: no such folder" in message
        assert "https://hub.invalid cannot be reached" in message
        assert 'pip install "holdfast[data]"' in message
        assert "put train.parquet and test.parquet (hub layout) into a folder mnist/" in message
        assert "The dataset 'digits' needs no files" in message
    with pytest.raises(ValueError, match=r"unknown dataset 'mnits'; did you mean 'mnist'"):
        holdfast.load("mnits")


class Absent(MetaPathFinder):
    """Finds that some packages are not installed."""

    def __init__(self, *packages: str) -> None:
        self.packages = packages

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name.partition(".")[0] in self.packages:
            raise ModuleNotFoundError(f"No module named {name!r}")


@pytest.fixture
def absent(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes packages absent."""

    def without(*packages: str) -> None:
        for name in [m for m in sys.modules if m.partition(".")[0] in packages]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setattr(sys, "meta_path", [Absent(*packages), *sys.meta_path])

    return without


def test_an_optional_package_that_is_absent(
    absent: Callable[..., None],
    refused: Refused,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    absent("pyarrow", "datasets", "PIL")
    remedy = 'pip install "holdfast[data]"'
    Path("mnist").mkdir()
    for name in ("train", "test"):
        Path("mnist", f"{name}.parquet").write_bytes(b"PAR1")
    with pytest.raises(ImportError, match=r"needs the package 'pyarrow'") as missing:
        Dataset.from_parquet("mnist")
    assert remedy in str(missing.value)
    with pytest.raises(ImportError, match=r"needs the package 'datasets'") as missing:
        Dataset.from_hub("cifar10")
    assert remedy in str(missing.value)
    with pytest.raises(ImportError, match=r"the table of a study needs the package 'pyarrow'"):
        Study(small(), seeds=1).run("study")
    monkeypatch.setenv("HOLDFAST_DATA", str(tmp_path))
    assert remedy in refused("run", "small.yaml", "--stream.dataset", "mnist")
    assert remedy in refused("run", "small.yaml", "--stream.dataset", "cifar10")
    Path("s.yaml").write_text(yaml.safe_dump({"base": small(), "seeds": 1}))
    assert remedy in refused("study", "s.yaml", "--out", "study")
    assert not Path("study").exists()


@pytest.mark.parametrize("device", ["cuda:99", "tpu", "meta"])
def test_a_device_that_is_not_there(refused: Refused, stream: Stream, device: str) -> None:
    message = f"training.device '{device}' is not there; this machine has"
    with pytest.raises(ValueError, match=message):
        run(stream, net(), training=holdfast.Training(device=device), out="out")
    assert message in refused("run", "small.yaml", "--training.device", device, "--out", "out")
    assert not Path("out").exists()
    with pytest.raises(ValueError, match=message):
        holdfast.ContinualClassifier(device=device).fit(np.zeros((4, 2)), [0, 1, 0, 1])
