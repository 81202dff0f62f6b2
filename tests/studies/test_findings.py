import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.records.strict_json import loads
from holdfast.studies.findings import LEVEL, Findings
from holdfast.studies.table import TIMES, metric_names, table_of


def findings(cells: dict[str, dict[int, float]], metric: str = "acc", planned: int = 0) -> Findings:
    """Of cells with a value of the metric by seed."""
    names = (*metric_names(), *TIMES)
    rows = [
        {
            "cell": cell, "method": cell, "seed": seed,
            "status": "diverged" if np.isnan(value) else "complete",
            **dict.fromkeys(names, float("nan")), metric: value, "hash": "0", "error": "",
        }
        for cell, values in cells.items()
        for seed, value in values.items()
    ]  # fmt: skip
    seeds = planned or max((len(values) for values in cells.values()), default=1)
    return Findings("it", ("method",), tuple(cells), tuple(range(seeds)), (), table_of(rows))


def exact_interval(values: list[float]) -> tuple[float, float]:
    """The quantiles of the means of all n^n resamples."""
    means = [np.mean(drawn) for drawn in itertools.product(values, repeat=len(values))]
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], method="inverted_cdf")
    return float(low), float(high)


@pytest.mark.parametrize("values", [[0.2, 0.6], [1.0, 4.0, 2.0], [0.1, 0.9, 0.3, 0.35]])
def test_intervals_of_few_seeds_are_those_of_all_resamples(values: list[float]) -> None:
    mean, low, high = findings({"a": dict(enumerate(values))}).mean("a", "acc")
    assert mean == pytest.approx(np.mean(values))
    assert (low, high) == pytest.approx(exact_interval(values), abs=1e-12)


def test_intervals_hold_the_mean_about_as_often_as_they_say() -> None:
    draws = np.random.default_rng(0).normal(size=(300, 20))
    held = 0
    for values in draws:
        _, low, high = findings({"a": dict(enumerate(values.tolist()))}).mean("a", "acc")
        held += low <= 0 <= high
    # Of 20 values the percentile interval holds a little less than it says, near 0.93.
    assert 0.88 < held / 300 < 0.98


@settings(max_examples=20, deadline=None)
@given(
    values=st.lists(st.floats(-1, 1), min_size=2, max_size=6),
    shift=st.floats(-3, 3),
    scale=st.floats(0.1, 10),
)
def test_intervals_move_and_stretch_with_the_values(
    values: list[float], shift: float, scale: float
) -> None:
    plain = findings({"a": dict(enumerate(values))}).mean("a", "acc")
    moved = findings({"a": {i: shift + scale * v for i, v in enumerate(values)}}).mean("a", "acc")
    assert moved == pytest.approx([shift + scale * end for end in plain], abs=1e-9)
    assert plain.low - 1e-12 <= plain.mean <= plain.high + 1e-12


def test_one_seed_has_no_interval_and_none_no_mean() -> None:
    found = findings({"a": {0: 0.5}, "b": {0: float("nan")}, "c": {}})
    assert found.mean("a", "acc") == pytest.approx((0.5, np.nan, np.nan), nan_ok=True)
    assert np.isnan(found.mean("b", "acc")).all()
    assert np.isnan(found.mean("c", "acc")).all()
    assert np.isnan(found.mean("a", "bwt")).all()
    rows = [line.split() for line in found.text(["acc"]).splitlines()[1:]]
    assert rows == [
        ["a", "1", "0.500"],
        ["b", "0", "(1", "diverged)", "-"],
        ["c", "0", "(1", "to", "come)", "-"],
    ]


def test_differences_are_paired_by_seed() -> None:
    a, b = {0: 0.9, 1: 0.5, 2: 0.7, 5: float("nan")}, {2: 0.6, 1: 0.4, 0: 0.8, 5: 0.1, 7: 0.3}
    found = findings({"a": a, "b": b, "c": {9: 1.0}})
    mean, low, high = found.difference("a", "b", "acc")
    # Each seed differs by 0.1, however much the seeds differ.
    assert (mean, low, high) == pytest.approx((0.1, 0.1, 0.1))
    assert found.difference("b", "a", "acc").mean == pytest.approx(-0.1)
    assert np.isnan(found.difference("a", "c", "acc")).all()
    own = found.mean("a", "acc")
    assert own.high - own.low > 0.1


def test_an_infinite_value_leaves_the_ends_unknown(tmp_path) -> None:
    found = findings({"a": {0: 1.0, 1: float("inf")}}, "average_loss")
    assert found.mean("a", "average_loss")[0] == float("inf")
    assert np.isnan(found.mean("a", "average_loss")[1:]).all()
    found.save(tmp_path)
    (cell,) = loads((tmp_path / "findings.json").read_text())["cells"]
    assert cell["metrics"]["average_loss"] == {
        "mean": "Infinity",
        "low": None,
        "high": None,
        "runs": 2,
    }


def test_unknown_names_are_refused_with_the_nearest() -> None:
    found = findings({"replay": {0: 0.5}, "ewc": {0: 0.5}})
    with pytest.raises(
        ValueError, match=r"no cell 'repaly' .did you mean 'replay'.*'replay', 'ewc'"
    ):
        found.mean("repaly", "acc")
    with pytest.raises(ValueError, match=r"no metric 'forgeting' .did you mean 'forgetting'"):
        found.difference("replay", "ewc", "forgeting")
    with pytest.raises(ValueError, match="no cell 'x'"):
        found.runs("x")
    with pytest.raises(ValueError, match="no metric 'x'"):
        found.text(["x"])


def test_values_of_probes_are_metrics_too(tmp_path) -> None:
    name = "P.moved.own"
    found = findings({"a": {0: 1e-6, 1: 3e-6}, "b": {0: 250.0, 1: float("nan")}}, name)
    assert found.mean("a", name) == pytest.approx((2e-6, 1e-6, 3e-6))
    assert found.difference("b", "a", name).mean == pytest.approx(250.0)
    assert found.text([name]).splitlines()[1].split() == ["a", "2", "2e-06", "[1e-06,", "3e-06]"]
    found.save(tmp_path)
    back = Findings.load(tmp_path)
    assert back.text([name]) == found.text([name])
    (cell, _) = loads((tmp_path / "findings.json").read_text())["cells"]
    assert cell["metrics"][name] == {**found.mean("a", name)._asdict(), "runs": 2}
    with pytest.raises(ValueError, match=r"no metric 'P.moved.won' .did you mean 'P.moved.own'"):
        found.values("a", "P.moved.won")


def test_a_value_that_no_run_has_yet_may_be_asked_for() -> None:
    plain = findings({"a": {0: 0.5}})
    found = replace(plain, metrics=("acc", "P.moved"))
    assert found.values("a", "P.moved") == {}
    assert found.text().splitlines()[1].split() == ["a", "1", "0.500", "-"]
    assert found.to_dict()["cells"][0]["metrics"]["P.moved"]["runs"] == 0
    with pytest.raises(ValueError, match=r"no metric 'P.moved'"):
        plain.values("a", "P.moved")


def test_the_text_shows_losses_where_there_are_no_accuracies() -> None:
    found = findings({"a": {0: 2.0, 1: 4.0}}, "average_loss")
    head, row = found.text().splitlines()
    assert head.split() == ["method", "runs", "average_loss", "loss_forgetting"]
    assert row.split() == ["a", "2", "3.000", "[2.000,", "4.000]", "-"]
    marked = found.text(["average_loss"], "markdown").splitlines()
    assert marked[1:] == ["| --- | ---: | ---: |", "| a | 2 | 3.000 [2.000, 4.000] |"]


def test_findings_come_back_from_their_folder(tmp_path) -> None:
    found = findings({"a": {0: 0.5, 1: 0.7}, "b": {0: float("nan"), 1: 0.2}})
    found.save(tmp_path)

    def refuse(constant: str) -> None:
        pytest.fail(f"{constant} is no JSON")

    written = json.loads((tmp_path / "findings.json").read_text(), parse_constant=refuse)
    assert written["cells"][0]["metrics"]["acc"] == {
        **found.mean("a", "acc")._asdict(), "runs": 2
    }  # fmt: skip
    assert written["cells"][1]["runs"] == {"complete": 1, "diverged": 1, "failed": 0}
    assert written["cells"][1]["metrics"]["acc"] == {
        "mean": 0.2, "low": None, "high": None, "runs": 1,
    }  # fmt: skip
    back = Findings.load(tmp_path)
    assert str(back) == str(found)
    assert (back.cells, back.seeds, back.axes) == (found.cells, found.seeds, found.axes)


def test_a_folder_without_findings_is_refused(tmp_path) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"holds no findings.json; give the folder of a study"
    ):
        Findings.load(tmp_path)
    path = tmp_path / "findings.json"
    for text, message in (
        ('{"format"', "cut short or no JSON"),
        ("[]", "holds no findings"),
        ('{"format": "holdfast findings", "version": 9}', "is of version 9; this reads 1"),
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=message):
            Findings.load(tmp_path)
