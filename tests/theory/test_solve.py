"""The front door: which solver, what it is told, what it refuses and warns of."""

import warnings
from typing import Any

import pytest
import torch
from theory_cases import VARIED, two_tasks

from holdfast.theory import (
    Problem,
    UnstableRateWarning,
    closure,
    initial_tangent_kernel,
    kept_times,
    lazy,
    linear,
    particles,
    solve,
    stable_rates,
)
from holdfast.theory.memory import available_memory

SMALL = {"samples": 512, "groups": 2}


@pytest.mark.parametrize(
    ("options", "solver", "told"),
    [
        ({}, "closure: two layers and linear", {}),
        ({"depth": 3}, "linear: linear, so that", {}),
        ({"phi": "relu"}, "particles: two layers", SMALL),
        ({"phi": torch.tanh}, "particles: two layers", SMALL),
    ],
)
def test_the_solver_is_chosen_and_says_why(
    options: dict[str, Any], solver: str, told: dict[str, int]
) -> None:
    found = solve(two_tasks(**options), **told)
    assert found.solver.startswith(solver)
    assert (found.loss_error is not None) == bool(told)
    assert found.settings.items() >= told.items()


@pytest.mark.parametrize(
    ("name", "solver", "options"),
    [
        ("closure", closure, {}),
        ("linear", linear, {"tolerance": 1e-9}),
        ("particles", particles, SMALL),
        ("lazy", lazy, {"time": "continuous"}),
    ],
)
def test_a_solver_by_name(name: str, solver: Any, options: dict[str, Any]) -> None:
    asked = two_tasks()
    seen: list[tuple[int, int]] = []
    found = solve(asked, name, kept=[2], progress=lambda *step: seen.append(step), **options)
    assert found.solver == name
    assert found.kept == (2,)
    torch.testing.assert_close(found.outputs, solver(asked, kept=[2], **options).outputs)
    assert seen[-1] == (len(seen), len(seen))


def test_an_unknown_solver_or_option() -> None:
    with pytest.raises(
        ValueError, match=r"solver must be 'auto' or one of closure, .*; got 'best'"
    ):
        solve(two_tasks(), "best")
    with pytest.raises(TypeError, match="solver closure has no option 'samples'; it has kept, "):
        solve(two_tasks(), samples=100)


@pytest.mark.parametrize(
    ("solver", "limit"),
    [("closure", 20_000), ("linear", 300_000), ("particles", 3_000_000), ("lazy", 20_000)],
)
def test_work_beyond_memory_is_refused_with_what_fits(solver: str, limit: int) -> None:
    asked = two_tasks(points=8, features=4, steps=3)
    with pytest.raises(ValueError, match=rf"solver {solver} needs about .* for 16 points") as error:
        solve(asked, solver, kept=[0, 6], memory=limit)
    assert "are allowed by memory; up to " in str(error.value)
    with pytest.raises(ValueError, match="not even one of the points would fit"):
        solve(asked, solver, memory=10)
    with pytest.raises(ValueError, match="memory must be a positive number of bytes, got 0"):
        solve(asked, solver, memory=0)


def test_what_fits_does_fit() -> None:
    needed = two_tasks(points=40, features=4, steps=3)
    with pytest.raises(ValueError, match="up to") as error:
        solve(needed, kept=[0, 6], memory=1_000_000)
    fits = int(str(error.value).split("up to ")[1].split()[0])
    assert 10 < fits < 80
    solve(two_tasks(points=fits // 2, features=4, steps=3), kept=[0, 6], memory=1_000_000)


def test_available_memory_is_something() -> None:
    assert 2**20 < available_memory() < 2**63


@pytest.mark.parametrize("case", ["plain", "heads", "zero readout", "momentum", "batches"])
def test_stable_rates_are_where_lazy_training_turns(case: str) -> None:
    options = {"phi": "erf", "depth": 2, "steps": 300} | VARIED[case]
    options.pop("batch_size", None)  # batches have limits of their own, which lie lower
    bounds = stable_rates(two_tasks(**options))
    for factor, grows in ((0.98, False), (1.02, True)):
        asked = two_tasks(**options | {"lr": (factor * bounds).tolist()})
        losses = lazy(asked, kept=[0]).losses
        for task in range(2):
            ends = 300 * task, 300 * (task + 1)
            late = losses[ends[1] - 2 : ends[1] + 1, task].max()
            assert bool(late > losses[ends[1] - 150, task]) == grows


def test_the_bound_is_that_of_the_softmax_at_the_start() -> None:
    asked = two_tasks(loss="cross_entropy", points=4)
    own = initial_tangent_kernel(asked)[:4, :4] / 4
    hessian = torch.eye(2) / 2 - torch.ones(2, 2) / 4
    whole = torch.kron(own, hessian.double())
    bound = 2 / torch.linalg.eigvalsh(whole)[-1]
    torch.testing.assert_close(stable_rates(asked)[0], bound)


def test_rates_beyond_stability_are_warned_of_with_the_bound() -> None:
    bound = float(stable_rates(two_tasks())[1])
    asked = two_tasks(lr=[0.1, 1.1 * bound])
    with pytest.warns(UnstableRateWarning, match=f"lr of task 1 is .*, past {bound:.4g}"):
        solve(asked)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        solve(two_tasks(lr=[0.1, 0.9 * bound]))


def test_kept_times() -> None:
    asked = two_tasks(steps=[30, 70])
    assert kept_times(asked) == kept_times(asked, 21)
    assert len(kept_times(asked)) <= 21
    assert {0, 30, 100} < set(kept_times(asked))
    assert kept_times(asked, 1) == (0, 30, 100)
    assert kept_times(asked, 4) == (0, 30, 50, 100)
    assert kept_times(asked, [7, 3, 7]) == (3, 7)
    many = two_tasks(points=200, features=2, steps=50)
    assert 7 < len(kept_times(many)) <= 10


@pytest.mark.parametrize(
    ("kept", "message"),
    [
        ([101], r"kept must be times from 0 to 100, got \[101\]"),
        ([-1], "kept must be times from 0 to 100"),
        (0, "kept must be 1 or more times, got 0"),
    ],
)
def test_times_that_are_not_there(kept: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kept_times(two_tasks(steps=[30, 70]), kept)


def test_times_of_another_kind() -> None:
    with pytest.raises(TypeError, match="kept must be a number of times or a list of times"):
        kept_times(two_tasks(), [])


def moved(asked: Problem) -> Problem:
    return asked.to(torch.float32)


@pytest.mark.parametrize("solver", ["closure", "linear", "particles", "lazy"])
def test_single_precision_is_close(solver: str) -> None:
    options = SMALL if solver == "particles" else {}
    asked = two_tasks(points=5, features=10)
    double, single = (solve(own, solver, **options) for own in (asked, moved(asked)))
    assert single.outputs.dtype == single.features.dtype == torch.float32
    torch.testing.assert_close(single.losses.double(), double.losses, rtol=0, atol=1e-4)
