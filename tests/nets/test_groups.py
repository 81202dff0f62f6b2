import pytest
import torch
from torch import nn

from holdfast import nets
from holdfast.nets import GrowingHead, Learner, groups, last_groups

IMAGE = (3, 16, 16)
BACKBONES: dict[str, tuple[nn.Module, list[str]]] = {
    "mlp": (nets.mlp((4,), (8, 8), norm="batch"), ["linear1", "linear2"]),
    "no hidden": (nets.mlp((4,), ()), []),
    "lenet": (nets.lenet(IMAGE, (2, 3), (8,)), ["conv1", "conv2", "linear1"]),
    "alexnet": (nets.alexnet((3, 32, 32)), ["conv1", "conv2", "conv3", "linear1", "linear2"]),
    "resnet18": (
        nets.resnet18(IMAGE, width=2),
        ["stem", "stage1", "stage2", "stage3", "stage4"],
    ),
    "residual": (
        nets.residual(IMAGE, width=2, depth=3, norm="layer"),
        ["conv1", "stage1", "conv2", "stage2", "conv3", "stage3"],
    ),
    "cnn": (nets.cnn(IMAGE, (2, 3), (8,), norm="layer"), ["conv1", "conv2", "linear1"]),
}


def learner(backbone: nn.Module) -> Learner:
    head = GrowingHead(4)
    head.accommodate(0, (0, 1))
    return Learner(backbone, head)


@pytest.mark.parametrize("kind", BACKBONES)
def test_groups_of_our_nets_cover_all_parameters_once(kind: str) -> None:
    backbone, expected = BACKBONES[kind]
    one = learner(backbone)
    found = groups(one)
    assert [g.name for g in found] == [*expected, "head"]
    held = [name for g in found for name in g.parameters]
    assert sorted(held) == sorted(name for name, _ in one.named_parameters())
    for group in found:
        inside = {id(p) for m in group.modules for p in one.get_submodule(m).parameters()}
        assert inside == {id(one.get_parameter(name)) for name in group.parameters}


def test_norms_join_the_layer_before_them() -> None:
    stem = groups(BACKBONES["resnet18"][0])[0]
    assert stem.modules == ("stem", "stem_norm")
    first = groups(nn.Sequential(nn.LayerNorm(3), nn.Linear(3, 3), nn.LayerNorm(3)))
    assert [g.modules for g in first] == [("0", "1", "2")]


def test_lists_and_lone_children_are_entered() -> None:
    class Stack(nn.Module):
        def __init__(self, depth: int) -> None:
            super().__init__()
            self.start = nn.Parameter(torch.zeros(3))
            self.embed = nn.Linear(3, 3)
            self.blocks = nn.ModuleList([nn.Linear(3, 3), nn.LayerNorm(3)][:depth])
            self.inner = nn.Module()
            self.inner.layer = nn.ModuleList(nn.Linear(3, 3) for _ in range(depth))

    for depth, names in (
        (1, ["embed", "blocks.0", "inner.layer.0"]),
        (2, ["embed", "blocks.0", "inner.layer.0", "inner.layer.1"]),
    ):
        found = groups(nn.Sequential(nn.Sequential(nn.Flatten(), Stack(depth))))
        assert [g.name for g in found] == names
        assert found[0].parameters == ("0.1.start", "0.1.embed.weight", "0.1.embed.bias")
        assert found[-1].modules == (f"0.1.{names[-1]}",)


def test_a_transformer_has_a_group_a_block() -> None:
    pytest.importorskip("transformers", reason="vit needs the extra transformers")
    names = [g.name for g in groups(learner(nets.vit((1, 8, 8), width=16, depth=2)))]
    assert len(names) == 4
    assert names[0] == "embeddings"
    assert names[-1] == "head"


def test_one_layer_is_a_group() -> None:
    (only,) = groups(nn.Linear(2, 3))
    assert (only.name, only.modules, only.parameters) == ("linear", ("",), ("weight", "bias"))


def test_shared_parameters_belong_to_the_first_group() -> None:
    first, last = nn.Linear(3, 3), nn.Linear(3, 3)
    last.weight = first.weight
    found = groups(nn.Sequential(first, last))
    assert [g.parameters for g in found] == [("0.weight", "0.bias"), ("1.bias",)]


def test_a_backbone_may_call_a_part_head() -> None:
    net = nn.Sequential()
    net.add_module("body", nn.Linear(4, 4))
    net.add_module("head", nn.Linear(4, 4))
    assert [g.name for g in groups(learner(net))] == ["body", "head", "heads"]


def test_groups_by_name() -> None:
    one = learner(BACKBONES["resnet18"][0])
    found = groups(one, ["stem", "stage4.1", "backbone.stage4.0", "head"])
    assert [g.modules for g in found] == [
        ("backbone.stem", "backbone.stem_norm"),
        ("backbone.stage4.1",),
        ("backbone.stage4.0",),
        ("heads",),
    ]
    assert [g.name for g in last_groups(one, 2)] == ["stage4", "head"]
    assert [g.name for g in last_groups(one, 1, ["head", "stem"])] == ["stem"]


def test_refusals() -> None:
    net = BACKBONES["mlp"][0]
    with pytest.raises(ValueError, match=r"'conv1'.*its groups are linear1, linear2"):
        groups(net, ["conv1"])
    with pytest.raises(ValueError, match="do not overlap: 'linear1' and 'linear1'"):
        groups(net, ["linear1", "linear1"])
    with pytest.raises(ValueError, match="list with one name"):
        groups(net, "linear1")
    with pytest.raises(ValueError, match="list with one name"):
        groups(net, [])
    with pytest.raises(ValueError, match="must have parameters"):
        groups(nn.ReLU())
    for k in (0, 3, True):
        with pytest.raises(ValueError, match=r"integer from 1 to 2.*groups are linear1, linear2"):
            last_groups(net, k)
