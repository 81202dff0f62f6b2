import json

import pytest
from study_cases import Counting, study

from holdfast.studies import Analysis, Findings, Study


def test_an_analysis_is_kept_with_the_findings_and_shown(tmp_path) -> None:
    of = study(analysis={"name": "study_cases:Best", "metric": "la"})
    assert isinstance(of.analyst(), Analysis)
    found = of.run(tmp_path, Counting())
    best = max(found.cells, key=lambda cell: found.mean(cell, "la").mean)
    assert found.analysis["best"] == best
    assert str(found).endswith(f"\n\nbest of 4 runs: {best}")
    written = json.loads((tmp_path / "findings.json").read_text())
    assert written["analysis"] == found.analysis
    back = Findings.load(tmp_path)
    assert back.analysis == found.analysis
    assert str(back) == str(found)


def test_an_analysis_may_be_given_to_a_study_that_is_done(tmp_path) -> None:
    plain = study().run(tmp_path, Counting())
    assert plain.analysis == {}
    assert "analysis" not in json.loads((tmp_path / "findings.json").read_text())
    again = Counting()
    found = study(analysis="study_cases:Best").run(tmp_path, again)
    assert again.jobs == []
    assert found.analysis["text"][0].startswith("best of 4 runs")
    assert Study.read(tmp_path / "study.yaml").analysis == "study_cases:Best"


def test_an_interrupted_study_is_analysed_as_far_as_it_came(tmp_path) -> None:
    of = study(analysis="study_cases:Best")
    with pytest.raises(KeyboardInterrupt):
        of.run(tmp_path, Counting(until=1))
    assert "best of 1 runs: Shrink" in str(Findings.load(tmp_path))


def test_an_analysis_that_fails_costs_no_runs(tmp_path) -> None:
    found = study(analysis={"name": "study_cases:Best", "metric": "lo"}).run(tmp_path, Counting())
    assert len(found.table["seed"]) == 4
    assert "ValueError: there is no metric 'lo'" in found.analysis["traceback"]
    assert "the analysis failed: ValueError: there is no metric 'lo'" in str(found)
    assert Findings.load(tmp_path).analysis == found.analysis


@pytest.mark.parametrize(
    ("analysis", "message"),
    [
        ("study_cases:Worst", "analysis 'study_cases:Worst' cannot be imported"),
        ("study_cases:plain_number", "'study_cases:plain_number' makes a int, not a callable"),
        ({"name": "study_cases:Best", "metrc": "acc"}, "no key 'metrc' .did you mean 'metric'"),
        ({"name": "study_cases:Best", "needs": "net.width"}, "Best needs the axis 'net.width'"),
        ({"metric": "acc"}, "analysis must be a name or a mapping with a name"),
    ],
)
def test_a_wrong_analysis_is_refused_before_any_run(analysis: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        study(analysis=analysis)
