"""The analysis ``good_start``, from records to what is said of them."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from start_cases import ARMS, STEPS, good, noise, start_study
from study_cases import study

from holdfast.records import Record, speed_up
from holdfast.records.strict_json import dumps
from holdfast.studies import Findings
from holdfast.studies.axes import read_axes
from holdfast.studies.good_start import Condition, StartAnalysis, measured, start_courses
from holdfast.studies.good_start.text import condition_lines


def condition(seeds: int = 3) -> Condition:
    return Condition(
        {}, {arm: tuple(make(seed) for seed in range(seeds)) for arm, make in ARMS.items()}
    )


def test_measures_by_hand() -> None:
    found = measured(condition(), "random", (0.9, 0.95), task=1)
    values = found["random"].values
    assert values["initial_loss_new"].mean == pytest.approx(2.0)
    assert values["initial_loss_old"].mean == pytest.approx(0.2)
    assert values["initial_loss_all"].mean == pytest.approx(1.1)
    assert values["zero_step_accuracy_new"].mean == 0
    assert values["zero_step_accuracy_all"].mean == pytest.approx(0.45)
    # Before the task the loss was 2 (1 - .84), after the first; now 2 (1 - .45).
    assert values["spike_ratio_all"].mean == pytest.approx(1.1 / 0.32)
    assert values["final_accuracy_all"].mean == pytest.approx(0.87)
    assert found["harmful"].values["lowest_accuracy_old"].mean == pytest.approx(0.1)
    # The least final loss of a seed is that of good: 2 (1 - (.9 + .85 + .01 s) / 2).
    areas = []
    for seed in range(3):
        floor = 2 * (1 - (1.75 + 0.01 * seed) / 2)
        ends = np.array([2 * (1 - (0.9 + 0.84 * x) / 2) for x in (0, 0.25, 0.5, 1, 1)])
        excess = np.maximum(0, ends - floor)
        areas.append(np.sum((excess[1:] + excess[:-1]) / 2 * np.diff(STEPS)))
    assert values["area_above_best"].mean == pytest.approx(np.mean(areas))
    assert found["random"].runs == 3
    assert found["random"].known == {}


def test_gaps_are_against_the_best_start_of_the_seed() -> None:
    found = measured(condition(), "random", (0.95,))
    level = [0.85 + 0.01 * seed for seed in range(3)]
    by_hand = [
        np.mean([max(0, 1 - a / end) for a in (0, 0.21, 0.42, 0.84)]) for end in level
    ]  # the end itself is no evaluation within the task
    assert found["random"].values["plasticity_gap"].mean == pytest.approx(np.mean(by_hand))
    assert found["random"].values["stability_gap"].mean <= 0.05


def test_speed_is_that_of_the_records() -> None:
    compared = condition()
    found = measured(compared, "random", (0.9, 0.95, 0.99))
    for level in (0.9, 0.95, 0.99):
        assert found["good"].speed[level] == speed_up(compared.arms, "random", level)["good"]
    assert found["good"].speed[0.9].immediate == 6
    assert found["harmful"].speed[0.9].censored == 6


def test_what_starts_told_is_gathered() -> None:
    compared = condition(2)
    for record, scale in zip(compared.arms["good"], (10.0, 14.0), strict=True):
        for task in (0, 1, 2):
            record.starts.append(
                {
                    "task": task, "step": 40 * task, "start": "calibrated", "ridge": 0.1,
                    "scale": scale if task else 99.0, "condition": None,
                    "notes": ["few samples", f"shrunk by 0.{task}{scale:.0f}"],
                }
            )  # fmt: skip
    starts = measured(compared, "random", (0.95,))
    assert starts["good"].fitted == {"scale": (12.0, 10.0, 14.0), "ridge": (0.1, 0.1, 0.1)}
    assert starts["good"].notes["few samples"] == 4
    assert len(starts["good"].notes) == 5
    assert (starts["random"].fitted, starts["random"].notes) == ({}, {})
    lines = condition_lines(starts, "random", 0.95, 1.0)
    assert lines[-3:] == [
        "good: scale 12 (10 to 14), ridge 0.1",
        "good: few samples (tasks: 4)",
        "good: shrunk by # (tasks: 4)",
    ]


def test_every_part_is_in_the_result_and_said(tmp_path: Path) -> None:
    findings = start_study(tmp_path)
    result = json.loads(dumps(StartAnalysis()(findings)))
    assert [c["settings"] for c in result["conditions"]] == [
        {"method.memory": 100}, {"method.memory": 200},
    ]  # fmt: skip
    first = result["conditions"][0]
    assert first["best"] == "good"
    told = first["starts"]["good"]
    ratio = told["steps"]["0.95"]["ratio"]
    assert ratio["low"] <= ratio["mean"] <= ratio["high"]
    assert told["initial_loss_all"].keys() == {"mean", "low", "high"}
    lines = result["text"]
    assert lines[0] == "3 starts, 3 seeds, the tasks after the first; sooner than random"
    assert "memory 100" in lines
    assert any(line.startswith("good") and " x [" in line for line in lines)
    said = " ".join(line.strip() for line in lines)
    assert "counted with their length: random 3 at 99 % (of 6); harmful 6 at 90 %, 6 at 95" in said
    assert "tasks at 95 % before the first update, counted as 1: good 6 of 6" in lines
    warned = [line for line in lines if line.startswith("warning")]
    assert warned == [
        "warning: harmful takes 80.0 points from the accuracy on old classes before the first "
        "update"
    ] * 2  # fmt: skip
    assert max(map(len, lines)) <= 132
    assert StartAnalysis(harm=0.9)(findings)["text"].count(warned[0]) == 0


def test_runs_that_failed_or_are_to_come_are_told_of(tmp_path: Path) -> None:
    findings = start_study(tmp_path, lost=("random 100", "good 200"))
    lines = StartAnalysis()(findings)["text"]
    assert "no run of random, with which the others are compared" in lines
    assert sum("no run of" in line for line in lines) == 1
    table = {name: column[:-1] for name, column in findings.table.items()}
    lines = StartAnalysis()(replace(findings, table=table))["text"]
    assert lines[1] == "1 of 18 runs are to come"
    assert "harmful: speed without seeds 2, not known here or of the baseline" in lines


def test_a_run_cut_short_is_not_taken_for_whole(tmp_path: Path) -> None:
    compared = condition()
    cut = compared.arms["good"][0]
    cut.accuracy[2] = cut.loss[2] = np.nan
    found = measured(compared, "random", (0.95,))["good"]
    assert found.known["final_accuracy_all"] == 2
    assert found.speed[0.95].left_out == (0,)
    courses = start_courses(compared)
    assert (courses["good"].lost, len(courses["good"].loss["all"])) == (1, 2)
    assert (courses["random"].lost, len(courses["random"].loss["all"])) == (0, 3)


def test_courses_are_means_over_tasks() -> None:
    found = start_courses(Condition({}, {"random": (noise(0),), "good": (good(1),)}))
    assert found["good"].steps.tolist() == list(STEPS)
    expected = [0.8, 0.815, 0.83, 0.86, 0.86]
    assert found["good"].accuracy["new"][0] == pytest.approx(expected)
    assert found["good"].loss["new"][0] == pytest.approx([2 * (1 - a) for a in expected])
    all_of = (np.array(expected) + 0.9) / 2
    assert start_courses(Condition({}, {"good": (good(1),)}), task=1)["good"].accuracy["all"][
        0
    ] == pytest.approx(all_of)
    three = (np.array(expected) + 1.8) / 3
    assert found["good"].accuracy["all"][0] == pytest.approx((all_of + three) / 2)


def test_findings_give_the_records_of_their_runs(tmp_path: Path) -> None:
    findings = start_study(tmp_path, lost=("good 100",))
    record = findings.record("random 100", 1)
    assert isinstance(record, Record)
    assert record.digest() == noise(1).digest()
    assert findings.record("good 100", 1) is None
    assert findings.record("random 100", 7) is None
    with pytest.raises(ValueError, match="there is no cell 'randm 100'"):
        findings.record("randm 100", 0)
    with pytest.raises(ValueError, match="folder must be that of the study"):
        replace(findings, folder=None).record("random 100", 0)
    findings.save(tmp_path)
    back = Findings.load(tmp_path).record("random 100", 1)
    assert back is not None
    assert back.digest() == record.digest()


def test_a_study_names_it_and_is_checked_before_it_runs() -> None:
    given = {"start": ["carry_on", "fresh"], "training.lr": [0.1, 0.2]}
    starts = study(grid={"start": {"random": "carry_on", "fresh": "fresh"}}, analysis="good_start")
    assert isinstance(starts.analyst(), StartAnalysis)
    axes = read_axes(given, {})
    with pytest.raises(ValueError, match=r"names 'random', which is no value of start.*carry_on"):
        StartAnalysis().check(axes)
    StartAnalysis(baseline="carry_on").check(axes)
    with pytest.raises(ValueError, match=r"names 'strat'.*did you mean 'start'.*varies start"):
        StartAnalysis(start="strat").check(axes)
    with pytest.raises(ValueError, match="the study does not vary; it varies nothing"):
        StartAnalysis().check(())


def test_the_command_analyses_runs_of_a_study(tmp_path: Path) -> None:
    base = {
        "stream": {"name": "split", "dataset": "digits", "tasks": 2},
        "net": {"name": "mlp", "hidden": [8]},
        "method": "joint",
        "training": {"epochs": 1, "evaluate_every": 20, "evaluate_start": True},
    }
    grid = {"start": {"random": "carry_on", "fresh": {"name": "fresh", "part": "heads"}}}
    starts = study(base=base, grid=grid, seeds=1, analysis="good_start", workers=1)
    found = starts.run(tmp_path)
    assert "traceback" not in found.analysis
    told = found.analysis["conditions"][0]["starts"]
    assert told["fresh"]["initial_loss_old"]["mean"] > told["random"]["initial_loss_old"]["mean"]
    assert told["random"]["final_accuracy_all"]["low"] is None  # of one seed


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"levels": (0.9, 95.0)}, r"levels must lie in \(0, 1\], got \[0.9, 95.0\]"),
        ({"level": 0.8}, r"level must be one of levels \[0.9, 0.95, 0.99\], got 0.8"),
        ({"task": 0}, "task must be 1 or more, or None; got 0"),
        ({"harm": -1.0}, "harm must be 0 or more, got -1.0"),
    ],
)
def test_wrong_options(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        StartAnalysis(**options)  # type: ignore[arg-type]
