"""The analysis ``richness``, from a table to what is said of it."""

import json
import math
from typing import Any

import numpy as np
import pytest
from study_cases import Counting, study

from holdfast.records.strict_json import dumps
from holdfast.studies import Findings, Study
from holdfast.studies.axes import read_axes
from holdfast.studies.richness import GammaAnalysis, agreement, collapse_quality, fit_exponents
from holdfast.studies.table import table_of

GRID = [0.01, 0.032, 0.1, 0.32, 1.0, 3.2]
WIDTHS = (32, 64, 128)
X, WIDTH, SCALE = "richness.gamma0", "net.width", "richness.parametrization"


def findings(seeds: int = 3, ended: int | None = None, diverges: float = 10.0) -> Findings:
    """Of muP, where widths agree, and NTP, where gamma0 is to be read in units of width^-1/2."""
    draws = np.random.default_rng(0)
    rows, cells = [], []
    for scale in ("mup", "ntp"):
        for width in WIDTHS:
            for gamma0 in GRID:
                cells.append(f"{scale} {width} {gamma0}")
                for seed in range(seeds):
                    g = gamma0 * (1 if scale == "mup" else (width / 64) ** -0.5)
                    cfr = 0.4 * g**2 / (1 + g**2) + 0.001 * draws.normal()
                    ae = 0.3 + 0.02 * seed + 0.03 * math.log10(g / 0.15) ** 2
                    lost = gamma0 > diverges
                    row = {"cell": cells[-1], SCALE: scale, WIDTH: width, X: gamma0, "seed": seed}
                    row["status"] = "diverged" if lost else "complete"
                    row["ae"] = math.nan if lost else ae + 0.001 * draws.normal()
                    row["cfr"] = math.nan if lost else cfr
                    rows.append(row)
    table = table_of(rows[: len(rows) if ended is None else ended])
    return Findings("widths", (SCALE, WIDTH, X), tuple(cells), tuple(range(seeds)), (), table)


def test_curves_are_the_columns_of_the_table_in_order() -> None:
    found = findings()
    mup, ntp = GammaAnalysis().groups(found, "ae")
    assert (mup.settings, mup.label) == ({SCALE: "mup"}, "parametrization mup")
    assert [curve.settings for curve in ntp.curves] == [{WIDTH: width} for width in WIDTHS]
    for group in (mup, ntp):
        for curve in group.curves:
            assert curve.gamma0.tolist() == GRID
            for (seed, place), value in np.ndenumerate(curve.values):
                (row,) = np.flatnonzero(
                    (found.table["cell"] == f"{group.settings[SCALE]} {curve.settings[WIDTH]} "
                     f"{GRID[place]}") & (found.table["seed"] == seed)
                )  # fmt: skip
                assert value == found.table["ae"][row]


def test_every_part_is_in_the_result_and_said() -> None:
    analysis = GammaAnalysis(rescale={WIDTH: -0.5})
    result = json.loads(dumps(analysis(findings())))
    assert (result["x"], result["error"], result["forgetting"]) == (X, "ae", "cfr")
    mup, ntp = result["groups"]
    assert [curve["settings"] for curve in mup["curves"]] == [{WIDTH: w} for w in WIDTHS]
    for curve in mup["curves"]:
        assert curve["optimum"]["where"] == "interior"
        assert curve["optimum"]["refined"]["mean"] == pytest.approx(0.15, rel=0.2)
        assert curve["plateau_departure"]["kind"] == "found"
        assert curve["steepest_slope"]["gamma0"]["mean"] in GRID
    assert mup["agreement"]["overlap"] is True
    low, high = (mup["law"]["values"][WIDTH][end] for end in ("low", "high"))
    assert low < 0.1
    assert high > -0.1
    assert ntp["law"]["values"][WIDTH]["mean"] == pytest.approx(0.5, abs=0.15)
    assert [tried["kind"] for tried in ntp["collapse"]] == ["as it is", "rescaled", "fitted"]
    as_it_is, rescaled, _ = (tried["cfr"]["spread"] for tried in ntp["collapse"])
    assert rescaled < 0.2 * as_it_is
    lines = result["text"]
    assert lines[0] == "ae and cfr against richness.gamma0, 3 seeds"
    assert "parametrization ntp" in lines
    assert any(line.startswith("width 64") and "interior" in line for line in lines)
    assert "3 of 3 have an interior optimum; their intervals share [0.1, 0.1]" in lines
    assert any(line.startswith("gamma0* goes as width^(") for line in lines)
    assert any(line.startswith("gamma0 width^-0.5  ") for line in lines)
    assert max(map(len, lines)) <= 110


def test_the_parts_are_those_of_the_functions() -> None:
    analysis, found = GammaAnalysis(), findings()
    result = analysis(found)
    errors = analysis.groups(found, "ae")[1].curves
    group = result["groups"][1]
    law = fit_exponents(errors, [WIDTH])
    assert law is not None
    assert group["law"]["values"][WIDTH] == law.values[WIDTH]._asdict()
    optima = [analysis.optimum(curve) for curve in errors]
    assert group["agreement"]["decades"] == agreement(errors, optima).decades
    forgettings = analysis.groups(found, "cfr")[1].curves
    assert group["collapse"][0]["cfr"] == collapse_quality(forgettings)._asdict()
    fitted = collapse_quality(forgettings, {WIDTH: -law.values[WIDTH].mean})
    assert group["collapse"][1]["cfr"] == fitted._asdict()


def test_runs_that_diverge_are_told_of() -> None:
    result = GammaAnalysis()(findings(diverges=1.0))
    stable = result["groups"][0]["curves"][0]["optimum"]["stable"]
    assert (stable["every"], stable["missing"]) == (1.0, {"3.2": 3})
    said = "all: every seed has a finite value up to gamma0 1; not: 3 of 3 at 3.2"
    assert result["text"].count(said) == 2
    result = GammaAnalysis()(findings(diverges=0.0))
    assert "all: none: at no gamma0 has every seed a finite value" in result["text"]
    assert result["groups"][0]["agreement"]["overlap"] is None
    assert dumps(result)


def test_an_unfinished_table_says_so_and_what_is_to_come_is_no_divergence() -> None:
    # The last gamma0 of width 64 in muP has one of three seeds.
    result = GammaAnalysis()(findings(ended=2 * 18 - 2))
    assert result["text"][1].startswith("74 of 108 runs are to come; ")
    (group,) = result["groups"]
    assert [len(curve["gamma0"]) for curve in group["curves"]] == [6, 5]
    assert group["curves"][1]["optimum"]["stable"]["missing"] == {}
    assert GammaAnalysis()(findings(ended=1))["groups"] == []


def test_one_seed_gives_no_intervals_and_no_verdicts() -> None:
    result = GammaAnalysis()(findings(seeds=1))
    assert result["text"][0].endswith(", 1 seed")
    curve = result["groups"][0]["curves"][0]
    assert curve["optimum"]["where"] == "undecided"
    assert result["groups"][0]["law"] is None
    assert dumps(result)


def test_a_single_curve_and_no_forgetting() -> None:
    found = findings()
    kept = (found.table[SCALE] == "mup") & (found.table[WIDTH] == 64)
    table = {name: column[kept] for name, column in found.table.items()}
    alone = Findings("one", (X,), tuple(dict.fromkeys(table["cell"])), (0, 1, 2), (), table)
    result = GammaAnalysis(forgetting=None)(alone)
    assert result["text"][0] == "ae against richness.gamma0, 3 seeds"
    assert result["text"][2].split() == ["gamma0*", "by", "a", "parabola", "optimum"]
    assert result["text"][3].startswith("all")
    assert set(result["groups"][0]["curves"][0]) == {"settings", "gamma0", "optimum"}


def test_axes_of_names_keep_curves_apart_unless_they_are_asked_for() -> None:
    found = findings()
    one, _, last = GammaAnalysis(by=SCALE).groups(found, "ae")
    assert one.settings == {WIDTH: 32}
    assert [curve.settings for curve in last.curves] == [{SCALE: "mup"}, {SCALE: "ntp"}]
    assert GammaAnalysis(by=SCALE)(found)["groups"][0]["law"] is None
    (all_,) = GammaAnalysis(by=[SCALE, WIDTH]).groups(found, "ae")
    assert [curve.label for curve in all_.curves][:2] == [
        "parametrization mup, width 32", "parametrization mup, width 64",
    ]  # fmt: skip


def test_a_study_is_analysed_by_its_short_name(tmp_path) -> None:
    given: dict[str, Any] = {
        "grid": {"training.lr": [0.01, 1.0, 1e30], "net.width": [2, 3]},
        "analysis": {"name": "richness", "x": "training.lr", "rescale": {"net.width": 0.5}},
    }
    found = study(**given).run(tmp_path, Counting())
    assert "traceback" not in found.analysis
    assert len(found.analysis["groups"][0]["curves"]) == 2
    analyst = Study.read(tmp_path / "study.yaml").analyst()
    assert isinstance(analyst, GammaAnalysis)
    assert (analyst.x, analyst.rescale) == ("training.lr", {"net.width": 0.5})
    shown = str(Findings.load(tmp_path))
    assert "ae and cfr against training.lr, 2 seeds" in shown
    assert "up to lr 1; not: 2 of 2 at 1e+30" in shown


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": -1.0}, "k must be 0 or more, got -1.0"),
        ({"error": "aee"}, "asks for 'aee', which is none .did you mean 'ae'"),
        ({"draw": ["drift"]}, "asks for 'drift', which is none"),
        ({"x": "richness.gama0"}, "analysis.x names 'richness.gama0', .*mean 'richness.gamma0'"),
        ({"by": "net.depth"}, "analysis.by names 'net.depth', which the study does not vary"),
        ({"rescale": {"lr": 0.5}}, "analysis.rescale names 'lr', .* it varies richness.gamma0, "),
        ({"by": [X, "net.width"]}, f"analysis.by names {X}, which is the axis along the curves"),
        ({"x": "variant"}, "variant must be a list of positive numbers, got .'a'"),
        ({"x": "similarity"}, r"similarity must be a list of positive numbers, got .0\.0"),
        ({"rescale": {"similarity": 1.0}}, r"takes positive numbers that part .*similarity is .0"),
        ({"by": "net.width", "rescale": {"eta": 1.0}}, "that part the curves .net.width., eta is"),
    ],
)
def test_what_does_not_fit_is_refused_before_any_run(options: dict, message: str) -> None:
    grid = {
        X: [0.1, 1.0], "net.width": [32, 64], "eta": [1.0, 2.0], "similarity": [0.0, 0.5],
    }  # fmt: skip
    axes = read_axes(grid, {"a": {"b": 1}})
    with pytest.raises(ValueError, match=message):
        GammaAnalysis(**options).check(axes)


def test_an_unknown_short_name_is_told_of_with_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"'richnes' is unknown .did you mean 'richness'"):
        study(analysis="richnes")


def test_a_column_that_no_run_has_is_told_of() -> None:
    with pytest.raises(ValueError, match=r"no column 'Drift\.drift'; it has cell, "):
        GammaAnalysis(error="Drift.drift")(findings())
