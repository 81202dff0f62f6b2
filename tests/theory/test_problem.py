"""What is asked, and what is refused before any work."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import jaxtyping
import pytest
import torch
from theory_cases import drawn, two_tasks
from torch import Tensor

from holdfast.theory import (
    Activation,
    Problem,
    Schedule,
    absolute_gamma0,
    compare,
    phase_diagram,
    problem,
    solve,
)
from holdfast.theory.activation import ACTIVATIONS, activation

X = [drawn(0, 3, 4), drawn(1, 2, 4)]
Y = [drawn(2, 3), drawn(3, 2)]


@pytest.fixture(autouse=True)
def _as_a_user_has_it() -> Iterator[None]:
    """Without the checks of types and shapes that tests run with: what the library says itself."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def asked(**changed: Any) -> Problem:
    return problem(X, Y, **{"steps": [4, 3], "gamma0": 0.5} | changed)


def test_tasks_lie_one_behind_the_other() -> None:
    own = asked(lr=[0.1, 0.3], heads="per_task", probes=(drawn(4, 2, 4), drawn(5, 2), [1, 0]))
    x = torch.cat([*X, drawn(4, 2, 4)])
    torch.testing.assert_close(own.kernel, x @ x.T / 4)
    assert own.task.tolist() == [0, 0, 0, 1, 1, -1, -1]
    assert own.head.tolist() == [0, 0, 0, 1, 1, 1, 0]
    assert (own.tasks, own.heads, own.points, own.outputs, own.steps) == (2, 2, 7, 1, 7)
    assert own.ends == (4, 7)
    weights = own.schedule.weights
    torch.testing.assert_close(weights[0], torch.tensor([1, 1, 1, 0, 0, 0, 0]).double() / 3)
    torch.testing.assert_close(weights[4], torch.tensor([0, 0, 0, 1, 1, 0, 0]).double() / 2)
    assert own.schedule.lr.tolist() == [0.1] * 4 + [0.3] * 3


def test_batches_go_through_all_points_before_they_come_again() -> None:
    weights = asked(steps=[4, 4], batch_size=2).schedule.weights
    assert set((weights[:, :3] != 0).sum(1).tolist()) == {0, 1, 2}
    for epoch in (weights[:2, :3], weights[2:4, :3]):
        assert (epoch != 0).sum(0).tolist() == [1, 1, 1]
    torch.testing.assert_close(weights.sum(1), torch.ones(8).double())
    other = asked(steps=[4, 4], batch_size=2, seed=1).schedule.weights
    assert not torch.equal(weights, other)


def test_gamma0_is_absolute_or_of_base_64() -> None:
    assert asked(gamma0=0.8, units="base_64").gamma0 == pytest.approx(0.1)
    assert absolute_gamma0(0.8, 16) == pytest.approx(0.2)


def test_classes_are_made_one_hot() -> None:
    own = problem(X, [torch.tensor([0, 2, 1]), torch.tensor([1, 1])], 3, gamma0=1.0,
                  loss="cross_entropy")  # fmt: skip
    assert own.targets.argmax(1).tolist() == [0, 2, 1, 1, 1]
    start = torch.zeros(5, 3).double()
    torch.testing.assert_close(own.error(start), own.targets - 1 / 3)
    torch.testing.assert_close(own.losses(start), torch.full((2,), 3.0).double().log())


def test_classes_given_as_distributions_in_integers() -> None:
    rows = [torch.eye(3).long(), torch.eye(3).long()[:2]]
    own = problem(X, rows, 3, gamma0=1.0, loss="cross_entropy")
    assert own.targets.tolist() == torch.cat(rows).double().tolist()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"gamma0": 0.0}, "gamma0 must be positive and finite, got 0.0"),
        ({"gamma0": float("inf")}, "gamma0 must be positive and finite, got inf"),
        ({"depth": 0}, "depth must be a positive integer, got 0"),
        ({"readout_std": -1.0}, "readout_std must be 0 or more, got -1.0"),
        ({"loss": "hinge"}, r"loss must be one of \('mse', 'cross_entropy'\), got 'hinge'"),
        ({"units": "base"}, "units must be 'absolute' or 'base_64', got 'base'"),
        ({"heads": "two"}, "heads must be 'single' or 'per_task', got 'two'"),
        ({"steps": [4]}, "steps has 1 entries for 2 tasks; give one a task"),
        ({"steps": [4, 0]}, r"steps must be positive integers, got \[4, 0\]"),
        ({"lr": [0.1, 0.1, 0.1]}, "lr has 3 entries for 2 tasks"),
        ({"lr": -0.1}, "lr must be finite and 0 or more"),
        ({"momentum": 1.0}, r"momentum must lie in \[0, 1\), got 1.0"),
        ({"weight_decay": 20.0}, "weight_decay must be 0 or more with lr x weight_decay below 1"),
        ({"batch_size": 0}, "batch_size must be a positive integer, got 0"),
        ({"phi": "swish"}, "activation must be one of linear, relu, .*; got 'swish'"),
    ],
)
def test_options_out_of_range(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        problem(X, Y, **{"steps": [4, 3], "gamma0": 0.5} | changed)


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (X, Y[:1], "inputs and targets need one entry a task, got 2 and 1"),
        ([X[0], drawn(1, 2, 5)], Y, r"inputs\[1\] must be \(points, 4\), one .* got \(2, 5\)"),
        ([X[0], X[1][:0]], [Y[0], Y[1][:0]], r"inputs\[1\] must be .* or more, got \(0, 4\)"),
        ([drawn(0, 3, 2, 2), X[1]], Y, r"inputs\[0\] must be .* got \(3, 2, 2\); flatten images"),
        ([X[0] / 0, X[1]], Y, r"inputs\[0\] holds values that are not finite"),
        (X, [drawn(2, 3, 2), Y[1]], r"targets\[1\] has 1 outputs, targets\[0\] 2; all need"),
        (X, [drawn(2, 3, 2, 2), Y[1]], r"targets\[0\] must be \(points,\) or \(points, outputs\)"),
        ([], [], "inputs and targets need one entry a task, got 0 and 0"),
        (X, [Y[0], drawn(3, 3)], r"inputs\[1\] has 2 points, targets\[1\] has 3"),
        (X, [Y[0], Y[1] / 0], "targets holds values that are not finite"),
    ],
)
def test_data_that_disagree(x: list[Tensor], y: list[Tensor], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        problem(x, y, 3, gamma0=1.0)


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (X[0], Y[0], r"inputs must be a list of tensors, one a task, got Tensor of shape \(3, 4\)"),
        (X, Y[0], "targets must be a list of tensors, one a task, got Tensor"),
        ([X[0], X[1].numpy()], Y, r"inputs\[1\] must be a tensor, got ndarray; torch.as_tensor"),
    ],
)
def test_data_of_another_kind(x: Any, y: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        problem(x, y, 3, gamma0=1.0)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"gamma0": "1", "units": "base_64"}, "gamma0 must be a number, got '1'"),
        ({"gamma0": True}, "gamma0 must be a number, got True"),
        ({"readout_std": "a"}, "readout_std must be a number, got 'a'"),
        ({"steps": "10"}, "steps must be a number, or a list of one a task, got '10'"),
        ({"lr": [0.1, "a"]}, "lr must be a number, or a list of one a task, got"),
    ],
)
def test_options_of_another_kind(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        asked(**changed)


@pytest.mark.parametrize(
    ("probes", "message"),
    [
        ((X[0], Y[0]), r"probes must be \(inputs, targets, heads\)"),
        ((X[0], Y[0], 2), r"heads of probes must lie in 0 .. 1, got 2"),
        ((X[0], Y[0], [0]), "probes need a head each, got 1 heads for 3 points"),
        ((X[0], Y[1], 0), "inputs of probes has 3 points, targets of probes has 2"),
    ],
)
def test_probes_that_are_none(probes: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        asked(probes=probes, heads="per_task")


def test_tasks_whose_kernel_is_beyond_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("holdfast.theory.memory.available_memory", lambda device: 500)
    with pytest.raises(ValueError, match=r"the kernel needs about .* up to 3 points would fit"):
        asked()


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (
            torch.tensor([0.0, 1, 2]),
            r"must be classes in integers .*\[0\] is \(3,\) of torch.float32",
        ),
        (torch.tensor([0, 1, -1]), "targets must be classes 0, 1, ..., got -1"),
        (torch.full((3, 2), 0.75), r"must be distributions .* with sum 1, got \[0.75"),
        (torch.tensor([[2.0, -1.0]] * 3), r"must be distributions .*, got \[2.0, -1.0\]"),
        (torch.zeros(3, dtype=torch.int64), "need two or more outputs, got 1"),
    ],
)
def test_targets_out_of_range_for_cross_entropy(targets: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        problem(X[:1], [targets], 3, gamma0=1.0, loss="cross_entropy")


@pytest.mark.parametrize("least", [-0.5, -0.50449, -1.2345e-5])
def test_a_kernel_is_mended_by_what_is_said(least: float) -> None:
    own, basis = asked(), torch.linalg.qr(drawn(0, 5, 5)).Q
    kernel = basis @ torch.diag(torch.tensor([1.0, 1, 1, 1, least]).double()) @ basis.T
    kernel = (kernel + kernel.T) / 2
    with pytest.raises(ValueError, match=f"its least eigenvalue is {least:.3g}") as error:
        replace(own, kernel=kernel)
    jitter = float(str(error.value).split("Adding ")[1].split()[0])
    assert jitter < 1.02 * -least
    replace(own, kernel=kernel + jitter * torch.eye(5))


def test_kernels_that_are_none() -> None:
    own = asked()
    k = own.kernel.clone()
    with pytest.raises(ValueError, match=r"kernel must be \(points, points\), got \(5, 4\)"):
        replace(own, kernel=k[:, :4])
    with pytest.raises(TypeError, match=r"kernel must be float32 or float64, got torch.float16"):
        own.to(torch.float16)
    with pytest.raises(TypeError, match=r"targets is torch.float64, kernel torch.float32; give"):
        replace(own, kernel=k.float())
    with pytest.raises(ValueError, match=r"targets must be \(points, outputs\), got \(5,\)"):
        replace(own, targets=own.targets.flatten())
    k[0, 1] += 0.1
    with pytest.raises(ValueError, match=r"kernel must be symmetric; it differs .* by up to 0.1"):
        replace(own, kernel=k)
    k[0, 1] = float("nan")
    with pytest.raises(ValueError, match="kernel holds values that are not finite"):
        replace(own, kernel=k)


@pytest.mark.parametrize("name", ["targets", "task", "head", "inputs"])
def test_points_that_differ_in_number(name: str) -> None:
    own = asked()
    with pytest.raises(ValueError, match=f"{name} has 4 points, kernel has 5"):
        replace(own, **{name: getattr(own, name)[:4]})


def test_tasks_that_are_not_trained() -> None:
    own = asked()
    short = Schedule(own.schedule.weights[:4], own.schedule.lr[:4])
    with pytest.raises(ValueError, match="task 1 is never trained on: the schedule has 4 steps"):
        replace(own, schedule=short)
    with pytest.raises(ValueError, match="task 1 has no points; number tasks"):
        replace(own, task=torch.tensor([0, 0, 0, 2, 2]))
    with pytest.raises(ValueError, match="task names no task"):
        replace(own, task=torch.full((5,), -1))
    with pytest.raises(ValueError, match="head must be 0 or more"):
        replace(own, head=torch.tensor([0, 0, 0, 0, -1]))
    narrow = Schedule(own.schedule.weights[:, :4], own.schedule.lr)
    with pytest.raises(ValueError, match="schedule weighs 4 points, kernel has 5"):
        replace(own, schedule=narrow)


@pytest.mark.parametrize(
    ("weights", "lr", "message"),
    [
        (torch.ones(2, 3), torch.ones(3), "weights has 2 steps and lr 3"),
        (torch.ones(0, 3), torch.ones(0), "they need one or more"),
        (-torch.ones(2, 3), torch.ones(2), "weights must be finite and 0 or more"),
        (torch.ones(2, 3), torch.full((2,), torch.nan), "lr must be finite and 0 or more"),
    ],
)
def test_schedules_that_are_none(weights: Tensor, lr: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Schedule(weights, lr)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_derivatives_are_those_of_the_function(name: str) -> None:
    phi = ACTIVATIONS[name]
    own = activation(phi.value)
    h = drawn(0, 4, 5)
    torch.testing.assert_close(own.value(h), phi.value(h))
    torch.testing.assert_close(own.slope(h), phi.slope(h))
    torch.testing.assert_close(own.bend(h), phi.bend(h))
    assert phi.linear == (name == "linear")


def test_an_activation_with_its_derivative() -> None:
    own = activation((torch.sin, torch.cos))
    h = drawn(0, 3)
    torch.testing.assert_close(own.slope(h), torch.cos(h))
    torch.testing.assert_close(own.bend(h), -torch.sin(h))
    assert isinstance(own, Activation)
    assert asked(phi=own).activation is own


def test_activations_without_a_derivative() -> None:
    def leaves_torch(h: Tensor) -> Tensor:
        return torch.from_numpy(h.numpy() ** 3)

    with pytest.raises(ValueError, match=r"leaves_torch has no slope .* give it with its deriv"):
        activation(leaves_torch)
    with pytest.raises(ValueError, match=r"its slope at .* is"):
        activation(lambda h: h.abs().sqrt())
    with pytest.raises(TypeError, match="activation must be a name or a function, got 3"):
        activation(3)
    with pytest.raises(ValueError, match="activation sin: the derivative given is not that of the"):
        activation((torch.sin, torch.sin))
    with pytest.raises(ValueError, match="activation <lambda> must act entry by entry"):
        activation(lambda h: torch.softmax(h, -1))


def test_another_precision() -> None:
    own = two_tasks(probes=(drawn(4, 2, 6), drawn(5, 2, 1), 0)).to(torch.float32)
    every = (own.kernel, own.targets, own.inputs, own.schedule.weights, own.schedule.lr)
    assert {t.dtype for t in every if t is not None} == {torch.float32}


def test_one_number_in_place_of_a_list() -> None:
    own: Any = asked(phi="linear")
    one: Any = 0.5
    with pytest.raises(TypeError, match=r"kept must be a number of times or a list .* got 0\.5"):
        solve(own, kept=one)
    with pytest.raises(ValueError, match=r"gamma0 must be a list of numbers, got 0\.5"):
        phase_diagram(lambda s, seed: own, one, [0.0])
    with pytest.raises(TypeError, match=r"widths must be a list of positive integers, got 0\.5"):
        compare(own, one)
