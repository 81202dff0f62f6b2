"""The analysis ``plasticity``, from records to what is said of them."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from holdfast.cli.shipped import shipped
from holdfast.config import read_config
from holdfast.records import Record
from holdfast.records.intervals import Interval
from holdfast.records.strict_json import dumps
from holdfast.reports import analysis_figures, gap_figure, last_phase_figure, losses_figure
from holdfast.studies import Findings, Serial, Study
from holdfast.studies.axes import read_axes
from holdfast.studies.plan import plan_cells
from holdfast.studies.plasticity import (
    ArmMeasures,
    PlasticityAnalysis,
    arm_measures,
    loss_courses,
    loss_gap,
    phase_courses,
    task_losses,
)
from holdfast.studies.table import table_of

STUDIES = {n: s for n, s in shipped().items() if n.startswith("plasticity/")}


def record(
    seed: int, test: float, stages: int = 1, epochs: int = 10, harder: float = 0.0
) -> Record:
    """Runs that reach `test` at the end of each phase; each task ends with `harder` more loss."""
    made = Record.empty([f"stage {i}" for i in range(stages)], "domain_incremental", seed)
    made.samples, step = [50] * stages, 0
    for task in range(stages):
        for epoch in range(epochs):
            step += 4
            loss = 0.1 + harder * task + 0.01 * seed
            entry = {"task": task, "epoch": epoch, "step": step, "loss": loss, "accuracy": 0.9}
            made.curve.append({**entry, "lr": 0.1})
            row = [test + 0.01 * seed] * stages
            made.evaluations.append({"task": task, "step": step, "accuracy": row, "loss": row})
        made.accuracy[task] = made.loss[task] = test
        made.seconds.append(2.0)
    made.status = "complete"
    gap = {"gap": 0.5, "loss": 1.0, "fresh_loss": 0.5}
    values = {"task": stages - 1, "step": 0, "probe": "Trainability", "values": gap}
    made.probes = [{**values, "on": on} for on in range(stages)]
    return made


def arms(seeds: int = 3) -> dict[str, list[Record]]:
    return {
        "fresh": [record(s, 0.8) for s in range(seeds)],
        "warm": [record(s, 0.75 + 0.001 * s, stages=2, harder=0.2) for s in range(seeds)],
    }


def findings(tmp_path: Path, made: dict[str, list[Record]]) -> Findings:
    rows = []
    for arm, records in made.items():
        for one in records:
            name = f"{arm}{one.seed}"
            one.save(tmp_path / "runs" / name)
            rows.append(
                {"cell": arm, "variant": arm, "seed": one.seed, "status": one.status, "hash": name}
            )
    seeds = tuple(range(len(made["fresh"])))
    return Findings("p", ("variant",), tuple(made), seeds, (), table_of(rows), {}, tmp_path)


def test_measures_by_hand() -> None:
    found = arm_measures(arms(), ["fresh"])
    warm, fresh = found["warm"], found["fresh"]
    assert isinstance(warm, ArmMeasures)
    assert isinstance(fresh, ArmMeasures)
    assert fresh.gaps == {}
    assert warm.gaps["fresh"].mean == pytest.approx(-0.05 + 0.001)
    assert warm.loss_gaps["fresh"] == pytest.approx((0.2, 0.2, 0.2))
    assert warm.first_loss.mean == pytest.approx(0.11)
    assert warm.loss.mean == pytest.approx(0.31)
    assert (warm.updates, warm.seconds.mean, warm.runs, warm.of) == (40, 4.0, 3, 3)
    assert warm.probe_gap.mean == 0.5
    assert task_losses(arms()["warm"][2]) == pytest.approx([0.12, 0.32])
    assert loss_gap(arms()["warm"], arms()["fresh"], phases=1).mean == pytest.approx(0.2)


def test_unequal_budgets_are_said_of_the_arm_that_has_them() -> None:
    made = {**arms(), "long": [record(s, 0.9, epochs=20) for s in range(3)]}
    found = arm_measures(made, ["fresh"])
    assert isinstance(found["warm"], ArmMeasures)
    assert str(found["long"]).startswith("the arms have unequal budgets: at seed 0")


def test_says_both_measures_and_never_one_score(tmp_path: Path) -> None:
    analysis = PlasticityAnalysis(reference=["fresh"])
    told = analysis(findings(tmp_path, arms()))
    text = "\n".join(told["text"])
    assert re.search(r"generalisation, last 30 % .*test %\s+train %\s+test less fresh", text)
    assert re.search(r"warm +3 +76.10 +90.00 +-4.90 \[-5.15, -4.65\] +40 +4.0", text)
    assert re.search(r"trainability, .*first phase +last phase +last less fresh +probe tasks", text)
    assert re.search(r"warm +0.11 +0.31 +\+0.2 \[\+0.2, \+0.2\] +\+0.5 \[\+0.5, \+0.5\]", text)
    json.loads(dumps(told))
    alone = PlasticityAnalysis(measures=["trainability"])(findings(tmp_path, arms()))
    assert "generalisation" not in "\n".join(alone["text"])


def test_of_an_interrupted_study(tmp_path: Path) -> None:
    made = {"fresh": arms()["fresh"], "warm": arms()["warm"][:1]}
    text = "\n".join(PlasticityAnalysis()(findings(tmp_path, made))["text"])
    assert "2 of 6 runs are to come" in text
    assert "-5.00" in text
    without = {"fresh": [], "warm": arms()["warm"]}
    found = findings(tmp_path, without)
    assert "no run of fresh" in "\n".join(PlasticityAnalysis()(found)["text"])


def test_courses_and_figures(tmp_path: Path) -> None:
    made = arms()
    phases = phase_courses(made)
    assert phases["warm"].updates.tolist() == [4.0 * (e + 1) for e in range(10)]
    assert phases["warm"].accuracy == pytest.approx(0.75 + 0.011)
    assert loss_courses(made).keys() == {"warm"}
    assert loss_courses(made)["warm"] == pytest.approx([0.11, 0.31])
    figures = analysis_figures(PlasticityAnalysis(), findings(tmp_path, made))
    assert set(figures) == {"gap to fresh", "last phase", "losses"}
    for make, what in (
        (lambda: gap_figure({}, "fresh"), "gaps"),
        (lambda: last_phase_figure({}, 0.3), "courses"),
        (lambda: losses_figure({}), "courses"),
    ):
        with pytest.raises(ValueError, match=f"{what} must hold one or more arms, got none"):
            make()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reference": []}, "reference must name one or more arms"),
        ({"last": 0.0}, r"last must be a share in \(0, 1\], got 0.0"),
        ({"phases": 0}, "phases must be 1 or more, got 0"),
        ({"measures": ["score"]}, "measures must be of generalisation, trainability; got"),
        ({"measures": []}, "measures must be of generalisation, trainability; got"),
    ],
)
def test_refuses_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PlasticityAnalysis(**options)


def test_refuses_studies_without_arms_or_reference() -> None:
    axes = read_axes({}, {"fresh": {}, "warm": {"stream.stages": 3}})
    PlasticityAnalysis().check(axes)
    with pytest.raises(ValueError, match=r"arm names 'variants', .* \(did you mean 'variant'\?\)"):
        PlasticityAnalysis(arm="variants").check(axes)
    with pytest.raises(ValueError, match=r"reference names 'cold', .* these are fresh, warm"):
        PlasticityAnalysis(reference=["fresh", "cold"]).check(axes)


def test_of_one_arm_each_condition_has_a_row() -> None:
    one, two = Interval(-0.02, -0.03, -0.01), Interval(0.01, 0.0, 0.02)
    (axes,) = gap_figure({"plain": {"warm": one}, "mended": {"warm": two}}, "fresh").axes
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["plain", "mended"]
    assert axes.get_xlabel() == "test accuracy of warm less fresh, points"
    means = [line.get_xdata()[0] for line in axes.lines if len(line.get_xdata()) == 1]
    assert means == pytest.approx([-2.0, 1.0])
    (axes,) = gap_figure({"": {"warm": one, "reset": two}}, "fresh").axes
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["warm", "reset"]


def planned(variants: dict[str, Any], grid: dict[str, Any] | None = None) -> Study:
    base = {
        "stream": {"name": "growing", "dataset": {"name": "digits", "per_class": 8},
                   "validation": 0.5},
        "net": {"name": "mlp", "hidden": [4]},
        "training": {"epochs": 2, "batch_size": 8, "device": "cpu", "evaluate_on": "validation"},
    }  # fmt: skip
    config = {"name": "p", "base": base, "grid": grid or {}, "variants": variants}
    return Study.from_config({**config, "seeds": 1, "analysis": "plasticity"})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"training.epochs": 3}, "'long' makes 15 updates in its last phase, 'fresh' 10"),
        ({"training.batch_size": 4}, "'long' makes 20 updates"),
        ({"stream.validation": 0.4}, "'long' makes 14 updates"),
        (
            {"stream.validation": 0.4, "training.batch_size": 10},
            "'long' is tested on 30 samples, 'fresh' 40; give both the same evaluation split",
        ),
        ({"method": {"name": "joint"}}, "'long' makes 16 updates"),
    ],
)
def test_unequal_budgets_are_refused_before_any_run(
    settings: dict[str, Any], message: str, tmp_path: Path
) -> None:
    arms = {"fresh": {"stream.stages": 1}, "warm": {}, "long": settings}
    with pytest.raises(ValueError, match=f"unequal budgets cannot be compared: cell {message}"):
        planned(arms).run(tmp_path / "out", Serial())
    assert not (tmp_path / "out").exists()


def test_budgets_are_compared_within_a_condition(tmp_path: Path) -> None:
    arms = {"fresh": {"stream.stages": 1}, "short warm": {"training.pretraining_epochs": 1}}
    found = planned(arms, {"training.epochs": [1, 2]}).run(tmp_path, Serial())
    assert "unequal" not in "\n".join(found.analysis["text"])


def tiny(config: dict[str, Any]) -> dict[str, Any]:
    """A shipped study on a few digits, of small nets and short phases."""
    base, training = config["base"], config["base"]["training"]
    base["stream"]["dataset"] = {"name": "digits", "per_class": 16}
    if "tasks" in base["stream"]:
        base["stream"]["tasks"] = 3
        config["analysis"]["phases"] = 2
    training.update(epochs=2, batch_size=16, device="cpu", evaluation_batch=359)
    if "pretraining_epochs" in training:
        training["pretraining_epochs"] = 1
    base["net"].update({"hidden": [6, 6]} if "hidden" in base["net"] else {"width": 2})
    base["probes"] = [{"name": "trainability", "tasks": 1, "steps": 1}] * len(
        base.get("probes", [])
    )
    for value in config.get("grid", {}).get("net", {}).values():
        value["width"] = 2
    if "net.hidden" in config.get("grid", {}):
        config["grid"]["net.hidden"] = {"one": [5], "two": [5, 5]}
    if (stages := config.get("grid", {}).get("stream.stages", {})).get("warm", 1) > 2:
        stages["warm"] = 2
    for settings in config.get("variants", {}).values():
        settings.pop("training.epochs", None)
        if "training.pretraining_epochs" in settings:
            settings["training.pretraining_epochs"] = 1 + (
                settings["training.pretraining_epochs"] % 97
            )
    return {**config, "seeds": 1}


@pytest.mark.parametrize("name", STUDIES)
def test_every_size_of_a_shipped_study_can_be_planned(name: str) -> None:
    for size in STUDIES[name].sizes:
        study = Study.read(STUDIES[name].file(size))
        assert isinstance(study.analyst(), PlasticityAnalysis)
        assert len(study.cells()) >= 4
        assert plan_cells(dict(study.base), study.axes)


@pytest.mark.parametrize("name", STUDIES)
def test_a_tiny_seed_of_each_shipped_study(name: str, tmp_path: Path) -> None:
    size = "cpu"
    config = tiny(read_config(STUDIES[name].file(size)))
    found = Study.from_config(config).run(tmp_path, Serial())
    assert found.errors() == {}
    text = "\n".join(found.analysis["text"])
    assert "failed" not in text
    assert "unequal" not in text
    assert len(found.analysis["conditions"][0]["arms"]) >= 2


def test_a_tiny_residual_net_with_batch_norm(tmp_path: Path) -> None:
    config = tiny(read_config(STUDIES["plasticity/two_stage"].file("cifar10")))
    found = Study.from_config(config).run(tmp_path, Serial())
    assert found.errors() == {}
    gaps = found.analysis["conditions"][0]["arms"]["warm"]["gaps"]
    assert np.isfinite(gaps["fresh"]["mean"])
