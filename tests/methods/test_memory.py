import math
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from holdfast.methods.memory import Memory
from holdfast.streams.batches import Batch


def batch(ids: Tensor, y: Tensor | None = None, task: int | Tensor = 0) -> Batch:
    """Samples that carry their identity in x."""
    return Batch(ids[:, None].double(), ids if y is None else y, task)


def draws(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def chi_square(counts: Tensor, expected: float) -> float:
    return float(((counts - expected).square() / expected).sum())


@pytest.mark.parametrize("pieces", [1, 4])
def test_reservoir_is_uniform(pieces: int) -> None:
    # Each of n samples stays with probability m / n; the counts of R runs have the variance
    # R m/n (1 - m/n), and their scaled chi-square n - 1 degrees of freedom.
    n, m, runs = 40, 10, 800
    kept = torch.zeros(n)
    generator = draws(0)
    for _ in range(runs):
        memory = Memory(m)
        for part in torch.arange(n).chunk(pieces):
            memory.add(batch(part), generator)
        assert len(memory) == m
        kept[memory.y] += 1
    statistic = chi_square(kept, runs * m / n) / (1 - m / n)
    spread = math.sqrt(2 * (n - 1))
    assert abs(statistic - (n - 1)) < 4 * spread


def test_reservoir_keeps_pairs_uniformly() -> None:
    # Inclusions are not merely uniform one by one: all subsets are equally likely.
    n, m, runs = 6, 3, 1500
    generator, seen = draws(1), Counter[tuple[int, ...]]()
    for _ in range(runs):
        memory = Memory(m)
        for part in torch.arange(n).split(2):
            memory.add(batch(part), generator)
        seen[tuple(sorted(memory.y.tolist()))] += 1
    subsets = math.comb(n, m)
    assert len(seen) == subsets
    statistic = chi_square(torch.tensor(list(seen.values())).double(), runs / subsets)
    assert abs(statistic - (subsets - 1)) < 4 * math.sqrt(2 * (subsets - 1))


def test_class_balanced_is_uniform_within_a_class() -> None:
    # Class 0 fills the memory before class 1 comes; each of its samples must be as likely to stay.
    n, m, runs = 20, 10, 800
    generator, kept = draws(2), torch.zeros(n)
    for _ in range(runs):
        memory = Memory(m, "class_balanced")
        for ids, label in ((torch.arange(8), 0), (torch.arange(8, 20), 0), (torch.arange(12), 1)):
            labels = torch.full_like(ids, label)
            memory.add(batch(ids, labels), generator, classes=labels)
        mine = memory.x[memory.y == 0].long().flatten()
        assert len(mine) == 5
        kept[mine] += 1
    statistic = chi_square(kept, runs * 5 / n) / (1 - 5 / n)
    assert abs(statistic - (n - 1)) < 4 * math.sqrt(2 * (n - 1))


@settings(max_examples=60, deadline=None)
@given(
    labels=st.lists(st.integers(0, 4), min_size=1, max_size=60),
    capacity=st.integers(1, 20),
    size=st.integers(1, 60),
)
def test_class_balanced_shares_are_equal(labels: list[int], capacity: int, size: int) -> None:
    memory, y = Memory(capacity, "class_balanced"), torch.tensor(labels)
    for ids in torch.arange(len(labels)).split(size):
        memory.add(batch(ids, y[ids]), draws(3), classes=y[ids])
    seen, held = Counter(labels), Counter(memory.y.tolist())
    assert held.total() == min(capacity, len(labels))
    share = max(held.values())
    for label, count in seen.items():
        # All it had, or a share at most one below the largest.
        assert held[label] == count or held[label] >= share - 1
    assert len(set(memory.x.flatten().tolist())) == len(memory)
    assert torch.equal(memory.group, memory.y)


def naive_kept(keys: Tensor, labels: list[int] | None, capacity: int) -> set[int]:
    """By sorting all that was ever seen, instead of piece by piece."""
    ranks = []
    for i, key in enumerate(keys.tolist()):
        if labels is None:
            ranks.append((key, 0, i))
        else:
            peers = [
                k for k, label in zip(keys.tolist(), labels, strict=True) if label == labels[i]
            ]
            ranks.append((sum(k < key for k in peers), labels[i], i))
    return {i for _, _, i in sorted(ranks)[:capacity]}


@settings(max_examples=60, deadline=None)
@given(
    labels=st.lists(st.integers(0, 3), min_size=1, max_size=50),
    capacity=st.integers(1, 20),
    size=st.integers(1, 50),
    balanced=st.booleans(),
)
def test_pieces_make_no_difference(
    labels: list[int], capacity: int, size: int, balanced: bool
) -> None:
    memory = Memory(capacity, "class_balanced" if balanced else "reservoir")
    y, generator = torch.tensor(labels), draws(4)
    for ids in torch.arange(len(labels)).split(size):
        memory.add(batch(ids, y[ids]), generator, classes=y[ids])
    keys = torch.cat(
        [
            torch.rand(len(ids), generator=g, dtype=torch.float64)
            for g in [draws(4)]
            for ids in torch.arange(len(labels)).split(size)
        ]
    )
    ids = memory.x.flatten().long()
    assert set(ids.tolist()) == naive_kept(keys, labels if balanced else None, capacity)
    assert torch.equal(memory.key, keys[ids])
    assert torch.equal(memory.y, y[ids])


def test_rows_belong_together_and_logits_grow() -> None:
    memory, generator = Memory(6), draws(5)
    widths = (2, 4, 3)
    for task, width in enumerate(widths):
        ids = torch.arange(8) + 8 * task
        logits = ids[:, None] + torch.arange(width).double() / 10
        memory.add(batch(ids, ids + 100, task), generator, logits=logits)
    ids = memory.x.flatten().long()
    assert torch.equal(memory.y, ids + 100)
    assert torch.equal(memory.task, ids // 8)
    assert set(memory.task.tolist()) == {0, 1, 2}
    assert torch.equal(memory.width, torch.tensor(widths)[memory.task])
    index = torch.tensor([4, 0, 3])
    stored, width = memory.logits_at(index)
    assert stored.shape == (3, 4)
    for row, i, w in zip(stored, ids[index], width.tolist(), strict=True):
        assert torch.equal(row[:w], i + torch.arange(w).double() / 10)
        assert not row[w:].any()


def test_half_precision_logits_are_kept_in_single() -> None:
    memory = Memory(4)
    memory.add(batch(torch.arange(3)), draws(0), logits=torch.ones(3, 2, dtype=torch.bfloat16))
    assert memory.logits.dtype == torch.float32


def test_draws_without_repetition() -> None:
    memory, generator = Memory(10), draws(6)
    memory.add(batch(torch.arange(10)), generator)
    index = memory.draw(4, generator)
    assert len(set(index.tolist())) == 4
    assert sorted(memory.draw(99, generator).tolist()) == list(range(10))
    assert torch.equal(memory.at(index).y, memory.y[index])
    assert len(Memory(3).draw(5, generator)) == 0


def test_state_is_copied_on_load_and_checked() -> None:
    memory, generator = Memory(5), draws(7)
    memory.add(batch(torch.arange(9)), generator)
    again = Memory(5)
    again.load_state_dict(memory.state_dict())
    before = again.y.clone()
    memory.add(batch(torch.arange(100, 200)), generator)
    assert torch.equal(again.y, before)
    assert not torch.equal(memory.y, before)
    with pytest.raises(ValueError, match="memory holds at most 4 samples, the state to load has 5"):
        Memory(4).load_state_dict(memory.state_dict())


def test_refuses_bad_options() -> None:
    with pytest.raises(ValueError, match="memory must be a positive integer, got 0"):
        Memory(0)
    with pytest.raises(ValueError, match="classes must be given"):
        Memory(4, "class_balanced").add(batch(torch.arange(3)), draws(0))
