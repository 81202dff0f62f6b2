import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_adapted import randomise, small_net

from holdfast.methods.halrp import (
    Adapted,
    Costs,
    Spectrum,
    adapt,
    choose_ranks,
    perturbed_layers,
    quantise,
    rank_bytes,
    save_packed,
    sizes,
)
from holdfast.methods.halrp.growth import fitting_rank
from holdfast.methods.halrp.storage import Storage
from holdfast.nets import lenet, resnet18
from holdfast.nets.heads import TaskHeads
from holdfast.nets.learner import Learner

CLASSES = [4, 2, 5, 3]


def learner(model: Adapted, width: int, classes: list[int]) -> Learner:
    made = Learner(model, TaskHeads(width))
    for task, count in enumerate(classes):
        made.heads.accommodate(task, list(range(count)))
    return made


def fill(model: Adapted, budgets: dict[str, int], storage: Storage) -> None:
    """Add random tasks of the ranks that their bytes buy."""
    layers = dict(perturbed_layers(model.model))
    draws = torch.Generator().manual_seed(3)
    for task, budget in budgets.items():
        spectra = {
            n: Spectrum(
                torch.rand(min(300, layer.shape.largest_rank), generator=draws).msort().flip(0),
                1e3, 1.0, rank_bytes(layer.shape, storage), layer.shape.largest_rank,
            )
            for n, layer in layers.items()
        }  # fmt: skip
        plan = choose_ranks(spectra, alpha=None, budget=budget, most=300)
        model.add(task, plan.ranks)
        model.plans[task] = plan
        randomise(model, task, int(task))
        quantise(model, task, storage)


@pytest.mark.parametrize("storage", ["float32", "int8"])
@pytest.mark.parametrize(
    ("net", "width"),
    [(lambda: lenet((3, 32, 32)), 500), (lambda: resnet18((3, 32, 32), width=32), 1024)],
    ids=["lenet", "resnet18"],
)
def test_ten_tasks_stay_within_a_fifth_of_the_base_in_bytes_on_disk(net, width, storage, tmp_path):
    classes = [10] * 10
    model = adapt(net(), base_task=0)
    whole = learner(model, width, classes)
    costs = Costs.of(model, whole.heads, classes, storage)
    alone = Learner(adapt(net(), base_task=0), TaskHeads(width))
    alone.heads.accommodate(0, list(range(10)))
    base = save_packed(alone, tmp_path / "base").stat().st_size
    fill(model, {str(t): costs.low_rank_of_growth(0.2) for t in range(1, 10)}, storage)
    taken = save_packed(whole, tmp_path / "all").stat().st_size
    assert taken <= 1.2 * base
    assert taken > 1.19 * base  # and it is used
    assert sizes(whole).growth <= 0.2 + 500 / costs.base


@pytest.mark.parametrize("storage", ["float32", "bfloat16", "int8"])
def test_costs_are_those_of_the_file(storage):
    """Fixed costs are no less than what a task takes, and names no more than is allowed for."""
    model = adapt(small_net(), base_task=0)
    whole = learner(model, 6, CLASSES)
    costs = Costs.of(model, whole.heads, CLASSES, storage)
    fill(model, dict.fromkeys("123", costs.least), storage)
    found = sizes(whole)
    assert found.base_bytes == costs.base
    for task, fixed in zip(found.tasks.values(), costs.fixed, strict=True):
        # 14 + 3 tensors and the task itself: allowed for, and counted by the file in `names`
        assert 0 < fixed + costs.least - task.bytes <= 64 + 16 * 20


def test_what_tasks_have_does_not_count_twice():
    model = adapt(small_net(), base_task=0)
    whole = learner(model, 6, CLASSES)
    before = Costs.of(model, whole.heads, CLASSES)
    fill(model, {"1": before.least}, "float32")
    assert Costs.of(model, whole.heads, CLASSES) == before
    model.fold("1")
    assert Costs.of(model, whole.heads, CLASSES) == before


def test_a_pretrained_base_has_no_head():
    model = adapt(small_net())
    costs = Costs.of(model, TaskHeads(6), CLASSES)
    assert len(costs.fixed) == 4
    assert costs.base == sum(
        t.numel() * t.element_size() for t in small_net().state_dict().values()
    )
    assert len(Costs.of(model, None, CLASSES).fixed) == 4


def test_growth_is_shared_equally_by_u_and_v():
    costs = Costs(base=1000, fixed=(30, 50), least=10)
    assert costs.low_rank_of_growth(0.2) == (200 - 80) // 2
    assert costs.low_rank_of_task(0.1, 0) == 70
    assert costs.low_rank_of_task(0.1, 1) == 50
    assert Costs(1000, (), 10).low_rank_of_growth(0.2) == 0


def test_auto_is_a_fifth_or_what_tasks_take_besides():
    assert Costs(1000, (50, 30), 10).low_rank_auto() == (200 - 80) // 2
    assert Costs(1000, (100, 60), 10).low_rank_auto() == 80
    assert Costs(1000, (500, 300), 10).low_rank_auto() == 400
    assert Costs(1000, (4, 4), 150).low_rank_auto() == 150
    assert Costs(1000, (), 10).low_rank_auto() == 0


@given(st.integers(100, 10**7), st.lists(st.integers(1, 10**6), min_size=1), st.integers(0, 10**5))
def test_the_smallest_bound_that_is_named_is_enough(base, fixed, least):
    costs = Costs(base, tuple(fixed), least)
    low = (sum(fixed) + len(fixed) * least) / base
    with pytest.raises(ValueError, match="the smallest growth is") as refused:
        costs.low_rank_of_growth(0.99 * low * (1 - 2 / (low * base)))
    assert costs.low_rank_of_growth(float(str(refused.value).split()[-1])) >= least
    with pytest.raises(ValueError, match="the smallest task_budget is") as refused:
        costs.low_rank_of_task(1e-9, 0)
    assert costs.low_rank_of_task(float(str(refused.value).split()[-1]), 0) >= least


def test_refusals_name_the_bytes():
    costs = Costs(base=1000, fixed=(30, 50), least=10)
    with pytest.raises(
        ValueError,
        match=r"growth 0.09 allows 90 bytes, but 2 tasks take 100 .*\(80 without",
    ):
        costs.low_rank_of_growth(0.09)
    with pytest.raises(ValueError, match=r"task_budget 0.05 allows 50 bytes, but a task takes 60 "):
        costs.low_rank_of_task(0.05, 1)


@given(
    st.lists(st.tuples(st.integers(1, 50), st.integers(1, 12)), min_size=1, max_size=4),
    st.integers(0, 600),
    st.integers(1, 15),
)
def test_fitting_rank_is_the_largest(layers, budget, most):
    spectra = {
        str(i): Spectrum(torch.ones(1), 1.0, 1.0, cost, largest)
        for i, (cost, largest) in enumerate(layers)
    }

    def taken(rank: int) -> int:
        return sum(cost * min(rank, largest) for cost, largest in layers)

    limit = min(most, max(largest for _, largest in layers))
    assert fitting_rank(spectra, budget, most) == max(
        k for k in range(limit + 1) if taken(k) <= budget
    )
