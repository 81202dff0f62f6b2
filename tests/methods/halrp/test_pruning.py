import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_adapted import low_rank, small_model

from holdfast.methods.halrp import Adapted, Pruning, prune
from holdfast.methods.halrp.pruning import share_for

X = torch.randn(4, 3, 4, 4, generator=torch.Generator().manual_seed(1))


def values(model: Adapted) -> dict[tuple[str, int], np.ndarray]:
    """Of each task and layer: U and V, flat."""
    found = {}
    for task in model.names:
        m = [t.detach().numpy().ravel() for t in low_rank(model, task)]
        for layer in range(len(m) // 2):
            found[task, layer] = np.concatenate(m[2 * layer : 2 * layer + 2])
    return found


def naive(before: dict[tuple[str, int], np.ndarray], below: float, share: float, over: str):
    """By sorting, entry by entry."""
    after = {}
    for (task, layer), entries in before.items():
        pool = np.concatenate([
            v for (t, k), v in before.items()
            if over == "all_tasks" or (t == task and (over == "task" or k == layer))
        ])  # fmt: skip
        threshold = below
        if share > 0:
            ordered = np.sort(np.abs(pool.astype(np.float64)))
            place = share * (len(ordered) - 1)
            low = int(place)
            high = min(low + 1, len(ordered) - 1)
            quantile = ordered[low] + (place - low) * (ordered[high] - ordered[low])
            threshold = max(below, quantile)
        after[task, layer] = np.array([0 if abs(e) <= threshold else e for e in entries])
    return after


@pytest.mark.parametrize("over", ["layer", "task", "all_tasks"])
@pytest.mark.parametrize(
    ("below", "share"), [(0.0, 0.0), (0.4, 0.0), (0.0, 0.37), (0.9, 0.37), (0.01, 0.37), (0.0, 1.0)]
)
def test_modes_against_a_sort(over, below, share):
    model = small_model(tasks=3)
    before = values(model)
    removed = prune(model, Pruning(below, share, over))
    wanted, after = naive(before, below, share, over), values(model)
    assert all(np.array_equal(after[k], wanted[k]) for k in before)
    assert removed == sum((v == 0).sum() for v in wanted.values())
    # What is 0 counts in the quantile: again is nothing more.
    assert prune(model, Pruning(below, share, over)) == 0


def test_nothing_but_u_and_v_of_the_named_tasks():
    model = small_model(tasks=3)
    before = {n: t.clone() for n, t in model.state_dict().items()}
    prune(model, Pruning(share=0.5), tasks=[2])
    changed = {n for n, t in model.state_dict().items() if not torch.equal(t, before[n])}
    assert {n.split(".tasks.")[1] for n in changed} == {"2.U", "2.V"}
    assert torch.equal(model(X, 1), small_model(tasks=3)(X, 1))
    with pytest.raises(ValueError, match="task 9 is unknown"):
        prune(model, Pruning(share=0.5), tasks=[9])


def test_a_layer_of_rank_0():
    model = small_model(tasks=1, rank=0)
    assert prune(model, Pruning(share=0.5, over="layer")) == 0


@given(st.floats(0.01, 3), st.floats(0.01, 3))
def test_share_for_a_growth(growth, increase):
    share = share_for(growth, increase)
    if increase < growth:
        assert share is None
    else:
        assert share == pytest.approx(1 - growth / increase)
        assert 0 <= share < 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"below": -1.0}, "below must be a number of at least 0"),
        ({"share": 1.5}, "share must be a number of at least 0 and at most 1.0"),
        ({"below": float("nan")}, "below must be"),
    ],
)
def test_refuses_numbers_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        Pruning(**options)
