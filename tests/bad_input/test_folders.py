"""Folders that hold another run, damaged files and full disks."""

import errno
import os
import shutil
from pathlib import Path

import pytest
import torch
import yaml

import holdfast
from holdfast.cli import main
from holdfast.config import resume, run_config
from holdfast.records import Record
from holdfast.streams import Stream
from holdfast.studies import Study
from holdfast.training.run import run
from refusals import Refused, content, net, small


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
