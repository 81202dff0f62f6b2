"""`holdfast theory`, as a person types it and as a program reads it."""

import json
import sys
from pathlib import Path

import pytest

from holdfast.cli import shipped
from holdfast.config import read_config
from holdfast.studies.theory import Prediction, predict
from small_commands import Said

CONFIG = """\
gamma0: [0.3, 1.0]
units: absolute
gaussian: {features: 30, similarity: 0.5}
samples: 4
steps: 10
lr: 0.5
phi: linear
compare: {widths: [8, 16], seeds: 3, gamma0: [1.0]}
phase: {similarity: [0.0, 1.0], gamma0: [0.5, 1.0]}
"""


@pytest.fixture(autouse=True)
def beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The working folder holds a configuration."""
    monkeypatch.chdir(tmp_path)
    Path("small.yaml").write_text(CONFIG)


def test_a_prediction_tells_of_its_parts_and_is_shown_drawn_and_resumed(said: Said) -> None:
    code, out, err = said("theory", "small.yaml", "--lr", "0.4", "--out", "a")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "8 parts, in a"
    assert lines[1].startswith("1/8 gamma0 0.3, theory")
    assert lines[-1] == "kept in a, with 6 figures"
    assert "gamma0 in absolute units; solver closure: " in out
    drawn = {path.stem for path in Path("a/figures").glob("*.png")}
    assert drawn == {"networks-gamma0-1", "forgetting", "phase"}

    code, shown, _ = said("show", "a")
    assert code == 0
    assert shown.removeprefix("a: ").strip() in out
    code, told, _ = said("show", "--json", "a")
    assert json.loads(told)["a"]["prediction"]["lr"] == 0.4
    code, plotted, _ = said("plot", "a", "--out", "b")
    assert code == 0
    assert Path("b/phase.svg").is_file()
    assert str(Path("b/phase.svg")) in plotted.split()
    code, again, _ = said("resume", "a")
    assert code == 0
    assert again.splitlines()[0] == "8 parts, 8 of them there already, in a"
    assert again.splitlines()[1:] == lines[lines.index("") :]


def test_programs_are_told_in_json_and_the_name_makes_the_folder(said: Said) -> None:
    words = ("--name", "my own", "--compare", "null", "--phase", "null", "--solver", "lazy")
    code, out, err = said("theory", "small.yaml", *words, "--json")
    assert (code, err) == (0, "")
    told = json.loads(out)
    assert Path(told["out"]) == Path("runs/my-own")
    assert [row["solver"] for row in told["solutions"]] == ["lazy", "lazy"]
    assert told["networks"] == []
    assert len(told["figures"]) == 2


def test_an_interrupted_prediction_is_gone_on_with_by_resume(
    said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*args: object, **options: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        # By its place among modules, since the function `predict` hides its module's name.
        patched.setattr(sys.modules[predict.__module__], "at_width", interrupted)
        code, out, err = said("theory", "small.yaml", "--out", "a")
    assert code == 130
    assert out.splitlines()[-1].startswith("2/8 gamma0 1, theory")
    assert err.startswith("holdfast: interrupted; `holdfast resume a` goes on")
    code, _, err = said("show", "a")
    assert (code, "has no answers yet" in err) == (2, True)
    code, out, _ = said("resume", "a")
    assert (code, out.splitlines()[0]) == (0, "8 parts, 2 of them there already, in a")


def test_what_diverges_has_a_code_of_its_own(said: Said) -> None:
    words = ("--compare", "null", "--phase", "null", "--gamma0", "[1.0]", "--lr", "100")
    with pytest.warns(UserWarning, match="lr"):
        assert said("theory", "small.yaml", *words)[0] == 3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            (),
            "theory needs a YAML file or the name of a shipped prediction; see `holdfast",
        ),
        (("smal",), "no configuration at smal"),
        (("gausian",), "(did you mean 'gaussian'?); give a YAML file"),
        (("gaussian", "--size", "papr"), "gaussian has no size 'papr' (did you mean 'paper'?)"),
        (("small.yaml", "--size", "cpu"), "--size is of studies that come with Holdfast"),
        (("small.yaml", "--gama0", "[1]"), "unknown option --gama0 (did you mean '--gamma0'?)"),
        (("small.yaml", "--training.lr", "1"), "unknown option --training.lr"),
        (("small.yaml", "--units", "null"), "theory needs 'units'"),
        (("small.yaml", "--phi", "sine"), "activation must be one of"),
        (("small.yaml", "--solver", "linear", "--phi", "relu"), "linear solves networks with act"),
        (("small.yaml", "--solver", "auto", "--solver.smaples", "9"), "has no option 'smaples'"),
        (("demo",), "no configuration at demo"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(said: Said, words: tuple[str, ...], message: str) -> None:
    code, _, err = said("theory", *words)
    assert code == 2
    assert message in err
    assert err.count("\n") == 1


def test_shipped_predictions_are_listed_apart_from_studies(said: Said) -> None:
    code, out, _ = said("theory", "--list")
    assert code == 0
    assert {"mnist30 (cpu, paper)", "gaussian (cpu, paper)", "digits (cpu, paper)"} <= {
        line for line in out.splitlines() if not line.startswith(" ")
    }
    listed = json.loads(said("theory", "--list", "--json")[1])
    assert listed[0]["sizes"] == ["cpu", "paper"]
    assert "mnist30" not in said("study", "--list")[1]


@pytest.mark.parametrize("name", shipped.shipped("theory"))
def test_every_shipped_prediction_can_be_asked(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = shipped.shipped("theory")[name]
    assert found.about
    for path in found.files.values():
        asked = Prediction.from_config(read_config(path))
        assert asked.compared is not None
        if "mnist" not in str(asked.stream):
            assert asked.problems()
