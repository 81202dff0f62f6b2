"""The studies that come with the package, and those that are analysed, by the command."""

import json
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from holdfast.cli import main, shipped
from holdfast.config import read_config
from holdfast.studies import Study

STUDY = """\
# {about}
# For {size}.
base:
  stream: "small_parts:clouds"
  net: {{name: "small_parts:tiny"}}
  training: {{epochs: 1, batch_size: {batch}}}
grid: {{training.lr: [0.1, 1.0], net.width: [2, 3], method: [finetune, joint]}}
name: small {size}
seeds: 1
workers: 1
analysis: {{name: richness, x: training.lr}}
"""


@pytest.fixture
def configs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package whose configurations are few and small."""
    folder = tmp_path / "package" / "configs" / "group"
    folder.mkdir(parents=True)
    for size, batch in (("paper", 2), ("cpu", 10)):
        text = STUDY.format(size=size, batch=batch, about="Curves of a very small net.")
        (folder / f"small.{size}.yaml").write_text(text)
    (folder.parent / "plain.yaml").write_text("stream: small_parts:clouds\n")
    monkeypatch.setattr(shipped, "files", lambda package: tmp_path / "package")
    monkeypatch.chdir(tmp_path)
    return folder


def test_names_sizes_and_what_they_are_about(configs: Path) -> None:
    found = shipped.shipped()
    assert list(found) == ["group/small", "plain"]
    small, plain = found["group/small"], found["plain"]
    assert (small.sizes, plain.sizes) == (("cpu", "paper"), ())
    assert small.about == "Curves of a very small net. For cpu."
    assert plain.about == ""
    assert small.file(None) == small.file("cpu") == configs / "small.cpu.yaml"
    assert small.file("paper") == configs / "small.paper.yaml"
    assert plain.file(None) == configs.parent / "plain.yaml"


def test_they_are_listed(configs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study", "--list"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "group/small (cpu, paper)", "    Curves of a very small net. For cpu.", "plain",
    ]  # fmt: skip
    assert main(["study", "--list", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told[0] == {
        "name": "group/small", "sizes": ["cpu", "paper"],
        "about": "Curves of a very small net. For cpu.",
    }  # fmt: skip


def test_a_shipped_study_is_run_in_the_size_asked_for_and_analysed(
    configs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Matrices of cells take the longer part of the time.
    monkeypatch.setattr("holdfast.cli.plotting.MANY", 0)
    parted: set[str] = set()

    def line_figure(columns: Any, x: str, y: str, group: str) -> Figure:
        parted.update(columns[group])
        return Figure()

    monkeypatch.setattr("holdfast.cli.plotting.line_figure", line_figure)
    assert main(["study", "group/small", "--size", "paper", "--seeds", "1"]) == 0
    out = capsys.readouterr().out
    folder = Path("runs/small-paper")
    study = Study.read(folder / "study.yaml")
    assert (study.name, study.base["training"]["batch_size"]) == ("small paper", 2)
    assert "ae and cfr against training.lr, 1 seed" in out
    assert "all: undecided" in out
    drawn = {path.name for path in (folder / "figures").glob("*.png")}
    assert {"training-lr-method-finetune.png", "training-lr-method-joint.png"} <= drawn
    assert parted == {"2, finetune", "2, joint", "3, finetune", "3, joint"}
    assert main(["show", str(folder)]) == 0
    assert "ae and cfr against training.lr, 1 seed" in capsys.readouterr().out
    assert main(["show", "--json", str(folder)]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])[str(folder)]
    assert len(told["analysis"]["groups"]) == 2


def test_an_analysis_that_fails_is_told_of_by_the_exit_code(
    configs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["study", "group/small", "--analysis.draw", "[]", "--analysis.error", "Probe.value"]
    assert main([*words, "--grid.method", "[finetune]", "--grid.training.lr", "[0.1]"]) == 3
    out = capsys.readouterr().out
    assert "the analysis failed: ValueError: the table has no column 'Probe.value'" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["group/small", "--size", "papr"], "no size 'papr' (did you mean 'paper'?)"),
        (["plain", "--size", "cpu"], "plain comes in one size; leave --size out"),
        (["own.yaml", "--size", "cpu"], "--size is of studies that come with Holdfast"),
        (["small"], "no configuration at small (did you mean 'group/small'?); give a YAML file"),
        (["group/smal.yaml"], "or the name of a shipped one: group/small, plain"),
        ([], "study needs a YAML file or the name of a shipped study; see `holdfast study --list`"),
        (["group/small", "--size"], "--size needs a value"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(
    configs: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    Path("own.yaml").write_text("name: own\n")
    assert main(["study", *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("name", shipped.shipped())
def test_every_shipped_study_can_be_planned(name: str) -> None:
    found = shipped.shipped()[name]
    assert found.about
    for path in found.files.values():
        assert Study.from_config(read_config(path)).cells()
