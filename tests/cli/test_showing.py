"""`holdfast show`, `holdfast plot` and `holdfast data`."""

import json
import shutil
from pathlib import Path

import pytest

from small_commands import Said


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
