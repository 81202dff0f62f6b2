"""What does not change a solution, what it tells, and its files."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from theory_cases import VARIED, drawn, two_tasks
from torch import Tensor

from holdfast.probes import gram_cka
from holdfast.theory import (
    Problem,
    Schedule,
    Solution,
    closure,
    lazy,
    linear,
    phase_diagram,
    solve,
)
from holdfast.theory.activation import activation

EXACT = {"closure": closure, "linear": linear, "lazy": lazy}


def permuted(asked: Problem, order: Tensor) -> Problem:
    schedule = replace(asked.schedule, weights=asked.schedule.weights[:, order])
    return replace(
        asked, kernel=asked.kernel[order][:, order], targets=asked.targets[order],
        task=asked.task[order], head=asked.head[order], schedule=schedule, inputs=None,
    )  # fmt: skip


@given(st.permutations(range(6)), st.sampled_from(sorted(EXACT)), st.booleans())
@settings(max_examples=25)
def test_the_order_of_points_is_of_no_matter(order: list[int], name: str, heads: bool) -> None:
    asked = two_tasks(depth=1 if name == "closure" else 2, **VARIED["outputs"] if heads else {})
    to = torch.tensor(order)
    one, other = (EXACT[name](own, kept=[3]) for own in (asked, permuted(asked, to)))
    torch.testing.assert_close(one.outputs[:, to], other.outputs, rtol=0, atol=1e-11)
    own = one.features[:, 0][:, to][:, :, 0][..., to]
    torch.testing.assert_close(own, other.features[:, 0, :, 0], rtol=0, atol=1e-11)


@given(st.integers(0, 100), st.sampled_from([*EXACT, "particles"]))
@settings(max_examples=25)
def test_probes_change_nothing(seed: int, name: str) -> None:
    options: dict[str, Any] = {"phi": "linear", "depth": 2 if name == "linear" else 1}
    probes = (drawn(seed, 3, 6), drawn(seed, 3, 1), 0)
    told = {"samples": 512, "groups": 2} if name == "particles" else {}
    one = solve(two_tasks(**options), name, **told)
    other = solve(two_tasks(probes=probes, **options), name, **told)
    torch.testing.assert_close(one.outputs, other.outputs[:, :6], rtol=0, atol=1e-11)
    assert one.losses.shape == other.losses.shape


def test_a_probe_on_a_point_does_what_it_does() -> None:
    x = two_tasks().inputs
    assert x is not None
    asked = two_tasks(probes=(x[:2], torch.zeros(2, 1), 0))
    found = closure(asked).outputs
    torch.testing.assert_close(found[:, 6:], found[:, :2], rtol=0, atol=1e-12)


@given(st.integers(1, 11), st.sampled_from([*EXACT, "particles"]))
@settings(max_examples=25)
def test_training_in_parts_is_training_in_one(first: int, name: str) -> None:
    """The state at a time and the steps after it say all: a task can be split into two."""
    asked = two_tasks(depth=2 if name == "linear" else 1, momentum=0.0)
    parts = [asked.schedule.weights[:first], asked.schedule.weights[first:]]
    split = Schedule(torch.cat(parts), asked.schedule.lr.clone())
    told = {"samples": 512, "groups": 2} if name == "particles" else {}
    whole = solve(asked, name, kept=[first, 12], **told)
    again = solve(replace(asked, schedule=split), name, kept=[12], **told)
    assert torch.equal(whole.outputs, again.outputs)
    short = Schedule(asked.schedule.weights[: max(first, 7)], asked.schedule.lr[: max(first, 7)])
    cut = solve(replace(asked, schedule=short), name, kept=[0], **told)
    torch.testing.assert_close(cut.outputs, whole.outputs[: len(cut.outputs)], rtol=0, atol=1e-12)


def test_rich_forgetting_is_that_of_equation_12() -> None:
    """The slope of the loss at the switch, by the kernel and by a small step."""
    asked = two_tasks(depth=2, steps=[10, 1], lr=[0.1, 1e-5])
    found = linear(asked, kept=[10])
    slope = float(found.losses[11, 0] - found.losses[10, 0])
    assert found.instantaneous_forgetting(0, 0) == pytest.approx(slope, rel=1e-3)
    assert slope != 0


def test_the_tangent_kernel_moves_outputs() -> None:
    asked = two_tasks(depth=2, steps=[10, 1], lr=[0.1, 1e-6], **VARIED["outputs"])
    found = linear(asked, kept=[10])
    pull = 1e-6 * asked.schedule.weights[10].unsqueeze(1) * found.errors[10]
    moved = found.tangent_kernel(0) @ pull.flatten()
    step = (found.outputs[11] - found.outputs[10]).flatten()
    torch.testing.assert_close(step, moved, rtol=1e-4, atol=1e-12)


def test_losses_and_forgetting() -> None:
    found = closure(two_tasks(steps=[5, 7]))
    assert found.ends == (5, 12)
    each = (found.outputs - found.problem.targets).square().squeeze(-1) / 2
    for task, rows in enumerate((slice(0, 3), slice(3, 6))):
        torch.testing.assert_close(found.losses[:, task], each[:, rows].mean(1))
    assert float(found.forgetting[0]) == float(found.losses[12, 0] - found.losses[5, 0])
    assert float(found.forgetting[1]) == 0
    assert torch.equal(found.loss_matrix, found.losses[[5, 12]])


@pytest.mark.parametrize("task", [None, 0])
def test_cka_is_that_of_the_features(task: int | None) -> None:
    found = closure(two_tasks(points=5), kept=[0, 6, 12])
    rows = torch.arange(10 if task is None else 5)
    similar = found.cka(1, task)
    for i in range(3):
        for j in range(3):
            grams = [found.features[0, k, :, k][rows][:, rows] for k in (i, j)]
            assert float(similar[i, j]) == pytest.approx(gram_cka(*grams), abs=1e-12)


def test_layers_tasks_and_places_that_are_not_there() -> None:
    found = closure(two_tasks(), kept=[0, 12])
    for layer in (0, 2):
        with pytest.raises(ValueError, match=f"layer must lie in 1 .. 1, got {layer}"):
            found.cka(layer)
    for ask in (lambda: found.cka(1, 2), lambda: found.instantaneous_forgetting(2, 0)):
        with pytest.raises(ValueError, match=r"task must lie in 0 .. 1, got 2"):
            ask()
    with pytest.raises(ValueError, match=r"kept must be a place among the 2 times .* got 2"):
        found.instantaneous_forgetting(0, 2)


def test_it_is_told_in_a_table() -> None:
    found = solve(two_tasks(phi="relu"), samples=256, groups=2)
    lines = str(found).splitlines()
    assert lines[0].startswith("2 tasks of 3+3 points, 12 steps, depth 1, relu, gamma0 1 absolute")
    assert lines[1].startswith("solved by particles: two layers")
    assert lines[2].split() == ["end", "of", "task", "loss", "on", "0", "loss", "on", "1"]
    assert lines[4].split()[1:] == [f"{loss:.4g}" for loss in found.loss_matrix[1].tolist()]
    assert lines[5].split()[1:] == [f"{lost:.4g}" for lost in found.forgetting.tolist()]
    assert lines[6].strip().startswith("standard error")
    assert "standard error" not in str(closure(two_tasks()))


def test_gradients_that_were_not_asked_for() -> None:
    found = replace(closure(two_tasks()), gradients=None)
    with pytest.raises(ValueError, match="solver closure gives no gradient kernels"):
        found.tangent_kernel(0)


@pytest.mark.parametrize(
    ("solver", "options", "told"),
    [
        ("closure", {"heads": "per_task", "outputs": 2}, {}),
        ("linear", {"depth": 2, "probes": VARIED["probes"]["probes"]}, {}),
        ("particles", {"phi": "tanh", "loss": "cross_entropy"}, {"samples": 256, "groups": 2}),
        ("lazy", {"phi": "relu", "depth": 2}, {}),
    ],
)
def test_files_hold_all(
    tmp_path: Path, solver: str, options: dict[str, Any], told: dict[str, Any]
) -> None:
    found = solve(two_tasks(**options), solver, **told)
    found = replace(found, responses={"one": drawn(0, 2), "two": drawn(1, 3)})
    found.save(tmp_path / "folder" / "solution")
    again = Solution.load(tmp_path / "folder" / "solution")
    for name in ("outputs", "features", "gradients"):
        assert torch.equal(getattr(again, name), getattr(found, name))
    assert again.responses.keys() == found.responses.keys()
    assert all(torch.equal(again.responses[k], found.responses[k]) for k in found.responses)
    assert (again.loss_error is None) == (found.loss_error is None)
    assert (again.solver, again.kept, again.settings) == (found.solver, found.kept, found.settings)
    assert again.problem.activation == found.problem.activation
    assert torch.equal(again.losses, found.losses)
    assert torch.equal(solve(again.problem, solver, **told).outputs, found.outputs)


def _own(h: Tensor) -> Tensor:
    return h / (1 + h.square())


def test_a_function_of_ones_own_is_given_again(tmp_path: Path) -> None:
    solve(two_tasks(phi=_own), samples=256, groups=2).save(tmp_path / "s")
    with pytest.raises(ValueError, match=r"a function '_own' of its own, .* load\(path, activat"):
        Solution.load(tmp_path / "s")
    with pytest.raises(ValueError, match="activation tanh is not the '_own' that the problem was"):
        Solution.load(tmp_path / "s", "tanh")
    found = Solution.load(tmp_path / "s", activation=_own)
    assert found.problem.activation.value is _own


def test_a_file_of_something_else(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no solution at"):
        Solution.load(tmp_path / "none")
    (tmp_path / "text").write_text("no tensors")
    with pytest.raises(ValueError, match="is truncated or no solution"):
        Solution.load(tmp_path / "text")
    save_file({"a": torch.zeros(1)}, tmp_path / "other")
    with pytest.raises(ValueError, match="its format is None, expected 'holdfast-theory-1'"):
        Solution.load(tmp_path / "other")
    phase_diagram(lambda s, seed: two_tasks(), [1.0], [0.0]).save(tmp_path / "phase")
    with pytest.raises(ValueError, match="phase holds no solution"):
        Solution.load(tmp_path / "phase")
    closure(two_tasks()).save(tmp_path / "whole")
    (tmp_path / "cut").write_bytes((tmp_path / "whole").read_bytes()[:-8])
    with pytest.raises(ValueError, match="is truncated or no solution"):
        Solution.load(tmp_path / "cut")


def test_a_function_named_as_one_that_is_known(tmp_path: Path) -> None:
    def relu(h: Tensor) -> Tensor:
        return h.clamp_min(0) + 0.1 * h

    found = lazy(two_tasks(phi=activation((relu, lambda h: (h > 0).double() + 0.1))))
    found.save(tmp_path / "s")
    with pytest.raises(ValueError, match="a function 'relu' of its own"):
        Solution.load(tmp_path / "s")
