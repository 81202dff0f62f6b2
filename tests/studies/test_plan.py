import numpy as np
import pytest
from study_cases import BASE, study

from holdfast.config import resolve, run_config
from holdfast.studies.axes import read_axes
from holdfast.studies.plan import check_runs, plan_cells, plan_runs
from holdfast.training.run import fingerprint

SHRINK = "small_parts:Shrink"


def test_cells_are_the_product_of_the_axes_in_order() -> None:
    axes = read_axes(
        {"training.lr": [0.1, 0.2], "net.width": [2, 3]},
        {"plain": {}, "shrunk": {"method": SHRINK, "training.epochs": 2}},
    )
    cells = plan_cells(BASE, axes)
    assert [cell.label for cell in cells] == [
        "lr=0.1, width=2, plain", "lr=0.1, width=2, shrunk",
        "lr=0.1, width=3, plain", "lr=0.1, width=3, shrunk",
        "lr=0.2, width=2, plain", "lr=0.2, width=2, shrunk",
        "lr=0.2, width=3, plain", "lr=0.2, width=3, shrunk",
    ]  # fmt: skip
    assert cells[3].fields == {"training.lr": 0.1, "net.width": 3, "variant": "shrunk"}
    config = cells[3].config
    assert config == resolve(config)
    assert (config["training"]["lr"], config["training"]["epochs"]) == (0.1, 2)
    assert (config["net"]["width"], config["method"]["name"]) == (3, SHRINK)
    assert BASE["net"] == {"name": "small_parts:tiny", "seed": 0}


def test_a_part_is_set_before_its_options_and_values_are_not_shared() -> None:
    method = {"name": SHRINK, "count": 3}
    axes = read_axes({"method.strength": [1.0, 2.0], "method": [method, "small_parts:Shrink"]}, {})
    cells = plan_cells(BASE, axes)
    options = [
        (cell.config["method"]["strength"], cell.config["method"]["count"]) for cell in cells
    ]
    assert options == [(1.0, 3), (1.0, 1), (2.0, 3), (2.0, 1)]
    assert method == {"name": SHRINK, "count": 3}


def test_labels_of_one_axis_of_none_and_of_keys_that_end_alike() -> None:
    assert [c.label for c in plan_cells(BASE, read_axes({"training.lr": [1, 2]}, {}))] == ["1", "2"]
    assert [c.label for c in plan_cells(BASE, ())] == ["base"]
    axes = read_axes({"net.seed": [1], "stream.seed": [2]}, {})
    assert [c.label for c in plan_cells(BASE, axes)] == ["net.seed=1, stream.seed=2"]


def test_hashes_name_the_content_of_a_configuration() -> None:
    runs = study().runs()
    assert len({run.hash for run in runs}) == len(runs) == 4
    assert [run.hash for run in study().runs()] == [run.hash for run in runs]
    for run in runs:
        assert run.identity == fingerprint(run.config)
        assert run.config == resolve(run.config)
        assert run.config["seed"] == run.seed
    # The same runs, said in another way, and among others.
    more = study(grid={"method": ["small_parts:Halts", {"name": SHRINK, "strength": 0.1}]}, seeds=3)
    assert {run.hash for run in runs} < {run.hash for run in more.runs()}


def test_a_bad_cell_is_named() -> None:
    for grid, message in (
        (
            {"method": ["finetune", "ewk"]},
            "cell 'ewk': method 'ewk' is unknown .did you mean 'ewc'",
        ),
        ({"trainin.lr": [1]}, "cell '1': config has no key 'trainin' .did you mean 'training'"),
        ({"training.lr": [1, "x"]}, "cell 'x': training.lr must be a number"),
        ({"training.lr": [float("nan")]}, "cell 'nan': training.lr must be finite, got nan"),
    ):
        with pytest.raises(ValueError, match=message):
            plan_cells(BASE, read_axes(grid, {}))


def test_cells_that_are_one_run_are_refused() -> None:
    axes = read_axes({"method": {"a": SHRINK, "b": {"name": SHRINK, "count": 1}}}, {})
    with pytest.raises(ValueError, match="cells 'a' and 'b' are the same run; drop one"):
        plan_cells(BASE, axes)


@pytest.mark.parametrize(
    ("key", "values", "message"),
    [
        ("stream.tasks", [2, 9], "cell '9': tasks must be at most 5, got 9"),
        ("method.strength", [1, -1], "cell '-1': strength must be 0 or more, got -1"),
        ("training.lr", [0.1, 0], "cell '0': training.lr must be a positive number"),
        ("training.evaluate_on", ["test", "validation"], "cell 'validation': .*validation"),
        ("training.precision", ["float32", "bfloat16"], "cell 'bfloat16': .* runs on CUDA"),
        ("order", [[1, 0], [1, 1]], r"cell '\[1, 1\]': order must be a permutation"),
        ("method", [SHRINK, "small_parts:Picky"], "cell 'Picky': Picky needs 3 tasks, got 2"),
        ("heads", ["per_task", "shared"], "cell"),
    ],
)
def test_parts_that_do_not_fit_are_named(key: str, values: list, message: str) -> None:
    base = {**BASE, "method": SHRINK, "training": {"device": "cpu"}}
    if key == "heads":
        base["stream"] = {"name": "small_parts:clouds", "scenario": "class_incremental"}
    runs = plan_runs(plan_cells(base, read_axes({key: values}, {})), seeds=[0, 1])
    with pytest.raises(ValueError, match=message):
        check_runs(runs)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"method": "joint"},
        {"training": {"epochs": 3, "pretraining_epochs": 2, "batch_size": 7}},
    ],
)
def test_budgets_are_what_is_spent(settings: dict, tmp_path) -> None:
    runs = plan_runs(plan_cells({**BASE, **settings}, ()), seeds=[0])
    (budget,) = check_runs(runs).values()
    record = run_config(runs[0].config, out=tmp_path)
    ends = [
        max(e["step"] for e in record.curve if e["task"] == i) for i in range(len(record.tasks))
    ]
    assert np.diff([0, *ends]).tolist() == list(budget.updates)
    assert list(budget.samples) == record.samples
