"""Streams that show one dataset in different ways: views, permuted, rotated."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from holdfast.data.normalize import Normalize
from holdfast.data.split import Dataset, Split
from holdfast.seeds import generator
from holdfast.streams import Compose, Permute, Rotate, permuted, rotated, views
from holdfast.streams.permutation import kept_in_place

SHAPES = st.one_of(
    st.tuples(st.integers(1, 12)),
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9)),
)


def positions(shape: tuple[int, ...]) -> torch.Tensor:
    """One sample whose values are its own positions."""
    return torch.arange(math.prod(shape), dtype=torch.float32).view(1, *shape)


@given(shape=SHAPES, similarity=st.floats(0, 1), seed=st.integers(0, 99), mix=st.booleans())
def test_permuted_is_a_bijection_that_keeps_what_it_promises(
    make_dataset, shape, similarity, seed, mix
) -> None:
    stream = permuted(make_dataset((2, 2), shape), 3, similarity, mix_channels=mix, seed=seed)
    x = positions(shape)
    grid = shape[-2:]
    if len(grid) == 1:
        sides = [round(grid[0] * similarity)]
    else:
        sides = [round(side * math.sqrt(similarity)) for side in grid]
    starts = [(side - inner) // 2 for side, inner in zip(grid, sides, strict=True)]
    box = (..., *(slice(a, a + n) for a, n in zip(starts, sides, strict=True)))
    assert torch.equal(stream[0].inputs(x), x)
    for task in stream:
        seen = task.inputs(x)
        assert torch.equal(seen.flatten().sort().values, x.flatten())
        assert torch.equal(seen[box], x[box])
        assert torch.equal(seen, task.inputs(x))
        if not mix and len(shape) == 3:
            apart = seen - seen[:, :1]
            assert torch.equal(apart, x - x[:, :1])
    again = permuted(make_dataset((2, 2), shape), 3, similarity, mix_channels=mix, seed=seed)
    assert all(torch.equal(a.inputs(x), b.inputs(x)) for a, b in zip(stream, again, strict=True))


@given(shape=SHAPES)
def test_similarity_one_is_the_identity(make_dataset, shape) -> None:
    x = positions(shape)
    stream = permuted(make_dataset((2, 2), shape), 3, 1.0, permute_first=True)
    assert all(torch.equal(task.inputs(x), x) for task in stream)


@given(similarity=st.floats(0, 1))
def test_the_kept_square_is_centred(similarity) -> None:
    kept = kept_in_place((28, 28), similarity).view(28, 28)
    side = round(28 * math.sqrt(similarity))
    assert int(kept.sum()) == side**2
    rows, columns = kept.any(1).nonzero().flatten(), kept.any(0).nonzero().flatten()
    assert torch.equal(rows, columns)
    if side:
        assert abs(rows[0] - (27 - rows[-1])) <= 1


def test_permutations_differ_by_task_and_seed(make_dataset) -> None:
    x = positions((1, 6, 6))
    dataset = make_dataset((2, 2), (1, 6, 6))
    seen = [task.inputs(x) for seed in (0, 1) for task in permuted(dataset, 4, seed=seed)[1:]]
    assert all(not torch.equal(a, b) for i, a in enumerate(seen) for b in seen[:i])
    first = permuted(dataset, 2, permute_first=True)
    assert [t.name for t in first] == ["permutation 0", "permutation 1"]
    assert not torch.equal(first[0].inputs(x), x)
    assert [t.name for t in permuted(dataset, 2)] == ["original", "permutation 1"]


def test_a_permutation_moves_normalised_values(make_dataset) -> None:
    raw = torch.randint(0, 256, (5, 2, 3, 3), generator=generator(0), dtype=torch.uint8)
    part = Split(raw, torch.arange(5) % 2)
    normalize = Normalize((10.0, 200.0), (3.0, 7.0))
    stream = permuted(Dataset(part, part, normalize=normalize), 2, mix_channels=True)
    seen = stream[1].inputs(raw)
    assert seen.dtype == torch.float32
    expected = normalize(raw).flatten(1).sort().values
    assert torch.equal(seen.flatten(1).sort().values, expected)
    plain = permuted(Dataset(part, part), 2)
    assert plain[1].inputs(raw).dtype == torch.float32


def test_tasks_share_the_tensors_of_the_dataset(make_dataset) -> None:
    dataset = make_dataset()
    assert all(t.train is dataset.train and t.test is dataset.test for t in permuted(dataset))
    held = permuted(dataset, validation=0.25)
    assert len({id(t.train) for t in held}) == len({id(t.validation) for t in held}) == 1


def test_a_head_a_task_is_possible(make_dataset) -> None:
    stream = permuted(make_dataset(), 3, scenario="task_incremental")
    assert stream.scenario == "task_incremental"
    assert all(t.classes == tuple(range(6)) for t in stream)


def test_regression_targets_may_be_permuted_too() -> None:
    part = Split(torch.rand(4, 3), torch.rand(4, 2))
    assert permuted(Dataset(part, part), 2).is_regression


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"similarity": 1.1}, r"similarity must lie in \[0, 1\], got 1.1"),
        ({"similarity": float("nan")}, "similarity must lie in"),
        ({"tasks": 0}, "tasks must be a positive integer"),
        ({"scenario": "class_incremental"}, "scenario must be 'domain_incremental' or"),
    ],
)
def test_permuted_refuses(make_dataset, options, message) -> None:
    with pytest.raises(ValueError, match=message):
        permuted(make_dataset(), **options)
    number = Split(torch.zeros(2), torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="nothing to permute"):
        permuted(Dataset(number, number))


@given(
    turns=st.integers(-5, 5),
    shape=st.tuples(st.integers(1, 2), st.integers(1, 7)),
    seed=st.integers(0, 9),
)
def test_quarter_turns_are_exact(turns, shape, seed) -> None:
    x = torch.randn(2, shape[0], shape[1], shape[1], generator=generator(seed))
    assert torch.equal(Rotate(90.0 * turns)(x), torch.rot90(x, turns, (2, 3)))


@given(
    angle=st.floats(-400, 400),
    height=st.integers(2, 9),
    width=st.integers(2, 9),
    seed=st.integers(0, 9),
)
def test_other_angles_interpolate_as_scipy_does(angle, height, width, seed) -> None:
    x = torch.randn(2, 2, height, width, generator=generator(seed), dtype=torch.float64)
    expected = ndimage.rotate(
        x.numpy(), angle, axes=(3, 2), reshape=False, order=1, mode="grid-constant", cval=0.0
    )
    np.testing.assert_allclose(Rotate(angle)(x).numpy(), expected, atol=1e-9)


def test_rotated_spreads_its_angles(make_dataset) -> None:
    dataset = make_dataset((2, 2), (1, 3, 3))
    assert [t.name for t in rotated(dataset, 3)] == ["0 degrees", "90 degrees", "180 degrees"]
    assert [t.name for t in rotated(dataset, 1)] == ["0 degrees"]
    assert [t.name for t in rotated(dataset, angles=[30.0, -5.5])] == [
        "30 degrees",
        "-5.5 degrees",
    ]
    x = positions((1, 3, 3))
    assert torch.equal(rotated(dataset, 3)[1].inputs(x), x.rot90(1, (2, 3)))


def test_what_comes_in_from_outside_is_raw_zero() -> None:
    # The corner comes from 2 sqrt(2) pixels off the centre, between the last pixel, at 2, and the
    # zero beyond it, at 3.
    inside = 3 - 2 * math.sqrt(2)
    raw = torch.full((2, 1, 5, 5), 8, dtype=torch.uint8)
    part = Split(raw, torch.tensor([0, 1]))
    normalize = Normalize((4.0,), (2.0,))
    seen = rotated(Dataset(part, part, normalize=normalize), angles=[45.0])[0].inputs(raw)
    assert seen[0, 0, 0, 0] == pytest.approx(8 * inside / 2 - 2)
    assert seen[0, 0, 2, 2] == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tasks": 0}, "tasks must be a positive integer"),
        ({"angles": []}, "angles must be finite and all different"),
        ({"angles": [1.0, 1.0]}, "angles must be finite and all different"),
        ({"angles": [float("inf")]}, "angles must be finite and all different"),
        ({"max_angle": 0.0}, "angles must be finite and all different"),
        ({"scenario": "class_incremental"}, "scenario must be"),
    ],
)
def test_rotated_refuses(make_dataset, options, message) -> None:
    with pytest.raises(ValueError, match=message):
        rotated(make_dataset((2, 2), (1, 3, 3)), **options)
    with pytest.raises(ValueError, match="rotated needs images"):
        rotated(make_dataset())


def test_views_of_your_own(make_dataset) -> None:
    dataset = make_dataset(normalize=Normalize((1.0,), (2.0,)))
    stream = views(dataset, {"plain": torch.clone, "negative": torch.neg})
    x = torch.tensor([[5.0, 3.0]])
    assert [t.inputs(x).tolist() for t in stream] == [[[2.0, 1.0]], [[-3.0, -2.0]]]
    first = views(dataset, {"negative": torch.neg}, normalize_first=True)
    assert first[0].inputs(x).tolist() == [[-2.0, -1.0]]
    with pytest.raises(ValueError, match="tasks is empty"):
        views(dataset, {})


def test_compose_leaves_out_what_is_not_there() -> None:
    order = Permute(torch.tensor([1, 0]), dims=1)
    assert Compose.of(None, order, None).parts == (order,)
    assert Compose.of()(torch.ones(1, 2, dtype=torch.uint8)).dtype == torch.float32
