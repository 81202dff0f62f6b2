"""Whatever is wrong is said before any training, by name and with the remedy; nothing is lost.

Each trouble is met through the functions, and through the command where a person meets it there:
exit code 2 and one line.
"""

import errno
import os
import shutil
import socket
import sys
from collections.abc import Callable
from importlib.abc import MetaPathFinder
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from sklearn.exceptions import NotFittedError

import holdfast
from holdfast.cli import main
from holdfast.config import Config, build, override, resume, run_config
from holdfast.data import Dataset, Split
from holdfast.nets import GrowingHead, Learner, SharedHead, TaskHeads, build_learner, mlp
from holdfast.records import Record
from holdfast.streams import Stream, Task, split
from holdfast.studies import Study
from holdfast.training.loop import Loop
from holdfast.training.run import run

DIGITS = {"name": "digits", "per_class": 5}


def small(**settings: Any) -> Config:
    """A small run; settings by dotted key, a double underscore for the dot."""
    config: Config = {
        "stream": {"name": "split", "dataset": dict(DIGITS), "tasks": 2},
        "net": {"name": "mlp", "hidden": [4]},
        "training": {"epochs": 1},
    }
    for key, value in settings.items():
        override(config, key.replace("__", "."), value)
    return config


def net() -> torch.nn.Module:
    return mlp((1, 8, 8), hidden=[4])


@pytest.fixture(scope="module")
def stream() -> Stream:
    return build(small()).stream


@pytest.fixture(scope="module")
def complete(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run, to be copied."""
    folder = tmp_path_factory.mktemp("complete") / "run"
    run_config(small(), out=folder)
    return folder


@pytest.fixture
def untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any training fails the test."""

    def train(loop: Loop) -> Record:
        pytest.fail("training has started")

    monkeypatch.setattr(Loop, "run", train)


Refused = Callable[..., str]


@pytest.fixture
def refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    untrained: None,
) -> Refused:
    """Calls the command in a folder with ``small.yaml``: the one line that it says."""
    monkeypatch.chdir(tmp_path)
    Path("small.yaml").write_text(yaml.safe_dump(small()))

    def call(*words: str) -> str:
        before = content(tmp_path)
        capsys.readouterr()
        code = main(words or ("run", "small.yaml"))
        out, err = capsys.readouterr()
        assert (code, out) == (2, ""), err
        assert err.startswith("holdfast: error: ")
        assert err.count("\n") == 1
        assert content(tmp_path) == before
        return err

    return call


def content(folder: Path) -> dict[str, bytes]:
    """What the files of a folder hold."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_an_unknown_key(refused: Refused) -> None:
    for config, near in (
        (small(metod="ewc"), "'method'"),
        (small(training__epoch=2), "'epochs'"),
        (small(method={"name": "ewc", "strenght": 1.0}), "'strength'"),
        (small(stream__dataset__perclass=2), "'per_class'"),
    ):
        with pytest.raises(ValueError, match=f"has no key .* .did you mean {near}.*it takes"):
            run_config(config)
    assert "unknown option --metod (did you mean '--method'?)" in refused(
        "run", "small.yaml", "--metod", "ewc"
    )
    assert "training has no key 'epoch' (did you mean 'epochs'?)" in refused(
        "run", "small.yaml", "--training.epoch", "2"
    )
    Path("small.yaml").write_text(yaml.safe_dump({**small(), "trainig": {}}))
    assert "config has no key 'trainig' (did you mean 'training'?)" in refused()


def test_a_wrong_type(refused: Refused, stream: Stream) -> None:
    for config, message in (
        (small(training__epochs="many"), "training.epochs must be an integer, got 'many'"),
        (small(training__lr=[0.1]), "training.lr must be a number, got"),
        (small(training__optimizer="sdg"), "must be one of 'sgd', .*did you mean 'sgd'"),
        (small(net__hidden=4), "net 'mlp'.hidden must be a list of integers, got 4"),
        (small(method=3), "method must be a name or a mapping with a name and options, got 3"),
    ):
        with pytest.raises(ValueError, match=message):
            run_config(config)
    with pytest.raises(TypeError, match="lr"):
        holdfast.Training(lr="0.1")
    for name, value in (("method", "ewc"), ("training", {"epochs": 1}), ("start", "fresh")):
        with pytest.raises(TypeError, match=name):
            run(stream, net(), **{name: value})
    message = refused("run", "small.yaml", "--training.epochs", "many")
    assert "training.epochs must be an integer, got 'many'" in message


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("training__epochs", 0, "training.epochs must be a positive integer; got 0"),
        ("training__batch_size", -1, "training.batch_size must be a positive integer; got -1"),
        ("training__lr", 0.0, "training.lr must be a positive number; got 0.0"),
        ("net__hidden", [4, 0], r"hidden\[1\] must be positive, got 0"),
        ("stream__tasks", 0, "tasks must be a positive integer, got 0"),
        ("stream__dataset__per_class", 0, "per_class must be at least 1, got 0"),
        ("stream__validation", -0.1, r"validation must be a fraction in \[0, 1\), got -0.1"),
        ("method", {"name": "replay", "memory": 0}, "memory must be a positive integer, got 0"),
        ("method", {"name": "ewc", "strength": -1.0}, "strength must be a number of at least 0"),
    ],
)
def test_a_size_of_nothing_or_less(untrained: None, key: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run_config(small(**{key: value}))


def test_a_size_of_nothing_or_less_on_the_command_line(refused: Refused) -> None:
    message = refused("run", "small.yaml", "--training.batch_size", "0")
    assert "training.batch_size must be a positive integer; got 0" in message
    message = refused("run", "small.yaml", "--net.hidden", "[-1]")
    assert "hidden[0] must be positive, got -1" in message


def test_more_tasks_than_classes(refused: Refused) -> None:
    message = "tasks=11 is more than the 10 classes of 'digits'"
    with pytest.raises(ValueError, match=message):
        split(holdfast.digits(), tasks=11)
    assert message in refused("run", "small.yaml", "--stream.tasks", "11")


@pytest.mark.parametrize("order", [[0, 0], [0], [0, 2], [0, 1, 2], [-1, 0]])
def test_an_order_that_is_no_permutation(refused: Refused, stream: Stream, order: Any) -> None:
    with pytest.raises(ValueError, match=r"order must be a permutation of 0\.\.1, got"):
        stream.reordered(order)
    message = refused("run", "small.yaml", "--order", str(order))
    assert "order must be a permutation of 0..1, got" in message


def arrays(**given: Any) -> Dataset:
    """Three classes of two samples, with some arrays exchanged."""
    x, y = np.zeros((6, 2)), np.array([0, 0, 1, 1, 2, 2])
    return Dataset.from_arrays(**{"x_train": x, "y_train": y, "x_test": x, "y_test": y, **given})


def test_labels_out_of_range() -> None:
    names = ["a", "b"]
    for labels, options, message in (
        (
            [0, 0, 1, 1, 2, 2],
            {"class_names": names},
            r"y_train holds labels \[2\] that are not amo",
        ),
        ([0, 0, 1, 1, -1, 2], {"class_names": names}, r"y_train holds labels \[-1, 2\]"),
        ([0, 0, 1, 1, 1, 1], {}, r"y_test holds labels \[2\] that are not among those of y_train"),
    ):
        with pytest.raises(ValueError, match=message):
            arrays(y_train=np.array(labels), **options)
    with pytest.raises(ValueError, match=r"Split.y holds a negative class label \(-1\)"):
        Split(torch.zeros(2, 1), torch.tensor([0, -1]))


def test_labels_that_are_no_integers() -> None:
    with pytest.raises(ValueError, match=r"whole numbers as class labels, got 0.5 at position 1"):
        arrays(y_train=np.array([0, 0.5, 1, 1, 2, 2]), regression=False)
    with pytest.raises(ValueError, match=r"y_train holds floats.*set regression=True"):
        arrays(y_train=np.array([0, 0.5, 1, 1, 2, 2]))
    with pytest.raises(ValueError, match=r"one class label a sample.*pass their argmax"):
        arrays(y_train=np.eye(6, dtype=int))
    with pytest.raises(TypeError, match=r"y_train mixes labels that do not sort"):
        arrays(y_train=np.array([0, None, 1, 1, 2, 2], dtype=object))
    with pytest.raises(ValueError, match=r"class labels must be integers"):
        Split(torch.zeros(2, 1), torch.tensor([0.0, 1.0]))
    with pytest.raises(ValueError, match=r"holds regression targets: there are no classes to part"):
        split(arrays(y_train=np.zeros(6), y_test=np.zeros(6)), tasks=2)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_nan_or_infinity_in_the_data(value: float) -> None:
    x = np.zeros((6, 2))
    x[3, 1] = value
    message = "Split.x holds NaN or infinity in 1 of 6 samples, the first at position 3; leave"
    for name in ("train", "test"):
        with pytest.raises(ValueError, match=f"the {name} split: {message}"):
            arrays(**{f"x_{name}": x})
    with pytest.raises(ValueError, match=r"X contains (NaN|infinity)|too large"):
        holdfast.ContinualClassifier().fit(x, [0, 0, 1, 1, 2, 2])


@pytest.mark.parametrize("last", ["nan", "inf"])
def test_nan_or_infinity_in_the_data_of_the_command(refused: Refused, last: str) -> None:
    part = f"{{name: 'troubled_parts:points', last: '{last}'}}"
    said = refused("run", "small.yaml", "--stream.dataset", part)
    assert "the train split: Split.x holds NaN or infinity in 1 of 12 samples" in said
    assert "training.lr must be finite" in refused("run", "small.yaml", "--training.lr", ".nan")


def test_an_empty_split() -> None:
    for name in ("train", "test"):
        with pytest.raises(ValueError, match=f"x_{name} holds no samples"):
            arrays(**{f"x_{name}": np.zeros((0, 2)), f"y_{name}": np.zeros(0, dtype=int)})
    with pytest.raises(ValueError, match=r"Split.x holds no samples \(shape \(0, 2\)\)"):
        Split(torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"tasks is empty: a stream needs at least one task"):
        Stream([], "task_incremental")


def test_a_class_without_samples(refused: Refused) -> None:
    with pytest.raises(ValueError, match=r"classes \[2\] have no test samples"):
        split(arrays(y_test=np.array([0, 0, 1, 1, 1, 1])), tasks=3)
    with pytest.raises(ValueError, match=r"validation=0.9 leaves no training samples of class 0"):
        split(arrays(), tasks=3, validation=0.9)
    part = "{name: 'troubled_parts:points', tested: 2}"
    said = refused("run", "small.yaml", "--stream.dataset", part)
    assert "classes [2, 3] have no test samples" in said


def test_shapes_that_do_not_match(refused: Refused, stream: Stream) -> None:
    with pytest.raises(ValueError, match=r"x_train and y_train differ in length: \(6, 2\) and"):
        arrays(y_train=np.zeros(5, dtype=int))
    with pytest.raises(ValueError, match=r"test samples have shape \(3,\), train samples \(2,\)"):
        arrays(x_test=np.zeros((6, 3)))
    with pytest.raises(ValueError, match=r"x_train is no regular array"):
        arrays(x_train=[[1, 2], [3], [4], [5], [6], [7]])
    task = stream[0]
    wide = Split(torch.zeros(len(task.test), 1, 9, 9), task.test.y)
    with pytest.raises(ValueError, match=r"test.*shape|shape.*test"):
        Task("uneven", task.train, wide)
    part = "{name: 'troubled_parts:points', sides: 3}"
    said = refused("run", "small.yaml", "--stream.dataset", part)
    assert "test samples have shape (3,), train samples (2,)" in said


def test_a_learner_that_does_not_fit_the_stream(untrained: None, stream: Stream) -> None:
    large = mlp((1, 9, 9), hidden=[4])
    for learner, message in (
        (large, r"the net does not take inputs of shape \(1, 8, 8\)"),
        (Learner(large, GrowingHead(4)), r"the net does not take inputs of shape \(1, 8, 8\)"),
        (Learner(net(), GrowingHead(5)), r"its heads take 5 features, its backbone gives 4"),
        (Learner(net(), TaskHeads(4)), r"TaskHeads need the task at test time.*use GrowingHead"),
        (Learner(net(), SharedHead(4, 10)), r"gives 10 regression outputs.*make it with its cla"),
    ):
        with pytest.raises(ValueError, match=message):
            run(stream, learner)


def test_targets_that_the_heads_do_not_give(untrained: None) -> None:
    y = torch.zeros(6, 3)
    samples = Split(torch.zeros(6, 1, 8, 8), y)
    targets = Stream([Task("targets", samples, samples)], "domain_incremental")
    for heads, message in (
        (GrowingHead(4), "regression targets need a SharedHead with 3 outputs, got GrowingHead"),
        (SharedHead(4, 1), "its SharedHead gives 1 outputs, the stream has 3 targets a sample"),
    ):
        with pytest.raises(ValueError, match=message):
            run(targets, Learner(net(), heads))
    with pytest.raises(ValueError, match="regression outputs, which stand for no classes"):
        Learner(net(), SharedHead(4, 3)).predict(torch.zeros(1, 1, 8, 8))


def test_a_task_that_does_not_exist(stream: Stream, complete: Path) -> None:
    learner = build_learner(net(), Stream(stream.tasks, "task_incremental"))
    learner.accommodate(0, stream[0])
    x = torch.zeros(2, 1, 8, 8)
    with pytest.raises(ValueError, match=r"task 9 does not exist: heads are there for \[0\]"):
        learner.predict(x, 9)
    with pytest.raises(ValueError, match=r"tasks \[9\] do not exist: heads are there for \[0\]"):
        learner(x, torch.tensor([0, 9]))
    with pytest.raises(ValueError, match=r"task must be given: TaskHeads have a head for each"):
        learner.predict(x)
    with pytest.raises(IndexError, match=r"there is no task 2: the stream has tasks 0..1"):
        stream[2]
    with pytest.raises(ValueError, match=r"task must be in 0..1, got 2"):
        Record.load(complete).trace(2)


def test_predict_before_fit(stream: Stream) -> None:
    x = np.zeros((2, 4))
    for call in ("predict", "predict_proba", "decision_function"):
        with pytest.raises(NotFittedError, match=r"is not fitted yet. Call 'fit'"):
            getattr(holdfast.ContinualClassifier(), call)(x)
    with pytest.raises(ValueError, match=r"the learner knows no classes yet; train it"):
        build_learner(net(), stream).predict(torch.zeros(1, 1, 8, 8))


def test_a_head_asked_for_an_unknown_class(untrained: None, stream: Stream) -> None:
    growing = GrowingHead(4)
    growing.accommodate(0, [0, 1])
    for head in (SharedHead(4, [0, 1]), growing):
        with pytest.raises(
            ValueError, match=r"labels \[7\] are unknown to this .*which has \[0, 1"
        ):
            head.columns(torch.tensor([0, 7]), 0)
    fixed = Learner(net(), SharedHead(4, range(5)))
    with pytest.raises(ValueError, match=r"classes \[5, 6, 7, 8, 9\] are unknown.*use GrowingHead"):
        run(stream, fixed)


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


def test_a_folder_that_holds_another_run(
    complete: Path, refused: Refused, tmp_path: Path, stream: Stream
) -> None:
    shutil.copytree(complete, "held")
    before = content(Path("held"))
    with pytest.raises(ValueError, match=r"out held holds a run already.*give another folder"):
        run_config(small(), out="held")
    with pytest.raises(ValueError, match=r"out held holds another run:.*differs.*training"):
        run_config(small(training__epochs=2), out="held", resume=True)
    with pytest.raises(ValueError, match=r"out held holds another run"):
        run(stream, net(), out="held", resume=True)
    with pytest.raises(ValueError, match=r"out held holds a run; give the study a folder of its"):
        Study(small(), seeds=1).run("held")
    Path("study").mkdir()
    Path("study/study.yaml").write_text("name: other")
    with pytest.raises(ValueError, match=r"out study holds a study; give the run a folder of its"):
        run_config(small(), out="study")
    with pytest.raises(ValueError, match=r"out must be a folder, small.yaml is a file"):
        run_config(small(), out="small.yaml")
    with pytest.raises(OSError, match=r"could not open: Not a directory: 'small.yaml.below"):
        run_config(small(), out="small.yaml/below")
    assert "out held holds a run already" in refused("run", "small.yaml", "--out", "held")
    config = yaml.safe_load(Path("held/config.yaml").read_text())
    Path("held/config.yaml").write_text(yaml.safe_dump({**config, "seed": 5}))
    said = refused("resume", "held")
    assert (
        "out held holds another run: its configuration differs from the one given in seed" in said
    )
    Path("held/config.yaml").write_bytes(before["config.yaml"])
    assert content(Path("held")) == before


def test_a_truncated_checkpoint(complete: Path, refused: Refused) -> None:
    for name, size in (("empty", 0), ("short", 100), ("half", 6000)):
        shutil.copytree(complete, name)
        path = Path(name, "checkpoint", "state.safetensors")
        path.write_bytes(path.read_bytes()[:size])
        with pytest.raises(ValueError, match=f"{path} is truncated or no checkpoint"):
            resume(name)
        assert f"{path} is truncated or no checkpoint" in refused("resume", name)


def test_a_foreign_checkpoint(complete: Path, refused: Refused) -> None:
    from safetensors.torch import save_file

    foreign = {
        "pickle": b"\x80\x04\x95",
        "later": (complete / "checkpoint" / "state.safetensors")
        .read_bytes()
        .replace(b"holdfast-checkpoint-2", b"holdfast-checkpoint-9"),
    }
    for name, data in foreign.items():
        shutil.copytree(complete, name)
        Path(name, "checkpoint", "state.safetensors").write_bytes(data)
    shutil.copytree(complete, "theirs")
    save_file({"weight": torch.zeros(2)}, Path("theirs", "checkpoint", "state.safetensors"))
    for name in (*foreign, "theirs"):
        with pytest.raises(ValueError, match=r"no checkpoint"):
            resume(name)
        assert "no checkpoint" in refused("resume", name)
    with pytest.raises(ValueError, match=r"holds no ContinualClassifier of this version"):
        holdfast.ContinualClassifier.load(complete / "checkpoint" / "state.safetensors")


def test_a_record_or_log_that_is_cut_short(complete: Path, refused: Refused) -> None:
    shutil.copytree(complete, "cut")
    record = Path("cut", "record.json")
    record.write_bytes(record.read_bytes()[:500])
    with pytest.raises(ValueError, match=r"record.json is cut short or no JSON"):
        Record.load("cut")
    assert "record.json is cut short or no JSON" in refused("show", "cut")
    Path("cut", "events.jsonl").write_bytes(b"")
    assert "it is not the file the checkpoint was written with" in refused("resume", "cut")


class FullDisk:
    """Lets so many bytes be forced to disk in files, then none."""

    def __init__(self, files: int) -> None:
        self.files, self.sync = files, os.fsync

    def __call__(self, handle: int) -> None:
        self.files -= 1
        if self.files < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.sync(handle)


def test_a_full_disk_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: Refused
) -> None:
    monkeypatch.setattr("holdfast.records.files.os.fsync", FullDisk(0))
    with pytest.raises(OSError, match=r"could not write: No space left on device: .*config.yaml"):
        run_config(small(), out=tmp_path / "out")
    shutil.rmtree(tmp_path / "out")
    code = main(["run", "small.yaml", "--out", "out"])
    assert code == 2
    assert [path.name for path in Path("out").iterdir()] == ["events.jsonl"]
    monkeypatch.undo()
    assert run_config(small(), out=tmp_path / "out").status == "complete"


@pytest.mark.parametrize("files", [5, 8, 11, 14])
def test_a_disk_that_is_full_in_the_middle_loses_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    complete: Path,
    files: int,
) -> None:
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(small()))
    out = str(tmp_path / "out")
    with monkeypatch.context() as full:
        full.setattr("holdfast.records.files.os.fsync", FullDisk(files))
        code = main(["run", str(tmp_path / "small.yaml"), "--out", out])
    said = capsys.readouterr().err
    assert code == 2
    assert "could not write: No space left on device" in said
    assert f"`holdfast resume {out}` goes on from the last checkpoint" in said
    assert said.count("\n") == 1
    assert not list(tmp_path.rglob("*.tmp"))
    assert main(["resume", out, "--json"]) == 0
    assert Record.load(out).digest() == Record.load(complete).digest()


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
