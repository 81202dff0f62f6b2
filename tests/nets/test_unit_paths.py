from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from holdfast import nets
from holdfast.nets import GrowingHead, Learner, SharedHead, TaskHeads, UnitPath, unit_paths
from holdfast.nets.modes import evaluation_mode


class Concatenating(nn.Module):
    """Both signs of one layer beside another, and a third layer read twice."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(1, 3, 3, padding=1), nn.Conv2d(1, 2, 3, padding=1)
        self.three, self.left, self.right = nn.Linear(8, 4), nn.Linear(4, 5), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        one, two = self.one(x), functional.relu(self.two(x))
        both = torch.cat([functional.relu(one), two, functional.relu(-one)], dim=1)
        hidden = torch.tanh(self.three(2 * both.mean((2, 3))))
        return self.left(hidden), self.right(functional.dropout(hidden, 0.5, self.training))


NETS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], list[str]]] = {
    "mlp": (
        lambda: nets.mlp((1, 3, 3), hidden=(6, 5, 4), norm="batch", dropout=0.1),
        (1, 3, 3),
        ["linear1", "linear2"],
    ),
    "cnn": (
        lambda: nets.cnn((2, 8, 8), channels=(3, 4), hidden=(6, 5), norm="batch"),
        (2, 8, 8),
        ["conv1", "conv2", "linear1"],
    ),
    "cnn_strided": (
        lambda: nets.cnn((2, 8, 8), channels=(3, 4), hidden=(6,), strides=(2, 2), bias=False),
        (2, 8, 8),
        ["conv1", "conv2"],
    ),
    "crelu": (
        lambda: nets.cnn((2, 8, 8), channels=(3, 4), hidden=(6, 5), activation="crelu"),
        (2, 8, 8),
        ["conv1", "conv2", "linear1"],
    ),
    "lenet": (
        lambda: nets.lenet((1, 8, 8), channels=(3, 4), hidden=(6, 5)),
        (1, 8, 8),
        ["conv1", "conv2", "linear1"],
    ),
    "alexnet": (
        lambda: nets.alexnet((3, 32, 32), track_running_stats=False),
        (3, 32, 32),
        ["conv1", "conv2", "conv3", "linear1"],
    ),
    "resnet18": (
        lambda: nets.resnet18((3, 16, 16), width=2),
        (3, 16, 16),
        [f"stage{i}.{j}.conv1" for i in (1, 2, 3, 4) for j in (0, 1)],
    ),
    "transformer": (
        lambda: nn.TransformerEncoderLayer(8, 2, 6, batch_first=True),
        (3, 8),
        ["linear1"],
    ),
    "concatenating": (Concatenating, (1, 4, 4), ["one", "two", "three"]),
}


def with_statistics(net: nn.Module, x: Tensor) -> nn.Module:
    """In float64, with running statistics as if trained, so that no two units are alike."""
    net = net.double()
    with torch.no_grad():
        net.train()
        net(x)
    return net.eval()


def given(net: nn.Module, path: UnitPath, x: Tensor) -> dict[str, Tensor]:
    """What the readers are given."""
    seen: dict[str, Tensor] = {}
    handles = []
    for reader in path.readers:

        def note(module: nn.Module, args: tuple[Tensor, ...], name: str = reader.name) -> None:
            seen[name] = args[0].detach().clone()

        handles.append(reader.module.register_forward_pre_hook(note))
    with evaluation_mode(net), torch.no_grad():
        net(x)
    for handle in handles:
        handle.remove()
    return seen


@pytest.mark.parametrize("name", NETS)
def test_a_unit_is_the_columns_that_change_with_its_row(name: str) -> None:
    make, shape, wanted = NETS[name]
    x = torch.randn(5, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    net = with_statistics(make(), x)
    found = unit_paths(net, x)
    assert [path.name for path in found] == wanted
    for path in found:
        before = given(net, path, x)
        for unit in range(0, path.units, max(1, path.units // 2)):
            old = path.weight.detach()[unit].clone()
            with torch.no_grad():
                path.weight[unit] = 3 - 2 * old
                after = given(net, path, x)
                path.weight[unit] = old
            for reader in path.readers:
                # Channels of a convolution first, others last.
                dim = 1 if isinstance(reader.module, nn.Conv2d) else -1
                moved = (after[reader.name] - before[reader.name]).abs().movedim(dim, -1)
                columns = (moved.flatten(0, -2).amax(0) > 1e-9).nonzero().flatten()
                own = (reader.units == unit).nonzero().flatten()
                assert set(columns.tolist()) <= set(own.tolist())
                assert len(columns) > 0


@pytest.mark.parametrize("name", [name for name in NETS if name != "alexnet"])
def test_no_unit_without_outgoing_weights_has_a_say(name: str) -> None:
    make, shape, _ = NETS[name]
    x = torch.randn(5, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    net = with_statistics(make(), x)
    paths = unit_paths(net, x).paths
    for path in paths:
        chosen = torch.zeros(path.units, dtype=torch.bool)
        chosen[:: max(1, path.units // 2)] = True
        with torch.no_grad():
            for reader in path.readers:
                for weight, _, _ in reader.reads:
                    weight[:, reader.columns(chosen)] = 0
            before = net(x)
            path.weight[chosen] += 1.0
            after = net(x)
        for a, b in zip(before, after, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_vit_has_units_inside_its_feed_forward_nets() -> None:
    pytest.importorskip("transformers")
    net = nets.vit((1, 8, 8), width=8, depth=2, head_dim=4)
    found = unit_paths(net, torch.randn(2, 1, 8, 8))
    assert [path.units for path in found] == [32, 32]
    for path in found:
        assert [reader.units.tolist() for reader in path.readers] == [list(range(32))]
    assert len(found.refused) == 11  # patches; four of attention and the last of each block


def test_skip_connections_are_refused_by_name() -> None:
    found = unit_paths(nets.residual((1, 8, 8), width=2, depth=3), torch.randn(2, 1, 8, 8))
    assert len(found) == 0
    assert list(found.refused) == [
        "conv1", "stage1.0.conv", "conv2", "stage2.0.conv", "conv3", "stage3.0.conv",
    ]  # fmt: skip
    assert set(found.refused.values()) == {"its output is added to another tensor"}
    refused = unit_paths(nets.resnet18((1, 8, 8), width=2, pool=None), torch.randn(2, 1, 8, 8))
    assert "stem" in refused.refused
    assert "stage2.0.shortcut.0" in refused.refused


@pytest.mark.parametrize("kind", ["growing", "shared", "per_task"])
def test_of_a_learner_the_heads_read_the_features(kind: str) -> None:
    net = nets.cnn((1, 4, 4), channels=(3,), hidden=())
    heads = {
        "growing": GrowingHead(12), "shared": SharedHead(12, [0, 1]), "per_task": TaskHeads(12)
    }[kind]  # fmt: skip
    learner = Learner(net, heads)
    (path,) = unit_paths(learner, torch.randn(2, 1, 4, 4))
    (reader,) = path.readers
    assert (path.name, reader.name) == ("backbone.conv1", "heads")
    assert reader.units.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    for task in (0, 1):
        heads.accommodate(task, [0, 1] if kind == "shared" else [2 * task, 2 * task + 1])
    # Of now, though the paths were found before heads grew.
    shapes = [tuple(reads.weight.shape) for reads in reader.reads]
    assert shapes == {"growing": [(4, 12)], "shared": [(2, 12)], "per_task": [(2, 12)] * 2}[kind]
    owned = {id(p) for p in heads.parameters()}
    assert all(id(p) in owned for reads in reader.reads for p in (reads.weight, reads.bias))


class Odd(nn.Module):
    """Calls what it is told on the output of a layer, before the next."""

    def __init__(self, between: Callable[["Odd", Tensor], Tensor]) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 3)
        self.between = between

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.between(self, self.first(x)))


@pytest.mark.parametrize(
    ("between", "reason"),
    [
        (lambda own, h: h + h, "its output is added to another tensor"),
        (lambda own, h: h * torch.sigmoid(h), "its output goes through mul"),
        (lambda own, h: torch.softmax(h, 1), "its output goes through softmax"),
        (lambda own, h: h[:, [1, 0, 2, 3]], "its output goes through getitem"),
        (lambda own, h: own.first(h), "it is used more than once in a pass"),
        (lambda own, h: h @ own.first.weight, "its output goes through matmul"),
        (lambda own, h: h.view(-1, 2, 2).mean(1).repeat(1, 2), "its output goes through view"),
    ],
)
def test_says_why_a_layer_has_no_units(
    between: Callable[[Odd, Tensor], Tensor], reason: str
) -> None:
    found = unit_paths(Odd(between), torch.randn(2, 4))
    assert len(found) == 0
    assert found.refused["first"] == reason


def test_refuses_shared_weights_groups_and_depth() -> None:
    tied = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 2))
    tied[2].weight = tied[0].weight
    assert unit_paths(tied, torch.randn(2, 3)).refused["0"] == "it shares its weight with 2"
    first = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3), nn.Linear(3, 3))
    first[3].weight = first[2].weight
    assert not unit_paths(first, torch.randn(2, 3)).paths
    grouped = nn.Sequential(nn.Conv2d(1, 4, 1), nn.ReLU(), nn.Conv2d(4, 4, 1, groups=2))
    reasons = unit_paths(grouped, torch.randn(2, 1, 3, 3)).refused
    assert reasons["0"] == "2 reads its output in groups"
    normed = nn.Sequential(nn.Conv2d(1, 4, 1), nn.LayerNorm([4, 3, 3]), nn.Conv2d(4, 4, 1))
    reasons = unit_paths(normed, torch.randn(2, 1, 3, 3)).refused
    assert reasons["0"] == "1 normalises its output over other dimensions too"


def test_intermediate_outputs_are_outputs() -> None:
    class Told(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(3, 4), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            hidden = torch.relu(self.first(x))
            return {"hidden": hidden, "out": self.second(hidden)}

    refused = unit_paths(Told(), torch.randn(2, 3)).refused
    assert refused["first"] == "its output is an output of the network"


def test_leaves_the_network_as_it_was() -> None:
    net = nets.lenet((1, 8, 8), channels=(2,), hidden=(4,)).train()
    net[1].eval()
    state = {k: v.clone() for k, v in net.state_dict().items()}
    draws = torch.get_rng_state()
    unit_paths(net, torch.randn(3, 1, 8, 8, generator=torch.Generator()))
    assert torch.equal(torch.get_rng_state(), draws)
    assert all(torch.equal(v, state[k]) for k, v in net.state_dict().items())
    assert [m.training for m in net] == [True, False, *[True] * 6]
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())


def test_frozen_layers_are_told() -> None:
    net = nets.mlp((4,), hidden=(3, 3, 3))
    first, second = unit_paths(net, torch.randn(2, 4))
    net.linear3.weight.requires_grad_(False)
    assert first.is_trained
    assert not second.is_trained


def test_refuses_a_backbone_that_differs_by_task() -> None:
    net = nets.mlp((4,), hidden=(3,))
    net.per_task = True
    with pytest.raises(ValueError, match="backbone of the learner differs by task"):
        unit_paths(Learner(net, SharedHead(3, [0, 1])), torch.randn(2, 4))
