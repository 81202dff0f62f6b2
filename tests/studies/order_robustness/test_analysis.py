"""The analysis ``order_robustness``, from records to what is said of them."""

import json
from pathlib import Path

import numpy as np
import pytest
from ordered_runs import arms, crossed
from study_cases import study

from holdfast.cli.shipped import shipped
from holdfast.records.strict_json import dumps
from holdfast.reports import analysis_figures, course_figure, fan_figure
from holdfast.streams import task_order
from holdfast.studies import Findings, Study
from holdfast.studies.axes import read_axes
from holdfast.studies.order_robustness import (
    OrderAnalysis,
    Robustness,
    finals_of,
    robustness,
)
from holdfast.studies.plan import plan_cells
from holdfast.studies.table import table_of


def order_study(folder: Path, lost: bool = False) -> Findings:
    """Two methods at four orders and three seeds: one that knows no order and one that does."""
    rng = np.random.default_rng(0)
    effects = {"knows none": 0.0, "minds it": 0.1 * rng.standard_normal((4, 4))}
    rows, cells = [], []
    for method, effect in effects.items():
        made = arms(np.clip(crossed(rng, (4, 3, 4), effect), 0, 1))
        for label, records in made.items():
            cells.append(f"{method} {label}")
            for run in records:
                name = f"{method}{label}{run.seed}".replace(" ", "")
                failed = lost and method == "minds it" and label == "A" and run.seed < 2
                run.save(folder / "runs" / name)
                measured = run.metrics()
                rows.append(
                    {
                        "cell": cells[-1], "method": method, "order": label, "seed": run.seed,
                        "status": "failed" if failed else "complete", "hash": name,
                        "acc": measured["acc"], "bwt": measured["bwt"], "error": "",
                        "seconds": 4.0, "cpu_seconds": 3.0, "LearnerSize.growth": 0.25,
                    }
                )  # fmt: skip
    axes, table = ("method", "order"), table_of(rows)
    return Findings("orders", axes, tuple(cells), (0, 1, 2), (), table, {}, folder)


def test_every_part_is_in_the_result_and_said(tmp_path: Path) -> None:
    findings = order_study(tmp_path)
    result = json.loads(dumps(OrderAnalysis()(findings)))
    assert list(result["methods"]) == ["knows none", "minds it"]
    minds = result["methods"]["minds it"]
    assert minds["settings"] == {"method": "minds it"}
    assert minds["aopd"]["excess"]["low"] > 0
    assert minds["aopd"]["chance"] < 0.01
    assert minds["tasks"]["a"]["opd"]["value"]["mean"] == pytest.approx(
        np.ptp(list(minds["tasks"]["a"]["finals"].values()))
    )
    assert minds["means"]["acc"]["mean"] == pytest.approx(
        np.mean([list(task["finals"].values()) for task in minds["tasks"].values()])
    )
    assert minds["variance"]["task_by_order"] > minds["variance"]["seed"] / 2
    lines = result["text"]
    assert lines[0] == "4 tasks in 4 orders, 3 seeds at each"
    assert sum(line.startswith("knows none") for line in lines) == 3
    head = next(line for line in lines if line.startswith("means"))
    assert head.split()[5:] == [
        "acc", "bwt", "growth", "seconds", "cpu_seconds", "task", "order", "task", "x", "order",
        "seed",
    ]  # fmt: skip
    assert max(map(len, lines)) <= 160


def test_runs_that_failed_take_their_seed_out(tmp_path: Path) -> None:
    result = OrderAnalysis(show=["la"])(order_study(tmp_path, lost=True))
    assert "minds it: 6 runs of seeds without a whole run at every order" in result["text"]
    assert result["text"][-1].startswith("one seed has no noise floor")
    assert result["methods"]["minds it"]["seeds"] == [2]


def test_figures_show_each_method(tmp_path: Path) -> None:
    findings = order_study(tmp_path)
    figures = analysis_figures(OrderAnalysis(), findings)
    assert list(figures) == ["orders", "courses by order"]
    fan = figures["orders"]
    assert len(fan.axes) == 2
    assert fan.axes[0].get_title().startswith("knows none: AOPD 0.0")
    measured = OrderAnalysis().measured(findings)
    method = measured["minds it"]
    assert isinstance(method, Robustness)
    # Each order's markers stand at its means, tasks from the hardest on.
    shown = [line.get_ydata() for line in fan.axes[1].lines if len(line.get_xdata()) == 4]
    np.testing.assert_allclose(np.sort(shown[0]), np.sort(method.finals.means[0]))
    for make in (fan_figure, course_figure):
        with pytest.raises(ValueError, match="methods must name one or more"):
            make({})
        others = robustness(finals_of(arms(np.full((2, 2, 2), 0.5), {"A": "xy", "B": "yx"})))
        with pytest.raises(ValueError, match="'other' is over others"):
            make({"minds it": method, "other": others})


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ({"method": ["finetune", "ewc"]}, "'order', which the study does not vary.*varies method"),
        ({"order": [[0, 1]]}, "order must have two values or more to compare, it has one"),
    ],
)
def test_a_study_without_orders_is_refused(grid: dict[str, list[object]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        OrderAnalysis().check(read_axes(grid, {}))
    with pytest.raises(ValueError, match=r"analysis\.show names 'axc', which is none.*'acc'"):
        OrderAnalysis(show=["axc"])


def test_runs_of_a_study_are_analysed_by_their_order(tmp_path: Path) -> None:
    grid = {"order": {"A": [0, 1], "B": [1, 0]}}
    found = study(grid=grid, seeds=2, analysis="order_robustness", workers=1).run(tmp_path / "out")
    told = found.analysis["methods"]["all runs"]
    assert (told["orders"], told["seeds"]) == (["A", "B"], [0, 1])
    assert "2 tasks in 2 orders, 2 seeds at each" in str(found)


def test_single_task_on_digits_has_the_disparity_of_its_floor(tmp_path: Path) -> None:
    made = Study(
        base={
            "stream": {"name": "split", "dataset": "digits", "tasks": 5,
                       "scenario": "task_incremental"},
            "net": {"name": "mlp", "hidden": [16]},
            "training": {"epochs": 1, "optimizer": "adam", "lr": 0.01, "evaluate_tasks": "seen"},
        },
        grid={
            "method": ["single_task", "finetune"],
            "order": [[0, 1, 2, 3, 4], [1, 2, 3, 4, 0], [2, 3, 4, 0, 1], [4, 0, 1, 2, 3]],
        },
        seeds=4,
        analysis="order_robustness",
        workers=1,
    )  # fmt: skip
    told = made.run(tmp_path / "out").analysis["methods"]
    alone, shared = told["single_task"]["aopd"], told["finetune"]["aopd"]
    assert alone["excess"]["low"] <= 0 <= alone["excess"]["high"]
    assert alone["chance"] > 0.05
    assert shared["value"]["mean"] > 2 * alone["value"]["mean"]
    assert shared["chance"] < 0.05


@pytest.mark.parametrize("name", [n for n in shipped() if n.startswith("order_robustness/")])
def test_shipped_studies_are_whole(name: str) -> None:
    one = shipped()[name]
    for size in one.sizes:
        made = Study.read(one.file(size))
        assert isinstance(made.analyst(), OrderAnalysis)
        axes = {axis.name: [choice.label for choice in axis.choices] for axis in made.axes}
        labels = axes.get("variant", axes.get("method", []))
        assert {"finetune", "single task", "HALRP"} <= set(labels)
        orders = next(axis for axis in made.axes if axis.name == "order").choices
        tasks = made.base["stream"].get("tasks", 20)
        for choice in orders:
            order = choice.settings["order"]
            count = len(order) if isinstance(order, list) else tasks
            assert sorted(task_order(order, count)) == list(range(count))
    # Each method once; other sizes differ in their data.
    base, variants = {**made.base, "order": None}, made.variants
    grid = {key: values for key, values in made.grid.items() if key != "order"}
    assert len(plan_cells(base, read_axes(grid, variants))) == len(labels)
