import inspect
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from holdfast.seeds import generator
from holdfast.streams import similar_teachers, teacher_student


@given(
    tasks=st.integers(1, 5),
    units=st.integers(1, 4),
    similarity=st.floats(0, 1),
    seed=st.integers(0, 99),
)
def test_overlaps_are_exact(tasks, units, similarity, seed) -> None:
    weights = similar_teachers(tasks, similarity, units, 20, generator(seed))
    overlaps = torch.einsum("sji,tki->stjk", weights, weights)
    for s in range(tasks):
        for t in range(tasks):
            wanted = (1.0 if s == t else similarity) * torch.eye(units, dtype=torch.float64)
            torch.testing.assert_close(overlaps[s, t], wanted, atol=1e-12, rtol=0)


def test_linear_targets_recover_the_teachers_and_their_overlap() -> None:
    stream = teacher_student(3, 0.3, inputs=12, samples=60, seed=5)
    found = [torch.linalg.lstsq(t.train.x.double(), t.train.y.double()).solution for t in stream]
    for s, a in enumerate(found):
        for t, b in enumerate(found):
            assert (a * b).sum().item() == pytest.approx(1.0 if s == t else 0.3, abs=1e-5)


def test_two_layer_targets_follow_their_formula() -> None:
    stream = teacher_student(2, 0.6, inputs=10, hidden=3, outputs=2, samples=5, seed=1)
    weights = similar_teachers(2, 0.6, 3, 10, generator(1, "teachers"))
    readout = torch.randn(2, 3, generator=generator(1, "readout"), dtype=torch.float64)
    for t, task in enumerate(stream):
        x = task.test.x.double()
        wanted = torch.zeros(len(x), 2, dtype=torch.float64)
        for j in range(3):
            unit = torch.erf(x @ weights[t, j] / math.sqrt(2))
            wanted += unit[:, None] * readout[:, j] / math.sqrt(3)
        torch.testing.assert_close(task.test.y.double(), wanted, atol=1e-5, rtol=1e-5)


@given(eps=st.floats(0, 1), seed=st.integers(0, 20))
def test_inputs_are_standard_and_correlate_by_eps(eps, seed) -> None:
    stream = teacher_student(
        3, input_similarity=eps, inputs=30, samples=1000, test_samples=1, seed=seed
    )
    x = torch.stack([task.train.x.flatten().double() for task in stream])
    bound = 5 / math.sqrt(x.shape[1])
    wanted = torch.full((3, 3), eps, dtype=torch.float64).fill_diagonal_(1.0)
    assert (x @ x.T / x.shape[1] - wanted).abs().max() < math.sqrt(2) * bound


def test_the_dials_at_one_make_tasks_the_same() -> None:
    first, second = teacher_student(2, 1.0, 1.0, inputs=8)
    torch.testing.assert_close(first.test.x, second.test.x)
    torch.testing.assert_close(first.test.y, second.test.y)


def test_classes_are_sign_or_argmax_of_the_response() -> None:
    options = {"inputs": 9, "samples": 30, "test_samples": 30, "seed": 2}
    signs = teacher_student(2, target="class", **options)
    real = teacher_student(2, **options)
    assert signs[1].classes == (0, 1)
    assert torch.equal(signs[1].test.y, (real[1].test.y[:, 0] > 0).long())
    most = teacher_student(2, target="class", outputs=3, **options)
    assert most[0].classes == (0, 1, 2)
    real = teacher_student(2, outputs=3, **options)
    assert torch.equal(most[0].test.y, real[0].test.y.argmax(1))


def test_noise_is_in_training_alone() -> None:
    quiet, loud = (teacher_student(1, inputs=20, noise=n, samples=4000)[0] for n in (0.0, 0.5))
    assert torch.equal(quiet.test.y, loud.test.y)
    assert (loud.train.y - quiet.train.y).std().item() == pytest.approx(0.5, rel=0.06)


def test_seeds_and_validation() -> None:
    one, same, other = (teacher_student(2, inputs=6, seed=s, validation=0.2) for s in (0, 0, 1))
    assert torch.equal(one[1].train.y, same[1].train.y)
    assert not torch.equal(one[1].train.y, other[1].train.y)
    assert (len(one[0].train), len(one[0].validation)) == (800, 200)
    assert [t.name for t in one] == ["teacher 0", "teacher 1"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"similarity": -0.1}, r"similarity must lie in \[0, 1\], got -0.1"),
        ({"input_similarity": 1.5}, r"input_similarity must lie in \[0, 1\]"),
        ({"tasks": 0}, "tasks must be a positive integer"),
        ({"samples": 0}, "samples must be a positive integer"),
        ({"test_samples": -1}, "test_samples must be a positive integer"),
        ({"hidden": 0}, "hidden must be a positive integer or None"),
        ({"noise": -1.0}, "noise must be 0 or more"),
        ({"tasks": 4, "inputs": 7, "outputs": 2}, "inputs must be at least 8"),
        ({"scenario": "class_incremental"}, "scenario must be 'domain_incremental' or"),
    ],
)
def test_refuses(options, message) -> None:
    with pytest.raises(ValueError, match=message):
        teacher_student(**options)


def test_refuses_an_unknown_target() -> None:
    with pytest.raises(ValueError, match="target must be 'regression' or 'class', got 'rank'"):
        inspect.unwrap(teacher_student)(target="rank")
