"""The command, as a person types it and as a program reads it."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml

import holdfast
import troubled_parts
from holdfast.cli import main
from holdfast.records import Record

CONFIG = """
stream: {name: split, dataset: {name: digits, per_class: 10}, tasks: 2}
net: {name: mlp, hidden: [8]}
training: {epochs: 1}
"""

STUDY = f"""
name: small study
base: {{{", ".join(CONFIG.strip().splitlines())}}}
grid: {{training.lr: [1e-2, 0.1]}}
seeds: 2
workers: 1
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with a run's configuration and a study's."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.yaml").write_text(CONFIG)
    (tmp_path / "study.yaml").write_text(STUDY)
    return tmp_path


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the runs ``one`` and ``two`` and the study ``study``; to be read alone."""
    folder = tmp_path_factory.mktemp("done")
    (folder / "small.yaml").write_text(CONFIG)
    (folder / "study.yaml").write_text(STUDY)
    run = ["run", str(folder / "small.yaml"), "--json", "--out"]
    assert main([*run, str(folder / "one")]) == 0
    assert main([*run, str(folder / "two"), "--method", "replay"]) == 0
    study = ["study", str(folder / "study.yaml"), "--json", "--out", str(folder / "study")]
    assert main(study) == 0
    return folder


Said = Callable[..., tuple[int, str, str]]


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Said:
    """Calls the command: the exit code, what it printed, and what it printed to stderr."""

    def call(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(words)
        return (code, *capsys.readouterr())

    return call


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


def test_show_one_run_and_several(done: Path, said: Said) -> None:
    one, two = str(done / "one"), str(done / "two")
    code, out, err = said("show", one)
    assert (code, err) == (0, "")
    assert out.startswith(f"{one}: Record(class_incremental, 2 of 2 tasks")
    assert "after         classes 0..4  classes 5..9" in out
    code, out, _ = said("show", one, two)
    assert out.splitlines()[-3].split() == ["acc", "forgetting", "seconds"]
    assert [line.split()[0] for line in out.splitlines()[-2:]] == [one, two]
    told = json.loads(said("show", one, two, "--json")[1])
    assert list(told) == [one, two]
    assert told[one]["digest"] != told[two]["digest"]


def test_show_of_many_runs_is_a_table_alone(
    done: Path, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("holdfast.cli.showing.MANY", 1)
    _, out, _ = said("show", str(done / "one"), str(done / "two"))
    assert len(out.splitlines()) == 3


def test_show_a_study(done: Path, said: Said) -> None:
    folder = str(done / "study")
    code, out, _ = said("show", folder)
    assert code == 0
    assert out.startswith(f"{folder}: small study\ntraining.lr  runs")
    assert [line.split()[0] for line in out.splitlines()[2:]] == ["0.01", "0.1"]
    told = json.loads(said("show", folder, "--json")[1])[folder]
    assert [cell["cell"] for cell in told["cells"]] == ["0.01", "0.1"]
    assert told["cells"][0]["metrics"]["acc"]["runs"] == 2
    assert told["seeds"] == [0, 1]


def test_plot_runs(done: Path, said: Said, tmp_path: Path) -> None:
    code, out, err = said("plot", str(done / "one"), "--out", str(tmp_path / "a"))
    assert (code, err) == (0, "")
    assert out.split() == [str(tmp_path / "a" / f) for f in (
        "matrix.png", "matrix.svg", "curves.png", "curves.svg",
    )]  # fmt: skip
    both = str(done / "one"), str(done / "two")
    code, out, _ = said("plot", *both, "--out", str(tmp_path / "b"), "--json")
    figures = [Path(path).relative_to(tmp_path / "b") for path in json.loads(out)["figures"]]
    assert {str(path) for path in figures} >= {"one/matrix.svg", "two/curves.png", "comparison.png"}
    assert all((tmp_path / "b" / path).stat().st_size > 1000 for path in figures)


def test_figures_of_folders_of_one_name_do_not_overwrite_each_other(
    done: Path, said: Said, here: Path
) -> None:
    for place in ("a", "b"):
        shutil.copytree(done / "one", here / place / "run")
    out = said("plot", "a/run", "b/run", "--out", "figures")[1]
    assert len(set(out.split())) == len(out.split()) == 10


def test_plot_a_study(done: Path, said: Said, tmp_path: Path) -> None:
    code, out, _ = said("plot", str(done / "study"), "--out", str(tmp_path))
    assert code == 0
    assert {path.name for path in tmp_path.glob("*.png")} == {
        "comparison.png", "matrix-0-01.png", "matrix-0-1.png", "acc-training-lr.png",
        "forgetting-training-lr.png",
    }  # fmt: skip
    assert len(out.split()) == 10


@pytest.mark.parametrize("command", ["show", "plot"])
def test_a_study_without_findings_is_to_be_gone_on_with(
    here: Path, said: Said, command: str
) -> None:
    (here / "begun").mkdir()
    (here / "study.yaml").rename(here / "begun" / "study.yaml")
    code, _, err = said(command, "begun")
    assert code == 2
    assert "the study in begun has no findings yet" in err
    assert "`holdfast resume begun`" in err


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures take the longer part of a small study's time."""
    monkeypatch.setattr("holdfast.cli.studying.study_figures", lambda folder, out: [])


@pytest.mark.usefixtures("no_figures")
def test_a_study_tells_of_its_runs_and_goes_on_where_it_stopped(here: Path, said: Said) -> None:
    words = ["study", "study.yaml", "--base.net.hidden", "[4]", "--seeds", "[5]", "--workers", "1"]
    code, out, err = said(*words)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "2 runs, in runs/small-study"
    assert lines[1].startswith("1/2 0.01, seed 5: complete, ")
    assert lines[2] == "2/2 0.1, seed 5: complete"
    assert "0.01: accuracy" in lines
    assert lines[-1] == "kept in runs/small-study, with 0 figures"
    records = [Record.load(path) for path in (here / "runs/small-study/runs").iterdir()]
    assert [record.config["net"]["hidden"] for record in records] == [[4], [4]]
    lines = said("resume", "runs/small-study")[1].splitlines()
    assert lines[0] == "2 runs, 2 of them there already, in runs/small-study"
    lines = said(*words, "--grid.training.momentum", "[0.0, 0.5]")[1].splitlines()
    assert lines[0] == "4 runs, 2 of them there already, in runs/small-study"


def test_a_study_is_read_by_programs(here: Path, said: Said) -> None:
    code, out, err = said("study", "study.yaml", "--seeds", "1", "--out", "s", "--json")
    assert (code, err) == (0, "")
    told = json.loads(out)
    assert (told["out"], told["name"], told["errors"]) == ("s", "small study", [])
    assert [cell["runs"]["complete"] for cell in told["cells"]] == [1, 1]
    assert len(told["figures"]) == 10
    assert all(Path(path).is_file() for path in told["figures"])


@pytest.mark.usefixtures("no_figures")
def test_a_run_of_a_study_that_fails_is_told_of(here: Path, said: Said) -> None:
    words = ["study", "study.yaml", "--seeds", "1", "--out", "s", "--grid.method"]
    code, out, err = said(*words, "[finetune, 'small_parts:Raises']")
    assert code == 3
    assert "lr=0.01, method=finetune, seed 0: complete" in out
    assert "lr=0.01, method=Raises, seed 0: failed" in out
    assert err.splitlines()[0] == (
        "holdfast: lr=0.01, method=Raises, seed 0 failed: RuntimeError: the second task is too much"
    )
    assert len(err.splitlines()) == 2


def test_the_datasets_are_listed(said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOLDFAST_DATA", raising=False)
    code, out, _ = said("data", "list")
    assert code == 0
    assert out.splitlines()[0] == "digits          embedded, 1,438 train, 359 test"
    assert "mnist           hub: ylecun/mnist" in out
    assert max(map(len, out.splitlines())) <= 100
    listed = {dataset["name"]: dataset for dataset in json.loads(said("data", "list", "--json")[1])}
    assert listed["digits"]["rows"] == {"train": 1438, "test": 359}
    assert listed["cifar100"]["place"] == "hub"


def test_the_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    for word, text in (("--version", f"holdfast {holdfast.__version__}\n"), ("--help", "study")):
        with pytest.raises(SystemExit) as left:
            main([word])
        assert left.value.code == 0
        assert text in capsys.readouterr().out
    for command, example in (("run", "--training.lr 0.1"), ("study", "--base.training.lr 0.1")):
        with pytest.raises(SystemExit):
            main([command, "--help"])
        assert example in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "required: COMMAND; see `holdfast --help`"),
        (["rnu", "x"], "unknown command 'rnu' (did you mean 'run'?); the commands are run, resume"),
        (["run"], "required: config; see `holdfast run --help`"),
        (["run", "small.yaml", "more"], "unknown argument 'more'"),
        (["run", "small.yaml", "--training.lr"], "--training.lr needs a value"),
        (["run", "small.yaml", "--training.lr", "--json"], "--training.lr needs a value"),
        (["run", "small.yaml", "--ou", "x"], "unknown option --ou (did you mean '--out'?)"),
        (["run", "small.yaml", "--metod", "x"], "option --metod (did you mean '--method'?)"),
        (["run", "small.yaml", "--net", "{"], "--net '{' is no YAML: line 1, column 2"),
        (["run", "small.yaml", "--seed.more", "1"], "seed must be a non-negative integer"),
        (["run", "small.yaml", "--heads.a", "1"], "heads must be one of"),
        (["run", "study.yaml"], "study.yaml is a study; use `holdfast study study.yaml`"),
        (["run", "demo"], "demo is a study; use `holdfast study demo`"),
        (["run", "none.yaml"], "no configuration at none.yaml; give a YAML file"),
        (["run", "dmeo"], "no configuration at dmeo (did you mean 'demo'?)"),
        (["run", "."], "no configuration at ."),
        (["study", "small.yaml"], "small.yaml is no study; use `holdfast run small.yaml`"),
        (["study", "study.yaml", "--training.lr", "1"], "(did you mean '--base.training.lr'?)"),
        (["study", "study.yaml", "--workers", "x"], "--workers: invalid int value: 'x'"),
        (["study", "study.yaml", "--workers", "0"], "workers must be a positive integer, got 0"),
        (["study", "study.yaml", "--grid.training.lr", "[a]"], "training.lr must be a number"),
        (["show", "small.yaml"], "small.yaml holds no record.json; give the folder a run wrote"),
        (["show", "nothing"], "nothing holds no record.json; give the folder a run wrote"),
        (["show", ".", "--jsn"], "unknown argument '--jsn' (did you mean '--json'?)"),
        (["plot", "nothing"], "nothing holds no record.json"),
        (["resume", "nothing"], "nothing holds no run: there is no config.yaml in it"),
        (["data", "lst"], "invalid choice: 'lst'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_wrong_on_the_line_is_said_in_one(
    here: Path, said: Said, words: list[str], message: str
) -> None:
    code, out, err = said(*words)
    assert (code, out) == (2, "")
    assert err.startswith("holdfast: error: ")
    assert err.count("\n") == 1
    assert message in err
    assert sorted(path.name for path in here.iterdir()) == ["small.yaml", "study.yaml"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "must hold a mapping of keys, got NoneType"),
        (b"- 1", "must hold a mapping of keys, got list"),
        (b"stream: [", "is no YAML: line 1, column 10"),
        (b"seed: 1\nseed: 2", "is no YAML: line 2 gives the key 'seed' a second time"),
        (b"\xff\xfe\x00", "is no YAML"),
    ],
)
@pytest.mark.parametrize("command", ["run", "study"])
def test_a_file_that_holds_no_configuration(
    here: Path, said: Said, command: str, content: bytes, message: str
) -> None:
    (here / "bad.yaml").write_bytes(content)
    code, out, err = said(command, "bad.yaml")
    assert (code, out) == (2, "")
    assert f"bad.yaml {message}" in err


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


def test_parts_of_ones_own_are_found_in_the_folder_the_command_is_called_from(
    tmp_path: Path,
) -> None:
    (tmp_path / "own_parts.py").write_text(
        "from holdfast.methods import Finetune\n\n\nclass Mine(Finetune):\n    pass\n"
    )
    (tmp_path / "run.yaml").write_text(
        "stream: {name: split, dataset: {name: digits, per_class: 4}}\n"
        "net: {name: mlp, hidden: [4]}\nmethod: own_parts.Mine\ntraining: {epochs: 1}\n"
    )
    command = Path(sys.executable).with_name("holdfast")
    subprocess.run([command, "run", "run.yaml", "--out", "out"], cwd=tmp_path, check=True)
    assert (tmp_path / "out" / "record.json").is_file()
