"""Heads: numbering, growth, mixed tasks and state."""

import inspect

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from holdfast.nets import GrowingHead, Head, SharedHead, TaskHeads

WIDTH = 4


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def grown(*tasks: tuple[int, ...]) -> GrowingHead:
    head = GrowingHead(WIDTH)
    for index, classes in enumerate(tasks):
        head.accommodate(index, classes, generator(index))
    return head


def per_task(tasks: dict[int, tuple[int, ...]], dtype: torch.dtype = torch.float32) -> TaskHeads:
    heads = TaskHeads(WIDTH).to(dtype)
    for index, classes in tasks.items():
        heads.accommodate(index, classes, generator(index))
    return heads


partitions = st.lists(st.integers(0, 99), unique=True, min_size=1, max_size=12).flatmap(
    lambda labels: st.lists(st.integers(0, 3), min_size=len(labels), max_size=len(labels)).map(
        lambda owner: [
            tuple(c for c, o in zip(labels, owner, strict=True) if o == t) for t in range(4)
        ]
    )
)


@settings(max_examples=30, deadline=None)
@given(partitions)
def test_growth_keeps_old_rows_and_columns(tasks: list[tuple[int, ...]]) -> None:
    head, x = GrowingHead(WIDTH), torch.randn(3, WIDTH)
    for index, classes in enumerate(tasks):
        before, known = head(x).detach(), head.known.tolist()
        head.accommodate(index, classes)
        torch.testing.assert_close(head(x)[:, : len(known)], before)
        assert head.known.tolist() == known + list(classes)
        assert all(head.knows(index, done) for done in tasks[: index + 1])
    # A task that comes again changes nothing.
    weight = head.weight
    head.accommodate(9, head.known.tolist()[::-1])
    assert head.weight is weight


@settings(max_examples=30, deadline=None)
@given(partitions)
def test_columns_and_labels_are_inverse(tasks: list[tuple[int, ...]]) -> None:
    tasks = [classes for classes in tasks if classes]
    everything = [c for classes in tasks for c in classes]
    heads: list[Head] = [grown(*tasks), SharedHead(WIDTH, everything[::-1])]
    heads.append(per_task(dict(enumerate(tasks))))
    for head in heads:
        for index, classes in enumerate(tasks):
            labels = torch.tensor(classes * 2)
            columns = head.columns(labels, index)
            assert torch.equal(head.labels(columns, index), labels)
            outputs = head(torch.zeros(1, WIDTH), index).shape[1]
            assert int(columns.min()) >= 0
            assert int(columns.max()) < outputs


def test_task_heads_number_columns_within_the_task() -> None:
    heads = per_task({0: (7, 3), 2: (5, 9, 1)})
    assert heads.columns(torch.tensor([3, 7, 7]), 0).tolist() == [1, 0, 0]
    assert heads.columns(torch.tensor([1, 5]), 2).tolist() == [2, 0]
    assert heads.labels(torch.tensor([2, 0]), 2).tolist() == [1, 5]
    assert heads.tasks == [0, 2]
    assert heads.knows(2, ())
    assert not heads.knows(1, ())


def test_shared_head_of_regression_passes_targets() -> None:
    head, y = SharedHead(WIDTH, 3), torch.randn(5, 3)
    assert head.columns(y, 0) is y
    assert head(torch.zeros(5, WIDTH)).shape == (5, 3)
    assert head.knows(0, ())


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from([0, 1, 3]), min_size=1, max_size=9), st.integers(0, 99))
def test_mixed_tasks_are_the_tasks_one_by_one(order: list[int], seed: int) -> None:
    heads = per_task({0: (0, 1), 3: (5, 6, 7, 8), 1: (2, 3, 4)}, torch.float64)
    x = torch.randn(len(order), WIDTH, dtype=torch.float64, generator=generator(seed))
    task = torch.tensor(order)
    widest = 4
    y = torch.tensor([seed % 2] * len(order))

    features = x.clone().requires_grad_()
    mixed = heads(features, task)
    assert mixed.shape == (len(order), widest)
    nn.functional.cross_entropy(mixed, y, reduction="sum").backward()
    gradients = {n: p.grad.clone() for n, p in heads.named_parameters() if p.grad is not None}
    heads.zero_grad()

    alone = x.clone().requires_grad_()
    loss = torch.zeros((), dtype=torch.float64)
    for i, t in enumerate(order):
        logits = heads(alone[i : i + 1], t)
        torch.testing.assert_close(mixed[i : i + 1, : logits.shape[1]], logits)
        assert bool(mixed[i, logits.shape[1] :].isneginf().all())
        loss = loss + nn.functional.cross_entropy(logits, y[i : i + 1])
    loss.backward()
    torch.testing.assert_close(features.grad, alone.grad)
    for name, p in heads.named_parameters():
        expected = torch.zeros_like(p) if p.grad is None else p.grad
        torch.testing.assert_close(gradients[name], expected)


def loaded(source: Head, target: Head) -> Head:
    before = torch.random.get_rng_state()
    target.load_state_dict(source.state_dict())
    assert torch.equal(before, torch.random.get_rng_state())
    return target


def test_state_goes_into_a_fresh_head() -> None:
    x = torch.randn(3, WIDTH)
    growing = grown((3, 1), (0, 2, 9))
    for target in (GrowingHead(WIDTH), grown((5,)), grown((1, 3, 5, 6, 7, 8))):
        fresh = loaded(growing, target)
        assert torch.equal(fresh(x), growing(x))
        assert torch.equal(fresh.known, growing.known)
    heads = per_task({0: (3, 1), 2: (0, 2, 9)})
    for target in (TaskHeads(WIDTH), per_task({0: (3, 1)})):
        fresh = loaded(heads, target)
        assert torch.equal(fresh(x, 2), heads(x, 2))
        assert fresh.labels(torch.tensor([1]), 0).tolist() == [1]
    shared = SharedHead(WIDTH, (4, 2))
    assert torch.equal(loaded(shared, SharedHead(WIDTH, (4, 2)))(x), shared(x))
    nested = nn.ModuleDict({"heads": TaskHeads(WIDTH), "other": grown()})
    nested.load_state_dict(nn.ModuleDict({"heads": heads, "other": growing}).state_dict())
    assert torch.equal(nested["heads"](x, 0), heads(x, 0))


@pytest.mark.parametrize("build", [lambda: GrowingHead(WIDTH), lambda: TaskHeads(WIDTH)])
def test_new_rows_follow_the_dtype(build: type[Head]) -> None:
    head = build().double()
    for index, classes in enumerate(((0, 1), (2, 3))):
        head.accommodate(index, classes)
        assert head(torch.zeros(1, WIDTH, dtype=torch.float64), index).dtype == torch.float64
    head.float()
    head.accommodate(2, (4,))
    assert {p.dtype for p in head.parameters()} == {torch.float32}
    assert head.columns(torch.tensor([4]), 2).dtype == torch.int64


@pytest.mark.parametrize("build", [GrowingHead, TaskHeads])
def test_generator_decides_the_rows_alone(build: type[Head]) -> None:
    def rows(seed: int) -> list[Tensor]:
        head = build(WIDTH)
        head.accommodate(0, (0, 1), generator(seed))
        head.accommodate(1, (2, 3, 4), generator(seed + 100))
        return [p.detach() for p in head.parameters()]

    before = torch.random.get_rng_state()
    first, again, other = rows(0), rows(0), rows(1)
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(map(torch.equal, first, again))
    assert not any(map(torch.equal, first, other))
    bound = WIDTH**-0.5
    assert all(float(p.abs().max()) <= bound for p in first)


def test_new_rows_are_as_linear_layers_draw_them() -> None:
    head = GrowingHead(WIDTH)
    head.accommodate(0, range(4000), generator())
    # Uniform in +-1/sqrt(width): variance 1/(3 width); 16,000 draws, four standard errors.
    assert float(head.weight.detach().var()) == pytest.approx(1 / (3 * WIDTH), rel=0.03)
    assert float(head.weight.detach().mean()) == pytest.approx(0, abs=0.01)


def test_empty_growing_head_gives_no_columns() -> None:
    head = GrowingHead(WIDTH)
    assert head(torch.zeros(2, WIDTH)).shape == (2, 0)
    assert not head.knows(0, (1,))


def test_unknown_labels_and_tasks_are_named() -> None:
    stranger, x = torch.tensor([3, 8, 1]), torch.zeros(3, WIDTH)
    with pytest.raises(ValueError, match=r"labels \[8\] are unknown to this GrowingHead.*\[3, 1\]"):
        grown((3, 1)).columns(stranger, 0)
    with pytest.raises(ValueError, match=r"labels \[1, 3, 8\] are unknown"):
        GrowingHead(WIDTH).columns(stranger, 0)
    with pytest.raises(ValueError, match=r"labels \[8\] are unknown to this SharedHead"):
        SharedHead(WIDTH, (3, 1)).columns(stranger, 0)
    heads = per_task({0: (3, 1), 2: (0,)})
    with pytest.raises(ValueError, match=r"labels \[8\] are unknown"):
        heads.columns(stranger, 0)
    with pytest.raises(ValueError, match=r"task 1 does not exist: heads are there for \[0, 2\]"):
        heads(x, 1)
    with pytest.raises(ValueError, match=r"tasks \[1, 5\] do not exist.*\[0, 2\]"):
        heads(x, torch.tensor([5, 0, 1]))
    with pytest.raises(ValueError, match=r"tasks \[0\] do not exist"):
        TaskHeads(WIDTH)(x, torch.tensor([0, 0, 0]))
    with pytest.raises(ValueError, match="task must be given"):
        heads(x)
    with pytest.raises(ValueError, match="index must name the task"):
        heads.labels(torch.tensor([0]))


def test_bad_arguments_are_named() -> None:
    for build in (GrowingHead, TaskHeads, lambda width: SharedHead(width, (0,))):
        with pytest.raises(ValueError, match="width must be positive, got 0"):
            build(0)
    with pytest.raises(ValueError, match="at least one class or output"):
        SharedHead(WIDTH, ())
    with pytest.raises(ValueError, match="at least one class or output, got 0"):
        SharedHead(WIDTH, 0)
    for repeats in (
        lambda: SharedHead(WIDTH, (1, 1)),
        lambda: grown((2, 2)),
        lambda: per_task({0: (2, 2)}),
    ):
        with pytest.raises(ValueError, match="classes repeats a label"):
            repeats()
    with pytest.raises(ValueError, match=r"classes \[5\] are unknown to this SharedHead.*Growing"):
        SharedHead(WIDTH, (0, 1)).accommodate(1, (1, 5))
    with pytest.raises(ValueError, match=r"task 0 has a head for classes \[3, 1\].*got \[1, 3\]"):
        per_task({0: (3, 1)}).accommodate(0, (1, 3))


def test_the_base_leaves_all_to_its_heads() -> None:
    head = Head()
    for call in (
        lambda: head.accommodate(0, ()),
        lambda: head.knows(0, ()),
        lambda: head.columns(torch.zeros(1), 0),
        lambda: inspect.unwrap(Head.labels)(head, torch.zeros(1)),
    ):
        with pytest.raises(NotImplementedError):
            call()
