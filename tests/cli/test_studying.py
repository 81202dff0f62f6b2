"""`holdfast study`."""

import json
from pathlib import Path

import pytest

from holdfast.records import Record
from small_commands import Said


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
