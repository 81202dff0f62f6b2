import pytest
import torch
from small_adapted import low_rank, randomise, small_model
from torch import nn

from holdfast.methods.halrp import (
    Adapted,
    Perturbed,
    Pruning,
    adapt,
    perturbed_layers,
    prune,
    save_packed,
    sizes,
)
from holdfast.nets import alexnet, lenet, resnet18
from holdfast.nets.heads import TaskHeads
from holdfast.nets.learner import Learner


def learner(model: Adapted, width: int, tasks: int = 2) -> Learner:
    made = Learner(model, TaskHeads(width))
    for task in range(tasks):
        made.heads.accommodate(task, list(range(10)))
    return made


@pytest.mark.parametrize(
    ("net", "width", "base", "fixed", "cost"),
    [
        (lambda: lenet((3, 32, 32)), 500, 2_995_620, 13_143, [23, 70, 4000, 1300]),
        (lambda: alexnet((3, 32, 32)), 2048, 6_533_450, 37_389, [67, 192, 384, 3072, 4096]),
        (lambda: resnet18((3, 32, 32), width=32), 1024, 2_807_690, None, None),
    ],
    ids=["lenet", "alexnet", "resnet18"],
)
def test_the_papers_count(net, width, base, fixed, cost):
    """Constants of the authors' code for tasks of 10 classes."""
    for rank in (0, 1):
        model = adapt(net(), conv="constant", base_task=0)
        model.add(1, ranks=rank)
        for m in low_rank(model, "1"):
            m.data.fill_(1.0)
        found = sizes(learner(model, width))
        assert found.base == base
        ranks = sum(layer.shape.cost_of_rank for layer in layers(model))
        if fixed is not None:
            assert found.growth_paper == (fixed + rank * ranks) / base
            assert [layer.shape.cost_of_rank for layer in layers(model)] == cost


def layers(model: Adapted) -> list[Perturbed]:
    return [layer for _, layer in perturbed_layers(model.model)]


def test_lenet_by_hand():
    """What the paper's count leaves out: 1,370 biases and 2,740 running statistics a task."""
    model = adapt(lenet((3, 32, 32)), base_task=0)
    model.add(1)
    found = sizes(learner(model, 500)).tasks["1"]
    assert (found.scales, found.norms, found.head) == (5393, 2740, 5010)
    assert (found.biases, found.statistics) == (1370, 2740 + 4)  # and 4 counters of batches
    assert found.bytes == 4 * (5393 + 2740 + 5010 + 1370 + 2740) + 8 * 4 + 8 * 10  # and 10 labels
    assert found.numbers == 5393 + 2740 + 5010 + 1370 + 2744


def test_counts_of_u_and_v():
    model = small_model(tasks=1, rank=2)
    entries = sum(m.numel() for m in low_rank(model, "1"))
    assert entries == 2 * (5 + 27) + 2 * (6 + 80)
    prune(model, Pruning(share=0.5))
    low_rank(model, "1")[0].data[0, 0] = 1e-9
    found = sizes(model)
    task = found.tasks["1"]
    nonzero = sum(int((m != 0).sum()) for m in low_rank(model, "1"))
    assert (task.low_rank, task.nonzero) == (entries, nonzero)
    # The paper's count drops 1e-9, and knows no biases.
    assert task.paper == (5 + 3 + 6 + 80) + (nonzero - 1) + (2 * 5 + 2 * 6)
    assert found.growth_paper == task.paper / found.base
    dense = (5 + 3 + 6 + 80) + entries + (2 * 5 + 2 * 6)
    assert found.growth_paper_dense == dense / found.base


def test_bytes_are_those_of_the_file(tmp_path):
    for model in (small_model(tasks=3, storage="int8"), learner(small_model(), 6, tasks=3)):
        found = sizes(model)
        assert found.bytes == save_packed(model, tmp_path / "m").stat().st_size
        parts = found.base_bytes + sum(t.bytes for t in found.tasks.values()) + found.names
        assert 0 < found.bytes - parts < 250  # what a file of that kind begins with
        assert found.growth == found.bytes / found.base_bytes - 1


def test_a_task_that_warms_up_counts_whole():
    model = small_model(tasks=1)
    model.add_free(2)
    found = sizes(model).tasks["2"]
    assert found.free == 5 * 3 * 9 + 6 * 80
    assert found.bytes > 4 * found.free


def test_heads_inside_of_the_model():
    model = adapt(nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)), heads=["2"])
    model.add("b", ranks=1, outputs=5)
    randomise(model, "b")
    found = sizes(model)
    assert found.base == 4 * 3 + 3 + 3 * 2 + 2
    assert found.tasks["b"].head == 3 * 5 + 5
    assert found.tasks["b"].bytes == 4 * found.tasks["b"].numbers


def test_text_has_a_row_a_task():
    found = sizes(small_model(tasks=2))
    lines = found.text().splitlines()
    assert [line.split()[0] for line in lines] == ["task", "1", "2", "all", "base"]
    assert lines[3].split()[-1] == f"{sum(t.bytes for t in found.tasks.values()):,}"
    assert f"{found.growth:+.2%}" in lines[4]
    assert len(sizes(small_model(tasks=0)).text().splitlines()) == 3


def test_refuses_what_has_no_tasks():
    with pytest.raises(TypeError, match="with one, got Learner with Linear"):
        sizes(Learner(nn.Linear(3, 2), TaskHeads(2)))


def test_leaves_the_model_alone():
    model = small_model()
    before = {n: t.clone() for n, t in model.state_dict().items()}
    sizes(model)
    assert all(torch.equal(t, before[n]) for n, t in model.state_dict().items())
