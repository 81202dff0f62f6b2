"""`holdfast tune-richness`, as a person types it and as a program reads it."""

import json
from pathlib import Path

import pytest

import troubled_parts
from small_commands import Said

CONFIG = """
stream: {name: split, dataset: {name: digits, per_class: 10}, tasks: 2, scenario: task_incremental}
net: {name: mlp, hidden: [1], bias: false}
training: {epochs: 1, lr: 5, schedule: cosine}
richness: {readout_bias: false}
"""

WIDTHS = ("--width", "4", "--target-width", "8")
SMALL = (*WIDTHS, "--gamma0", "0.1,.3,1", "--seeds=1", "--neighbours", "0", "--workers=1")


@pytest.fixture(autouse=True)
def beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The working folder holds a configuration."""
    monkeypatch.chdir(tmp_path)
    Path("small.yaml").write_text(CONFIG)


def test_a_tuning_tells_of_its_runs_and_leaves_a_configuration(said: Said) -> None:
    code, out, err = said("tune-richness", "small.yaml", *SMALL, "--training.lr", "4", "--out", "a")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "width 4: 3 runs, in a"
    assert lines[1].startswith("1/3 width 4, gamma0 0.1, seed 0: complete")
    assert lines[4].startswith("width 8: ")
    assert any("width 8, standard, lr 0.125, seed 0: complete" in line for line in lines)
    assert any(line.startswith("width 4: least ae at gamma0 ") for line in lines)
    assert lines[-1] == f"kept in a; `holdfast run {Path('a') / 'tuned.yaml'}`"
    figures = [str(Path("a/figures/gamma0").with_suffix(end)) for end in (".png", ".svg")]
    assert all(Path(figure).is_file() for figure in figures)

    code, shown, _ = said("show", "a")
    assert code == 0
    assert shown.removeprefix("a: ").strip() in out
    code, plotted, _ = said("plot", "a", "--out", "b")
    assert (code, plotted.split()) == (0, [str(Path("b") / f"gamma0.{e}") for e in ("png", "svg")])
    code, again, _ = said("resume", "a")
    assert code == 0
    assert again.splitlines()[0] == "width 4: 3 runs, 3 of them there already, in a"
    assert again.splitlines()[2:] == lines[lines.index("") :]
    assert said("run", str(Path("a") / "tuned.yaml"), "--out", "c")[0] == 0


def test_an_interrupted_tuning_is_gone_on_with_by_resume(
    said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("tune-richness", "small.yaml", *SMALL, "--method", "troubled_parts:Interrupts")
    code, _, err = said(*words, "--out", "a")
    assert code == 130
    assert err.startswith("holdfast: interrupted; `holdfast resume a` goes on")
    code, _, err = said("show", "a")
    assert (code, "has found nothing yet" in err) == (2, True)
    monkeypatch.setattr(troubled_parts, "IN_THE_WAY", False)
    assert said("resume", "a", "--json")[0] == 0


def test_where_every_run_diverges_there_is_a_code_of_its_own_and_programs_are_told(
    said: Said,
) -> None:
    words = ("small.yaml", *SMALL, "--gamma0", "1e30,1e31,1e32", "--json")
    code, out, err = said("tune-richness", *words)
    assert (code, err) == (3, "")
    told = json.loads(out)
    assert told["gamma0"] is None
    assert told["optimum"]["where"] == "unstable"
    assert told["optimum"]["stable"]["missing"] == {"1e+30": 1, "1e+31": 1, "1e+32": 1}
    assert told["figures"] == []
    assert Path(told["out"]).parent == Path("runs")
    assert Path(told["out"]).name.startswith("small-gamma0-")


def test_runs_that_fail_are_told_of(said: Said) -> None:
    code, _, err = said(
        "tune-richness", "small.yaml", *SMALL, "--method", "small_parts:Raises", "--out", "a"
    )
    assert code == 3
    assert "width 4, gamma0 0.1, seed 0 failed: RuntimeError: the second task is too much" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--width", "x"), "argument --width: invalid int value: 'x'"),
        (("--width", "-4"), "width must be a positive integer, got -4"),
        (("--target-width", "4"), "target_width must be above width"),
        (("--gamma0", "1,a,2"), "--gamma0 must be numbers parted by commas, got '1,a,2'"),
        (("--gamma0", "1,2"), "gamma0 needs three values or more"),
        (("--gamma0", "1,2,nan"), "gamma0 must hold positive finite numbers, got nan"),
        (("--gamma0", "0,1,2"), "gamma0 must hold positive finite numbers, got 0"),
        (("--standard-lr", "-1"), "standard_lr must hold positive finite numbers, got -1"),
        (("--net", "lenet"), "net 'lenet' takes no width, which a narrow copy needs"),
        (("--richness", "sp"), "richness.parametrization is 'sp'"),
        (("--metric", "acc"), "argument --metric: invalid choice: 'acc'"),
        (("--widht", "4"), "unknown option --widht (did you mean '--width'?)"),
    ],
)
def test_what_is_wrong_on_the_line_is_said_in_one(said: Said, words, message: str) -> None:
    code, out, err = said("tune-richness", "small.yaml", *SMALL, *words)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


def test_a_width_is_needed_and_a_study_is_refused(said: Said) -> None:
    code, _, err = said("tune-richness", "small.yaml")
    assert (code, "target_width is needed" in err) == (2, True)
    code, _, err = said("tune-richness", "demo", *SMALL)
    assert (code, "demo is a study; give the configuration of a run" in err) == (2, True)
