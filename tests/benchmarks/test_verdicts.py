"""What scripts that reproduce say and leave."""

import json
from pathlib import Path

import pytest
from benchmarks.telling import telling
from benchmarks.verdicts import Verdict, write_verdicts

from holdfast.studies.progress import Progress


def test_verdicts_are_kept_as_a_table_and_as_findings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = [
        Verdict("it falls", "width", "slope", "-0.1 [-0.2, 0.0]", True),
        Verdict("it rises", "depth", "slope", "0.0 [-0.1, 0.1]", False),
    ]
    write_verdicts(tmp_path, "tides", found, ["", "## width"], size="cpu")
    text = (tmp_path / "summary.md").read_text()
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in text.splitlines()[:4]]
    assert rows[0] == ["claim", "asked of", "measured", "value [95 % interval]", ""]
    assert rows[2] == ["it falls", "width", "slope", "-0.1 [-0.2, 0.0]", "shown"]
    assert rows[3][-1] == "not shown"
    assert text.endswith("\n\n## width\n")
    assert capsys.readouterr().out == text + "\n"
    kept = json.loads((tmp_path / "findings.json").read_text())
    assert kept["format"] == "holdfast tides claims"
    assert kept["size"] == "cpu"
    assert [Verdict(**claim) for claim in kept["claims"]] == found


def test_failures_are_told_at_once_and_the_rest_every_so_often(
    capsys: pytest.CaptureFixture[str],
) -> None:
    tell = telling(every=2)
    for ended, event in enumerate(("complete", "complete", "failed", "diverged"), 1):
        error = "no memory" if event == "failed" else None
        tell(Progress(event, "ewc", ended, error, 4, ended, 0, 1, 90.0))
    tell(Progress("running", "ewc", 4, None, 4, 4, 0, 1, 0.0))
    assert capsys.readouterr().out.splitlines() == [
        "  2/4 ewc, seed 2, 2 min left",
        "  failed: ewc, seed 3: no memory",
        "  4/4 ewc, seed 4, 2 min left",
    ]


def test_a_part_without_a_seed_is_told_without_one(capsys: pytest.CaptureFixture[str]) -> None:
    telling()(Progress("complete", "solution", None, None, 3, 1, 0, 0, 0.0))
    assert capsys.readouterr().out == "  1/3 solution, 0 min left\n"
