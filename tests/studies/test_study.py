import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from study_cases import BASE, Counting, study

import small_parts
from holdfast.cli.plotting import study_figures
from holdfast.config import run_config
from holdfast.records.record import Record
from holdfast.studies import Findings, Progress, Study, read_table


def digests(of: Study, out: Path) -> list[str]:
    return [Record.load(run.folder(out)).digest() for run in of.runs()]


def test_a_study_leaves_its_runs_its_table_and_its_findings(tmp_path) -> None:
    events: list[Progress] = []
    found = study().run(tmp_path, Counting(), events.append)
    table = read_table(tmp_path / "table.parquet")
    assert list(table) == list(found.table)
    for name, column in table.items():
        np.testing.assert_array_equal(column, found.table[name])
    assert table["cell"].tolist() == ["Shrink", "Shrink", "Halts", "Halts"]
    assert table["method"].tolist() == ["Shrink", "Shrink", "Halts", "Halts"]
    assert table["seed"].tolist() == [0, 1, 0, 1]
    assert table["status"].tolist() == ["complete"] * 4
    assert table["error"].tolist() == [""] * 4
    for i, run in enumerate(study().runs()):
        record = Record.load(tmp_path / "runs" / table["hash"][i])
        assert record.digest() == run_config(run.config).digest()
        assert {k: table[k][i] for k in record.metrics()} == pytest.approx(
            record.metrics(), rel=0, abs=0, nan_ok=True
        )
        assert table["seconds"][i] == sum(record.seconds)
        assert table["cpu_seconds"][i] == sum(record.cpu_seconds)
    kinds = [event.event for event in events]
    assert kinds == ["begin", *["running", "complete"] * 4, "end"]
    assert [event.ended for event in events] == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert str(Findings.load(tmp_path)) == str(found)


def test_a_study_that_is_done_runs_nothing_and_more_seeds_run_alone(tmp_path) -> None:
    first = study().run(tmp_path, Counting())
    again = Counting()
    second = study().run(tmp_path, again)
    assert again.jobs == []
    assert second.text() == first.text()
    more = Counting()
    study(seeds=[1, 2]).run(tmp_path, more)
    assert [job.config["seed"] for job in more.jobs] == [2, 2]


@pytest.mark.parametrize("until", [0, 1, 3])
def test_an_interrupted_study_goes_on_where_it_stopped(tmp_path, until: int) -> None:
    with pytest.raises(KeyboardInterrupt):
        study().run(tmp_path, Counting(until))
    assert (tmp_path / "table.parquet").exists() == (until > 0)
    if until:
        assert len(read_table(tmp_path / "table.parquet")["seed"]) == until
        assert "to come" in Findings.load(tmp_path).text()
    rest = Counting()
    found = study().run(tmp_path, rest)
    assert len(rest.jobs) == 4 - until
    assert len(found.table["seed"]) == 4
    assert "to come" not in found.text()


def test_while_more_cells_are_run_the_folder_knows_them(tmp_path) -> None:
    shrinking = {**BASE, "method": "small_parts:Shrink"}
    study(grid={"method.strength": [1.0]}, base=shrinking).run(tmp_path, Counting())
    known = []
    more = study(grid={"method.strength": [2.0, 1.0]}, base=shrinking)
    more.run(tmp_path, Counting(), listener=lambda _: known.append(Findings.load(tmp_path).cells))
    # the table of runs that end meanwhile may name them all
    assert set(known) == {("2.0", "1.0")}


def test_a_killed_study_goes_on_in_the_middle_of_a_run(tmp_path, monkeypatch) -> None:
    """A real SIGKILL, with a worker amid the run of seed 1, which must not live on."""
    base = {**BASE, "method": "small_parts:Halts"}
    base["training"] = {**BASE["training"], "checkpoint_minutes": 0}
    whole = study(grid={"method.after": [6]}, base=base)
    whole.run(tmp_path / "whole", Counting())
    out, halted = tmp_path / "killed", tmp_path / "halted"
    script = (
        "import sys, yaml\n"
        "from holdfast.studies import ProcessPool, Study\n"
        "Study.from_config(yaml.safe_load(sys.argv[2])).run(sys.argv[1], ProcessPool(1))\n"
    )
    config = yaml.safe_dump(whole.to_config())
    environment = {
        **os.environ, "HOLDFAST_TEST_HALT": str(halted), "PYTHONPATH": os.pathsep.join(sys.path),
    }  # fmt: skip
    process = subprocess.Popen([sys.executable, "-c", script, str(out), config], env=environment)
    first, second = whole.runs()
    try:
        until = time.monotonic() + 120
        while not halted.exists() or first.record(out) is None:
            assert process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.05)
    finally:
        process.kill()
        process.wait()
    worker = int(halted.read_text())
    while alive(worker):
        assert time.monotonic() < until
        time.sleep(0.05)
    assert second.record(out) is None

    steps = []
    kept = small_parts.Halts.after_step
    monkeypatch.setattr(
        small_parts.Halts, "after_step", lambda self, *given: steps.append(1) or kept(self, *given)
    )
    rest = Counting()
    whole.run(out, rest)
    assert [job.config["seed"] for job in rest.jobs] == [1]
    assert len(steps) == 4  # of 10: it was killed in the seventh
    assert digests(whole, out) == digests(whole, tmp_path / "whole")


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_run_that_fails_is_told_of_and_tried_again(tmp_path) -> None:
    events: list[Progress] = []
    methods = [f"small_parts:{name}" for name in ("Shrink", "Raises", "Explodes")]
    of = study(grid={"method": methods})
    found = of.run(tmp_path, Counting(), events.append)
    statuses = ["complete"] * 2 + ["failed"] * 2 + ["diverged"] * 2
    assert found.table["status"].tolist() == statuses
    assert found.runs("Raises") == {"complete": 0, "diverged": 0, "failed": 2}
    assert list(found.errors()) == [("Raises", 0), ("Raises", 1)]
    for error in found.errors().values():
        assert error.strip().endswith("RuntimeError: the second task is too much")
    assert np.isnan(found.table["acc"]).tolist() == [False] * 2 + [True] * 4
    assert [
        event.event for event in events if event.event not in ("begin", "running", "end")
    ] == statuses
    assert events[-1].failed == 2
    assert "too much" in str(next(event.error for event in events if event.event == "failed"))
    rows = [line.split() for line in found.text().splitlines()]
    assert rows[2] == ["Raises", "0", "(2", "failed)", "-", "-"]
    assert rows[3] == ["Explodes", "0", "(2", "diverged)", "-", "-"]
    again = Counting()
    of.run(tmp_path, again)
    assert {job.config["method"]["name"] for job in again.jobs} == {"small_parts:Raises"}


def test_a_bad_cell_is_refused_before_anything_is_written(tmp_path) -> None:
    out = tmp_path / "out"
    for grid in ({"method": ["finetune", "ewk"]}, {"stream.tasks": [2, 9]}):
        executor = Counting()
        with pytest.raises(ValueError, match=r"cell '(ewk|9)': "):
            study(grid=grid).run(out, executor)
        assert executor.jobs == []
        assert not out.exists()


def test_a_record_of_another_configuration_is_not_taken(tmp_path) -> None:
    run, other = study().runs()[:2]
    run_config(other.config, out=run.folder(tmp_path))
    found = study().run(tmp_path, Counting())
    assert "holds another run" in found.errors()[("Shrink", 0)]


def test_a_damaged_record_is_made_again(tmp_path) -> None:
    of = study()
    of.run(tmp_path, Counting())
    before = digests(of, tmp_path)
    path = of.runs()[0].folder(tmp_path) / "record.json"
    path.write_text(path.read_text()[:100])
    again = Counting()
    of.run(tmp_path, again)
    assert len(again.jobs) == 1
    assert digests(of, tmp_path) == before


def test_folders_of_something_else_are_refused(tmp_path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"out must be a folder, .* is a file"):
        study().run(tmp_path / "file", Counting())
    run_config(study().runs()[0].config, out=tmp_path / "run")
    with pytest.raises(ValueError, match="holds a run; give the study a folder of its own"):
        study().run(tmp_path / "run", Counting())
    study(seeds=1).run(tmp_path / "study", Counting())
    with pytest.raises(ValueError, match="holds the study 'study', this one is 'other'"):
        study(name="other").run(tmp_path / "study", Counting())


def test_a_config_and_its_file_make_the_same_study(tmp_path) -> None:
    config = {
        "name": "lrs", "base": BASE, "grid": {"training.lr": [0.1, 1]}, "seeds": [3, 5],
        "variants": {10: {"net.width": 2}}, "metrics": ["acc", "seconds"], "workers": None,
    }  # fmt: skip
    of = Study.from_config(config)
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(of.to_config()))
    read = Study.read(tmp_path / "study.yaml")
    assert [run.hash for run in read.runs()] == [run.hash for run in of.runs()]
    assert [run.seed for run in of.runs()] == [3, 5, 3, 5]
    assert read.metrics == of.metrics == ("acc", "seconds")
    assert [run.seed for run in study(seeds=3).runs()] == [0, 1, 2] * 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": 3}, "study has no key 'seed' .did you mean 'seeds'"),
        ({"gird": {}}, "study has no key 'gird' .did you mean 'grid'"),
        ({"seeds": 0}, "seeds must be 1 or more, or a list of seeds; got 0"),
        ({"seeds": []}, r"seeds must be their number or a list of them, got \[\]"),
        ({"seeds": [0, -1]}, "seeds must be non-negative integers, got -1"),
        ({"seeds": [0, 0]}, "seeds holds 0 twice"),
        ({"metrics": ["forgeting"]}, "metrics holds 'forgeting', .*did you mean 'forgetting'"),
        ({"workers": 0}, "workers must be a positive integer, got 0"),
        ({"name": " "}, "name must be a text, got ' '"),
        ({"grid": {"training.lr": 0.1}}, "grid.training.lr must be a list"),
    ],
)
def test_a_wrong_study_is_refused(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Study.from_config({"base": BASE, **changes})


PROBED = {**BASE, "probes": ["feature_movement", "small_parts:Weight"]}


def test_values_of_probes_are_columns(tmp_path) -> None:
    metrics = ["acc", "FeatureMovement.moved", "Weight.norm.own"]
    of = study(base=PROBED, metrics=metrics, grid={"training.lr": [0.01, 0.1]})
    found = of.run(tmp_path, Counting())
    for i, run in enumerate(of.runs()):
        means = Record.load(tmp_path / "runs" / found.table["hash"][i]).probe_means()
        assert set(means) >= {*metrics[1:], "FeatureMovement.drift", "Weight.norm"}
        assert {name: found.table[name][i] for name in means} == means
        assert run.seed == found.table["seed"][i]
    assert not np.isnan([found.mean(cell, "FeatureMovement.moved") for cell in found.cells]).any()
    assert found.text().splitlines()[0].split() == ["training.lr", "runs", *metrics]
    assert str(Findings.load(tmp_path)) == str(found)
    figures = {path.name for path in study_figures(tmp_path, tmp_path / "figures")}
    assert "FeatureMovement-moved-training-lr.png" in figures
    # more of the study without probes: what is there stays, the rest is unknown
    more = study(base=BASE, grid={"training.lr": [0.01, 0.5]}, seeds=1)
    assert "FeatureMovement.moved" not in more.run(tmp_path, Counting()).table


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        ("FeatureMovement.mvoed", "did you mean 'FeatureMovement.moved'.*probes are set in base"),
        ("FeatureMovement.moved.end", "holds 'FeatureMovement.moved.end', which no probe of"),
        ("EffectiveRank.effective_rank", "which no probe of the study measures; they measure Fea"),
        ("feature_movement.moved", "did you mean 'FeatureMovement.moved'"),
    ],
)
def test_a_metric_that_no_probe_measures_is_refused(metric: str, message: str, tmp_path) -> None:
    with pytest.raises(ValueError, match=message):
        study(base=PROBED, metrics=[metric]).run(tmp_path / "out", Counting())
    assert not (tmp_path / "out").exists()


def test_probes_may_be_varied_and_need_not_tell_what_they_measure() -> None:
    grid = {"probes": {"none": [], "one": ["effective_rank"]}}
    study(grid=grid, metrics=["EffectiveRank.effective_rank.own"]).cells()
    with pytest.raises(ValueError, match="no probe of the study measures; there are none; probes"):
        study(metrics=["EffectiveRank.effective_rank"]).cells()
    study(base=PROBED, metrics=["Weight.anything"]).cells()


def test_a_study_needs_a_base() -> None:
    with pytest.raises(ValueError, match="study lacks 'base'"):
        Study.from_config({"seeds": 3, "base": None})


def test_pyarrow_is_asked_for_before_any_work(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(ImportError, match=r"table of a study needs .*holdfast\[data\]"):
        study().run(tmp_path / "out", Counting())
    assert not (tmp_path / "out").exists()
