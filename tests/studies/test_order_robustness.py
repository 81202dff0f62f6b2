"""The analysis ``order_robustness``, from records to what is said of them."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from study_cases import study

from holdfast.cli.shipped import shipped
from holdfast.records import Record, average_order_disparity, order_disparity
from holdfast.records.strict_json import dumps
from holdfast.reports import analysis_figures, course_figure, fan_figure
from holdfast.streams import task_order
from holdfast.studies import Findings, Study
from holdfast.studies.axes import read_axes
from holdfast.studies.order_robustness import (
    OrderAnalysis,
    Robustness,
    components,
    disparities,
    finals_of,
    places,
    robustness,
)
from holdfast.studies.order_robustness.noise import expected_range, residuals, spread
from holdfast.studies.plan import plan_cells
from holdfast.studies.table import table_of

CYCLES = {"A": "abcd", "B": "bcda", "C": "cdab", "D": "dabc"}


def record(names: str, finals: dict[str, float], seed: int = 0) -> Record:
    """A run over tasks in this order that ends at these accuracies, and forgot nothing."""
    made = Record.empty(list(names), "task_incremental", seed)
    row = [finals[name] for name in names]
    made.accuracy[:] = np.where(np.tri(len(row)) > 0, row, np.nan)
    made.status = "complete"
    made.seconds = made.cpu_seconds = [1.0] * len(row)
    return made


def arms(
    table: np.ndarray, orders: dict[str, str] = CYCLES, seeds: int | None = None
) -> dict[str, list[Record]]:
    """Records of accuracies (orders, seeds, tasks), the tasks by letter."""
    return {
        label: [
            record(names, dict(zip(sorted(names), table[o, s], strict=True)), s)
            for s in range(table.shape[1])
        ]
        for o, (label, names) in enumerate(orders.items())
    }


def crossed(
    rng: np.random.Generator,
    shape: tuple[int, int, int],
    effect: np.ndarray | float = 0.0,
    noise: np.ndarray | float = 0.01,
    seed: float = 0.02,
) -> np.ndarray:
    """Runs with an effect of order and task, own noise, and what seeds do to all orders."""
    shared = seed * rng.standard_normal((1, *shape[1:]))
    effects = np.broadcast_to(effect, (shape[0], shape[2]))[:, None]
    return 0.5 + effects + shared + noise * rng.standard_normal(shape)


def test_tasks_are_matched_by_name_wherever_they_stand() -> None:
    table = np.random.default_rng(0).uniform(0, 1, (4, 2, 4))
    runs = arms(table)
    finals = finals_of(runs)
    assert finals.tasks == tuple("abcd")
    np.testing.assert_allclose(finals.accuracy, table)
    assert finals.place[1].tolist() == [3, 0, 1, 2]
    found = disparities(finals.accuracy)
    whole = [run for arm in runs.values() for run in arm]
    by_name = order_disparity(whole)
    assert [d.value.mean for d in found.tasks] == pytest.approx([by_name[t] for t in "abcd"])
    assert found.average.value.mean == pytest.approx(average_order_disparity(whole))
    assert found.maximum.value.mean == pytest.approx(max(by_name.values()))
    # The course of an order: means over the tasks it has seen.
    assert finals.course[1, 0] == pytest.approx(
        [table[1, 0, [1, 2, 3, 0][: k + 1]].mean() for k in range(4)]
    )


@given(st.permutations(range(4)))
@settings(max_examples=10, deadline=None)
def test_relabelling_tasks_changes_nothing_but_their_names(order: list[int]) -> None:
    table = np.random.default_rng(1).uniform(0, 1, (3, 3, 4))
    one, other = disparities(table, resamples=50), disparities(table[:, :, order], resamples=50)
    for k, place in enumerate(order):
        assert other.tasks[k].floor == pytest.approx(one.tasks[place].floor)
        assert other.tasks[k].value.mean == pytest.approx(one.tasks[place].value.mean)
    assert other.average.excess.mean == pytest.approx(one.average.excess.mean)
    assert components(table[:, :, order]).parts == pytest.approx(components(table).parts)


def test_only_seeds_with_a_whole_run_at_every_order_count() -> None:
    runs = arms(np.full((4, 3, 4), 0.5))
    runs["B"][1].accuracy[-1, 2] = np.nan
    finals = finals_of({**runs, "D": runs["D"][:2]})
    assert (finals.seeds, finals.left_out) == ((0,), 7)
    alone = disparities(finals.accuracy).average
    assert alone.value.mean == 0
    assert np.isnan([alone.floor, alone.excess.mean, alone.chance]).all()
    for broken in runs["A"]:
        broken.accuracy[:] = np.nan
    with pytest.raises(ValueError, match="no seed has a run that came to its end at every order"):
        finals_of(runs)


def test_what_cannot_be_compared_is_refused() -> None:
    runs = arms(np.full((4, 1, 4), 0.5))
    with pytest.raises(ValueError, match="two or more orders with runs are compared, there are 1"):
        finals_of({"A": runs["A"]})
    other = record("abce", dict.fromkeys("abce", 0.5))
    with pytest.raises(ValueError, match=r"differ in their tasks: \['d', 'e'\]"):
        finals_of({"A": runs["A"], "B": [other]})
    with pytest.raises(ValueError, match="order 'A' has runs whose tasks come in different orders"):
        finals_of({"A": runs["A"] + runs["B"], "C": runs["C"]})
    with pytest.raises(ValueError, match="of two orders or more"):
        disparities(np.zeros((1, 2, 3)))
    with pytest.raises(ValueError, match="must be finite"):
        disparities(np.full((2, 2, 3), np.nan))


def test_expected_range_against_draws_and_closed_forms() -> None:
    assert expected_range(2) == pytest.approx(2 / np.sqrt(np.pi), abs=1e-6)
    assert expected_range(3) == pytest.approx(3 / np.sqrt(np.pi), abs=1e-6)
    drawn = np.ptp(np.random.default_rng(0).standard_normal((40_000, 7)), axis=1)
    assert expected_range(7) == pytest.approx(drawn.mean(), abs=4 * drawn.std() / 200)
    assert np.isnan(expected_range(1))


def test_residuals_do_without_orders_and_seeds() -> None:
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((4, 3, 5))
    shifted = noise + rng.standard_normal((4, 1, 5)) + rng.standard_normal((1, 3, 5))
    np.testing.assert_allclose(residuals(shifted), residuals(noise), atol=1e-12)
    assert np.abs(residuals(noise).mean(axis=0)).max() < 1e-12
    assert np.abs(residuals(noise).mean(axis=1)).max() < 1e-12


@pytest.mark.parametrize("seed_effect", [0.0, 0.05])
def test_the_floor_is_what_seeds_alone_make(seed_effect: float) -> None:
    """Against the statistic itself over fresh seeds where the order does nothing."""
    rng = np.random.default_rng(3)
    sd = np.array([0.005, 0.01, 0.01, 0.02, 0.03, 0.01])
    alike = sd * rng.standard_normal((20_000, 5, 3, 6))
    truth = np.ptp(alike.mean(axis=2), axis=1)
    effect = 0.1 * rng.standard_normal((5, 6))
    found = [
        disparities(crossed(rng, (5, 3, 6), effect * (k % 2), sd, seed_effect), resamples=100)
        for k in range(150)
    ]
    floors = np.array([[task.floor for task in d.tasks] for d in found])
    error = 4 * floors.std(axis=0) / np.sqrt(150)
    assert (np.abs(floors.mean(axis=0) - truth.mean(axis=0)) < error).all()
    average = np.mean([d.average.floor for d in found])
    assert average == pytest.approx(truth.mean(), rel=0.03)
    # The maximum's is known to come out up to a tenth too low.
    highest = np.mean([d.maximum.floor for d in found])
    assert 0.9 < highest / truth.max(axis=1).mean() < 1.05


def test_what_knows_no_order_has_the_disparity_of_its_floor() -> None:
    rng = np.random.default_rng(5)
    found = [disparities(crossed(rng, (5, 3, 8)), resamples=200) for _ in range(100)]
    excess = np.array([d.average.excess.mean for d in found])
    assert abs(excess.mean()) < 4 * excess.std() / 10
    assert np.mean([d.average.value.mean for d in found]) > 10 * abs(excess.mean())
    assert np.mean([d.average.excess.low <= 0 <= d.average.excess.high for d in found]) > 0.9
    # Permutations: each chance comes up alike.
    assert np.mean([d.average.chance for d in found]) == pytest.approx(0.5, abs=4 * 0.29 / 10)
    assert np.mean([d.maximum.chance for d in found]) == pytest.approx(0.5, abs=4 * 0.29 / 10)


def test_the_true_range_lies_between_excess_and_disparity() -> None:
    rng = np.random.default_rng(6)
    effect = 0.015 * rng.standard_normal((5, 8))
    truth = np.ptp(effect, axis=0)
    many = np.ptp((effect[None, :, None] + 0.01 * rng.standard_normal((9000, 5, 3, 8))).mean(2), 1)
    found = [disparities(crossed(rng, (5, 3, 8), effect), resamples=200) for _ in range(100)]
    for name, true, mean in (
        ("average", truth.mean(), many.mean()), ("maximum", truth.max(), many.max(axis=1).mean()),
    ):  # fmt: skip
        each = [getattr(d, name) for d in found]
        assert np.mean([d.excess.mean for d in each]) < true < np.mean([d.value.mean for d in each])
        assert np.mean([d.value.low <= mean <= d.value.high for d in each]) > 0.85
        assert np.mean([d.excess.low > 0 for d in each]) > 0.9
        assert np.mean([d.chance < 0.05 for d in each]) > 0.9


def test_no_noise_no_floor() -> None:
    effect = np.array([[0.0, 0.1, 0.2], [0.3, 0.1, 0.0]])
    found = disparities(crossed(np.random.default_rng(0), (2, 3, 3), effect, 0.0), resamples=50)
    assert [d.value.mean for d in found.tasks] == pytest.approx([0.3, 0.0, 0.2])
    assert found.average.floor == pytest.approx(0, abs=1e-12)
    assert found.maximum.excess == pytest.approx((0.3, 0.3, 0.3))


def test_a_task_counts_where_it_is_not_first() -> None:
    means = np.array([[0.9, 0.1], [0.5, 0.3], [0.4, 0.8]])
    counted = np.array([[False, True], [True, True], [True, False]])
    np.testing.assert_allclose(spread(means, counted), [0.1, 0.2])
    counted[2, 0] = False
    np.testing.assert_allclose(spread(means, counted), [np.nan, 0.2])
    # The base gains .2 at home: the disparity is all of the first places.
    table = np.full((4, 2, 4), 0.6)
    for o, names in enumerate(CYCLES.values()):
        table[o, :, "abcd".index(names[0])] += 0.2
    found = robustness(finals_of(arms(table)))
    assert found.disparities.average.value.mean == pytest.approx(0.2)
    assert found.learned.average.value.mean == pytest.approx(0)
    assert found.places.first.mean == pytest.approx(0.2)
    assert found.places.slope.mean == pytest.approx(0, abs=1e-12)


def test_places_are_told_from_tasks_and_orders() -> None:
    rng = np.random.default_rng(0)
    runs = arms(np.zeros((4, 3, 4)))
    finals = finals_of(runs)
    tasks, orders = rng.uniform(0.2, 0.4, 4), rng.uniform(0, 0.1, 4)
    gain = 0.05 * (finals.place == 0) + 0.12 * finals.place / 3
    table = np.repeat((tasks + orders[:, None] + gain)[:, None], 3, axis=1)
    found = places(finals_of(arms(table)))
    assert found.first == pytest.approx((0.05, 0.05, 0.05))
    assert found.slope == pytest.approx((0.12, 0.12, 0.12))
    pair = places(finals_of(arms(table[:2, :, :2], {"A": "ab", "B": "ba"})))
    assert np.isnan(pair.first.mean)
    assert np.isnan(pair.slope.mean)


def naive_components(y: np.ndarray) -> dict[str, float]:
    """From sums written out, by solving for the expected mean squares of the seven effects."""
    n = dict(zip("ost", y.shape, strict=True))
    subsets = ["".join(c) for k in (1, 2, 3) for c in itertools.combinations("ost", k)]
    squares = []
    for subset in subsets:
        total = 0.0
        for at in itertools.product(*(range(n[f]) for f in "ost")):
            effect = 0.0
            for k in range(len(subset) + 1):
                for kept in itertools.combinations(subset, k):
                    index = tuple(
                        i if f in kept else slice(None) for f, i in zip("ost", at, strict=True)
                    )
                    effect += (-1) ** (len(subset) - k) * y[index].mean()
            total += effect**2
        squares.append(total / np.prod([n[f] - 1 for f in subset]))
    expected = [
        [
            np.prod([n[f] for f in "ost" if f not in part]) if set(subset) <= set(part) else 0.0
            for part in subsets
        ]
        for subset in subsets
    ]
    return dict(zip(subsets, np.linalg.solve(expected, squares), strict=True))


def test_components_against_a_naive_reference() -> None:
    y = np.random.default_rng(0).uniform(0, 1, (3, 2, 4))
    found, naive = components(y), naive_components(y)
    assert found.task == pytest.approx(naive["t"])
    assert found.order == pytest.approx(naive["o"])
    assert found.task_by_order == pytest.approx(naive["ot"])
    assert found.seed == pytest.approx(sum(v for k, v in naive.items() if "s" in k))
    # All parts together: the variance of two runs that share nothing, here by its own estimate.
    assert set(found.parts) == {
        "order", "seed", "task", "order x seed", "order x task", "seed x task",
        "order x seed x task",
    }  # fmt: skip


def test_components_find_the_variances_that_were_put_in() -> None:
    rng = np.random.default_rng(0)
    sizes = {"o": 5, "s": 4, "t": 10}
    true = {"t": 0.04, "o": 0.0025, "ot": 0.01, "s": 0.0009, "st": 0.0016, "ost": 0.0025}
    found = []
    for _ in range(400):
        y = np.zeros(tuple(sizes.values()))
        for part, variance in true.items():
            shape = [sizes[f] if f in part else 1 for f in "ost"]
            y = y + np.sqrt(variance) * rng.standard_normal(shape)
        c = components(y)
        found.append([c.task, c.order, c.task_by_order, c.seed])
    wanted = [true["t"], true["o"], true["ot"], true["s"] + true["st"] + true["ost"]]
    error = 4 * np.std(found, axis=0) / 20
    assert (np.abs(np.mean(found, axis=0) - wanted) < error).all()
    assert np.isnan(components(np.zeros((3, 1, 4))).order)


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
