"""What the command says of itself and of what is wrong on its line."""

import subprocess
import sys
from pathlib import Path

import pytest

import holdfast
from holdfast.cli import main
from small_commands import Said


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
