import inspect

import pytest
import torch
from torch import Tensor, nn

from holdfast.data.split import Split
from holdfast.nets.heads import GrowingHead, Head, SharedHead, TaskHeads
from holdfast.nets.learner import Learner
from holdfast.nets.redraw import redraw
from holdfast.starts import CarryOn, Fresh
from holdfast.streams import Context, Resident, Stream, Task


def mean(logits: Tensor, y: Tensor, reduction: str = "mean") -> Tensor:
    return logits.mean()


def context(index: int = 1, seed: int = 0) -> Context:
    parts = [Split(torch.zeros(2, 3), torch.full((2,), i)) for i in range(3)]
    stream = Stream([Task(f"t{i}", p, p) for i, p in enumerate(parts)], "class_incremental")
    return Context(
        index=index,
        stream=stream,
        source=Resident.of([(index, stream[index])], lambda y, i: y),
        criterion=mean,
        batch_size=2,
        generator=torch.Generator(),
        device=torch.device("cpu"),
        seed=seed,
    )


def learner(head: Head | None = None) -> Learner:
    if head is None:
        head = GrowingHead(4)
    for i in range(2):
        head.accommodate(i, (i,))
    return Learner(nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)), head)


@pytest.mark.parametrize("head", [GrowingHead(4), SharedHead(4, [0, 1]), TaskHeads(4)], ids=str)
def test_all_is_drawn_anew_and_columns_stay(head: Head) -> None:
    one = learner(head)
    one.backbone(torch.randn(8, 3))  # moves the running statistics
    before = {k: v.clone() for k, v in one.state_dict().items()}
    Fresh().prepare(one, context())
    after = one.state_dict()
    assert after.keys() == before.keys()
    for name, tensor in after.items():
        if name.endswith("known"):
            assert torch.equal(tensor, before[name])
        elif "backbone.1" not in name:
            assert not (tensor == before[name]).any(), name
    assert after["backbone.1.running_mean"].abs().max() == 0
    assert after["backbone.1.num_batches_tracked"] == 0


def test_new_rows_start_as_grown_ones_do() -> None:
    one = learner()
    Fresh("heads").prepare(one, context())
    assert one.heads.weight.abs().max() <= 0.5  # 1 / sqrt(width)
    assert one.heads.weight.requires_grad


def test_weights_depend_on_seed_and_position_alone() -> None:
    def drawn(index: int, seed: int) -> Tensor:
        one = learner()
        state = torch.get_rng_state()
        Fresh().prepare(one, context(index, seed))
        assert torch.equal(state, torch.get_rng_state())
        return torch.cat([p.detach().flatten() for p in one.parameters()])

    assert torch.equal(drawn(1, 0), drawn(1, 0))
    assert not torch.equal(drawn(1, 0), drawn(2, 0))
    assert not torch.equal(drawn(1, 0), drawn(1, 1))
    whole = learner()
    redraw(whole, 0, "fresh", 1)
    assert torch.equal(drawn(1, 0), torch.cat([p.detach().flatten() for p in whole.parameters()]))


@pytest.mark.parametrize("part", ["backbone", "heads"])
def test_a_part_alone(part: str) -> None:
    one = learner()
    before = {k: v.clone() for k, v in one.state_dict().items()}
    Fresh(part).prepare(one, context())  # type: ignore[arg-type]
    for name in ("backbone.0.weight", "heads.weight"):
        same = torch.equal(one.state_dict()[name], before[name])
        assert same != name.startswith(part)


def test_refuses_what_cannot_be_drawn() -> None:
    class Bare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(3))

        def forward(self, x: Tensor) -> Tensor:
            return x * self.scale

    one = Learner(nn.Sequential(Bare(), nn.Linear(3, 4)), GrowingHead(4))
    before = one.backbone[1].weight.clone()
    with pytest.raises(ValueError, match=r"backbone\.0 \(Bare\)"):
        Fresh().prepare(one, context())
    assert torch.equal(one.backbone[1].weight, before)


def test_refuses_an_unknown_part() -> None:
    with pytest.raises(ValueError, match="part must be one of"):
        inspect.unwrap(Fresh.__init__)(object.__new__(Fresh), "top")


def test_carry_on_changes_nothing() -> None:
    one = learner()
    before = {k: v.clone() for k, v in one.state_dict().items()}
    CarryOn().prepare(one, context())
    assert all(torch.equal(v, before[k]) for k, v in one.state_dict().items())
    assert Fresh().state_dict() == CarryOn().state_dict() == {}
