"""`holdfast diagnose`, as a person types it and as a program reads it."""

import json
from pathlib import Path

import pytest

from holdfast.cli import shipped
from holdfast.config import read_config
from holdfast.studies.plasticity import Diagnosing
from small_commands import Said

CONFIG = """\
name: my own
dataset: {name: digits, per_class: 6}
label_noise: 0.2
net: {name: mlp, hidden: [12, 12]}
training: {epochs: 3, batch_size: 16}
try:
  - {start: {name: reset_groups, k: 2}}
  - {net: {norm: layer}, label: LayerNorm}
seeds: 2
"""


@pytest.fixture(autouse=True)
def beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The working folder holds a configuration."""
    monkeypatch.chdir(tmp_path)
    Path("own.yaml").write_text(CONFIG)


def test_a_diagnosis_is_made_shown_drawn_and_resumed(said: Said) -> None:
    code, out, err = said("diagnose", "own.yaml", "--old", "0.6")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    folder = Path("runs/my-own")
    assert lines[0] == f"10 runs, in {folder}"
    assert lines[1].startswith(" 1/10 fresh, seed 0: complete")
    assert lines[-1] == f"kept in {folder}"
    assert "Resetting the last two groups" in out
    assert "fresh, net.norm=layer" in out
    assert {path.name for path in (folder / "figures").iterdir()} == {
        "diagnosis.png", "diagnosis.svg",
    }  # fmt: skip
    assert Diagnosing.read(folder).old == 0.6

    code, shown, _ = said("show", str(folder))
    assert code == 0
    assert shown.removeprefix(f"{folder}: ").strip() in out
    code, told, _ = said("show", "--json", str(folder))
    found = json.loads(told)[str(folder)]
    assert found["settings"]["old"] == 0.6
    assert found["settings"]["samples"] == [36, 60]
    code, _, _ = said("plot", str(folder), "--out", "b")
    assert code == 0
    assert Path("b/diagnosis.svg").is_file()

    code, again, _ = said("resume", str(folder))
    assert code == 0
    assert again.splitlines()[0] == f"10 runs, 10 of them there already, in {folder}"
    assert again.splitlines()[1:] == lines[lines.index("") :]
    code, told, _ = said("diagnose", "own.yaml", "--old", "0.6", "--seeds", "[0]", "--json")
    assert code == 0
    assert json.loads(told)["arms"][1]["runs"] == found["arms"][1]["runs"][:1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["own.yaml", "--old", "1"], "old must be a share of the data in (0, 1), got 1"),
        (["own.yaml", "--label_noise", "2"], "label_noise must be a share in [0, 1], got 2"),
        (["own.yaml", "--odl", "0.5"], "unknown option --odl (did you mean '--old'?)"),
        (["own.yaml", "--try", "3"], "try must be a list of mitigations, got 3"),
        (["own.yaml", "--try", "[ewk]"], "no start or method (did you mean 'ewc'?)"),
        (["own.yaml", "--try", "[{start: {name: reset_groups, k: 9}}]"],
         "reset_groups(k=9): k must be an integer from 1 to 3, the number of groups; got 9. The "
         "groups are linear1, linear2, head"),
        (["own.yaml", "--try", "[{training: {epochs: 1}}]"], "unequal budgets"),
        (["own.yaml", "--net.seed", "3"], "net.seed is 3, so that fresh weights would be the same"),
        (["own.yaml", "--training.lr", "fast"], "training.lr must be a number, got 'fast'"),
        (["run.yaml"], "is the configuration of a run or study"),
        (["none.yaml"], "no configuration at none.yaml"),
    ],
)  # fmt: skip
def test_bad_input_is_told_in_a_line_before_any_work(
    said: Said, words: list[str], message: str
) -> None:
    Path("run.yaml").write_text("stream: split\nnet: mlp\n")
    code, out, err = said("diagnose", *words)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
    assert not Path("runs").exists()


def test_a_folder_of_another_diagnosis_is_refused(said: Said) -> None:
    words = ["diagnose", "own.yaml", "--seeds", "1", "--try", "[]", "--out", "a"]
    assert said(*words)[0] == 0
    code, _, err = said(*words, "--name", "another")
    assert code == 2
    assert "holds the diagnosis 'my own', this one is 'another'" in err


def test_shipped_diagnoses_are_listed_apart_from_studies_and_whole() -> None:
    found = shipped.shipped("diagnose")
    assert "digits" in found
    assert not any(name.startswith("diagnose") for name in shipped.shipped())
    for one in found.values():
        for path in one.files.values():
            asked = Diagnosing.from_config(read_config(path))
            assert Diagnosing.from_config(asked.to_config()) == asked
