"""`holdfast run` and `holdfast resume`."""

import json
from pathlib import Path

import pytest
import torch
import yaml

import troubled_parts
from holdfast.records import Record
from small_commands import Said


def test_a_run_tells_of_each_task_and_of_the_result(here: Path, said: Said) -> None:
    code, out, err = said("run", "small.yaml", "--out", "a")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "2 tasks, seed 0, in a"
    assert lines[1].startswith("1/2 classes 0..4  accuracy 0.")
    assert lines[2].startswith("2/2 classes 5..9  accuracy 0.")
    assert all("mean so far" in line and line.endswith(" s") for line in lines[1:3])
    assert "Record(class_incremental, 2 of 2 tasks, seed 0, complete)" in lines
    assert lines[-1] == "kept in a"
    assert max(map(len, lines)) <= 100


def test_settings_may_stand_anywhere_in_either_form(here: Path, said: Said) -> None:
    words = ["--training.lr", "1e-3", "small.yaml", "--method=ewc", "--out=b"]
    code, *_ = said("run", *words, "--method.strength", "10", "--net.hidden", "[4, 4]")
    assert code == 0
    config = yaml.safe_load((here / "b" / "config.yaml").read_text())
    assert config["training"]["lr"] == 0.001
    assert (config["method"]["name"], config["method"]["strength"]) == ("ewc", 10.0)
    assert config["net"]["hidden"] == [4, 4]
    assert config["training"]["epochs"] == 1
    assert said("run", "small.yaml", "--training.clip", "null", "--seed", "3", "--json")[0] == 0


def test_by_default_a_run_goes_to_a_folder_named_by_its_content(here: Path, said: Said) -> None:
    assert said("run", "small.yaml")[0] == 0
    assert said("run", "small.yaml", "--training.epochs", "2")[0] == 0
    names = sorted(path.name for path in (here / "runs").iterdir())
    assert len(names) == 2
    assert all(name.startswith("small-") and len(name) == 14 for name in names)
    code, out, err = said("run", "small.yaml")
    assert (code, out) == (2, "")
    assert f"`holdfast resume {Path('runs') / 'small-'}" in err
    assert "give another folder" in err


def test_a_run_is_read_by_programs(here: Path, said: Said) -> None:
    code, out, err = said("run", "small.yaml", "--out", "a", "--json")
    assert (code, err) == (0, "")
    told = json.loads(out)
    record = Record.load("a")
    assert (told["out"], told["status"], told["diverged"]) == ("a", "complete", None)
    assert told["tasks"] == ["classes 0..4", "classes 5..9"]
    assert told["accuracy"][1] == record.accuracy[1].tolist()
    assert told["accuracy"][0][1] is None
    assert told["metrics"]["acc"] == record.metrics()["acc"]
    assert told["digest"] == record.digest()
    assert told["seconds"] >= 0
    assert (told["scenario"], told["seed"]) == ("class_incremental", 0)
    resumed = json.loads(said("resume", "a", "--json")[1])
    assert resumed == told


def test_resuming_what_has_ended_says_so(done: Path, said: Said) -> None:
    code, out, _ = said("resume", str(done / "one"))
    assert code == 0
    assert out.startswith("it had ended: nothing was left to do")


def test_a_run_that_was_interrupted_goes_on_from_its_folder(
    here: Path, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["run", "small.yaml", "--method", "troubled_parts:Interrupts", "--out"]
    code, out, err = said(*words, "stopped")
    assert code == 130
    assert err == (
        "holdfast: interrupted; `holdfast resume stopped` goes on from the last checkpoint\n"
    )
    assert "1/2 classes 0..4" in out
    monkeypatch.setattr(troubled_parts, "IN_THE_WAY", False)
    code, out, _ = said("resume", "stopped")
    assert code == 0
    assert "1/2" not in out
    assert "2/2 classes 5..9  accuracy" in out
    assert said(*words, "whole")[0] == 0
    assert Record.load("stopped").digest() == Record.load("whole").digest()


def test_an_interrupt_before_training_has_nothing_to_go_on_with(
    here: Path, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*args: object, **more: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("holdfast.cli.running.run_config", interrupted)
    assert said("run", "small.yaml") == (130, "", "holdfast: interrupted\n")


def test_a_device_without_memory_is_told_of_in_a_line(
    here: Path, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_large(*args: object, **more: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 9 GiB.")

    monkeypatch.setattr("holdfast.cli.running.run_config", too_large)
    code, _, err = said("run", "small.yaml")
    assert code == 2
    assert err == (
        "holdfast: error: CUDA out of memory. Tried to allocate 9 GiB.; "
        "lower training.batch_size or training.evaluation_batch\n"
    )


def test_a_run_that_diverges_is_kept_and_has_a_code_of_its_own(here: Path, said: Said) -> None:
    words = ["run", "small.yaml", "--out", "d", "--training.lr", "1e30"]
    code, out, err = said(*words)
    assert (code, err) == (3, "")
    assert "1/2 classes 0..4: diverged at step" in out
    assert "diverged: task 0" in out
    code, out, _ = said("show", "d", "--json")
    assert (code, json.loads(out)["d"]["status"]) == (0, "diverged")
    assert json.loads(out)["d"]["diverged"]["task"] == 0
    assert said("plot", "d")[0] == 0


def test_in_a_terminal_the_last_line_shows_what_goes_on(
    here: Path, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    code, out, _ = said("run", "small.yaml", "--training.epochs", "2", "--out", "a")
    assert code == 0
    assert "1/2 classes 0..4: " in out
    assert "1/2 classes 0..4  accuracy 0." in out
    assert "\x1b[2K" in out
