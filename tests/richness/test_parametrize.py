"""What parametrize makes of a model: gains, branches, kept weights, heads, and its description."""

import copy
import math
from collections.abc import Callable

import pytest
import torch
from survivors import SURVIVORS, Survivor
from torch import Tensor, nn

from holdfast import nets, richness
from holdfast.nets import GrowingHead, Learner, SharedHead, TaskHeads
from holdfast.nets.residual import Branch


def multipliers(model: nn.Module) -> dict[str, float]:
    return {path: m.multiplier for path, m in model.named_modules() if hasattr(m, "multiplier")}


def test_gain_is_of_layers_behind_a_relu() -> None:
    model = nn.Sequential(
        nn.ReLU(), nn.Linear(9, 16), nn.Tanh(), nn.Linear(16, 25), nn.ReLU(), nn.Dropout(),
        nn.Linear(25, 36), nn.ReLU(), nn.LayerNorm(36), nn.Linear(36, 49), nn.Linear(49, 3),
    )  # fmt: skip
    found = multipliers(richness.parametrize(copy.deepcopy(model), base_width=49))
    two = math.sqrt(2)
    assert found == pytest.approx({
        "1": 1 / 3, "3": 1 / 4, "6": two / 5, "9": 1 / 6, "10": 1 / 7,
    })  # fmt: skip
    told = multipliers(richness.parametrize(model, base_width=49, gain=3.0))
    assert told == pytest.approx({"1": 1 / 3, "3": 3 / 4, "6": 3 / 5, "9": 3 / 6, "10": 1 / 7})


def test_gain_passes_through_pooling_and_reaches_convolutions() -> None:
    model = nn.Sequential(nets.cnn((2, 8, 8), (4, 4), (8,)), nn.Linear(8, 3))
    found = multipliers(richness.parametrize(model, base_width=8))
    # 2 x 3 x 3 and 4 x 3 x 3 windows, then 4 x 2 x 2 features.
    assert found == pytest.approx({
        "0.conv1": 18**-0.5, "0.conv2": (2 / 36) ** 0.5, "0.linear1": (2 / 16) ** 0.5,
        "1": 8**-0.5,
    })  # fmt: skip


def test_rows_of_tables_are_not_divided() -> None:
    model = nn.Sequential(nn.Embedding(5, 16), nn.Flatten(), nn.Linear(64, 16), nn.Linear(16, 3))
    richness.parametrize(model, base_width=4, inputs=["2"])
    assert model[0].multiplier == 1.0
    # A table is an input, whatever else is one.
    assert richness.rates(model, "adam")["0.weight"] == richness.rates(model, "adam")["2.weight"]


@pytest.mark.parametrize("depth", [3, 12])
@pytest.mark.parametrize("own", [True, False])
def test_branches_of_a_residual_net(depth: int, own: bool) -> None:
    def made(depth_scaling: bool, parametrization: richness.options.Parametrization) -> nn.Module:
        net = nets.residual((2, 8, 8), width=4, depth=depth, branch_scale=own)
        model = nn.Sequential(net, nn.Linear(4, 3))
        return richness.parametrize(model, parametrization, depth_scaling=depth_scaling)

    def scales(model: nn.Module) -> set[float]:
        return {block.scale for block in model.modules() if isinstance(block, Branch)}

    factor = 1 / math.sqrt(depth)
    assert scales(made(True, "mup")) == {factor}
    assert scales(made(False, "mup")) == {1.0}
    assert scales(made(True, "sp")) == {factor if own else 1.0}
    scaled, unscaled = (richness.rates(made(s, "mup"), "adam") for s in (True, False))
    for name, rate in scaled.items():
        expected = factor if "stage" in name else 1.0
        assert rate / unscaled[name] == pytest.approx(expected)


def test_branches_that_are_named() -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 8))

        def forward(self, x: Tensor) -> Tensor:
            return x + self.inner(x)

    model = nn.Sequential(nn.Linear(5, 8), Block(), Block(), Block(), nn.Linear(8, 3)).double()
    names = [f"{i}.inner" for i in (1, 2, 3)]
    richness.parametrize(model, branches=names)
    x = torch.randn(2, 8, dtype=torch.float64)
    block = model[1]
    inside = (block.inner[0](x)).tanh()
    weight = block.inner[2].weight.detach() / math.sqrt(8)
    torch.testing.assert_close(block(x), x + inside @ weight.T / math.sqrt(3))
    rates = richness.rates(model, "adam")
    assert rates["1.inner.0.weight"] / rates["1.inner.0.bias"] == pytest.approx(math.sqrt(8))
    assert rates["1.inner.0.bias"] / rates["0.bias"] == pytest.approx(1 / math.sqrt(3))


@pytest.mark.parametrize("parametrization", ["mup", "ntp"])
@pytest.mark.parametrize("case", [c for c in SURVIVORS if not c.name.endswith("head")], ids=str)
def test_kept_weights_keep_the_features(
    case: Survivor, parametrization: richness.options.Parametrization
) -> None:
    """The readout gets what it got, to rounding."""
    plain = case.plain().double()
    readout = case.readout or str(len(list(plain.children())) - 1)

    def features(model: nn.Module) -> Tensor:
        found: list[Tensor] = []
        hook = model.get_submodule(readout).register_forward_pre_hook(
            lambda layer, args: found.append(args[0])
        )
        model(*case.inputs(dtype=torch.float64))
        hook.remove()
        return found[0]

    before = features(plain)
    richness.parametrize(
        plain, parametrization, gamma0=0.3, weights="keep", readout=readout, branches=case.branches
    )
    torch.testing.assert_close(features(plain), before, rtol=1e-10, atol=1e-12)
    assert not bool(plain(*case.inputs(dtype=torch.float64)).any())


def test_kept_branches_have_the_rates_of_their_factor() -> None:
    net = nets.residual((2, 8, 8), width=4, depth=6)
    model = nn.Sequential(net, nn.Linear(4, 3))
    kept = richness.rates(richness.parametrize(copy.deepcopy(model), weights="keep"), "adam")
    assert kept == richness.rates(richness.parametrize(model), "adam")


def test_weights_come_from_the_seed_alone() -> None:
    def weights(seed: int) -> Tensor:
        return richness.parametrize(SURVIVORS[0].plain(), readout="5", seed=seed)[0].weight

    before = torch.get_rng_state()
    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))
    assert torch.equal(before, torch.get_rng_state())


def test_group_norm_comes_in_the_place_of_batch_norm() -> None:
    learner = Learner(nets.resnet18((3, 16, 16), width=4), GrowingHead(32))
    richness.parametrize(learner, batch_norm="group")
    kinds = {type(m).__name__ for m in learner.modules() if "Norm" in type(m).__name__}
    assert kinds == {"GroupNorm"}
    # N is the width of the last stage.
    assert richness.describe(learner).startswith("mup, width 32 = 0.5 x base")
    x = torch.randn(3, 3, 16, 16)
    torch.testing.assert_close(learner.features(x)[:1], learner.features(x[:1]))


def lines(model: nn.Module) -> list[str]:
    return [" ".join(line.split()) for line in richness.describe(model).splitlines()]


BODY = [
    "mup, width 16 = 4 x base, gamma 1, residual branches not scaled",
    "parameter role fan-in multiplier start SGD rate Adam rate",
    "backbone.weight input 6 0.4082 N(0,1) 1 0.5",
    "backbone.bias vector - 1 0 1 0.5",
]


@pytest.mark.parametrize(
    ("heads", "rows"),
    [
        (lambda: SharedHead(16, (0, 1)), ["heads.linear"]),
        (lambda: GrowingHead(16), ["heads"]),
        (lambda: TaskHeads(16), ["heads.(new heads)"]),
        (lambda: grown(TaskHeads(16)), ["heads.heads.0.linear", "heads.heads.1.linear"]),
    ],
)
def test_description_of_heads(heads: Callable[[], nn.Module], rows: list[str]) -> None:
    learner = richness.parametrize(
        Learner(nn.Linear(6, 16), heads()),  # type: ignore[arg-type]
        gamma0=0.5, base_width=4,
    )  # fmt: skip
    expected = []
    for row in rows:
        if row.endswith("(new heads)"):
            expected.append(f"{row} readout 16 0.25 0 1 0.5")
        else:
            expected.append(f"{row}.weight readout 16 0.25 0 1 0.5")
            expected.append(f"{row}.bias offset - 1 0 1 1")
    assert lines(learner) == BODY + expected


def grown(heads: TaskHeads) -> TaskHeads:
    heads.accommodate(0, (0, 1))
    heads.accommodate(1, (2, 3))
    return heads


def test_description_of_the_rest() -> None:
    model = richness.parametrize(
        nn.Sequential(nets.residual((2, 8, 8), width=4), nn.Linear(4, 3)), "sp", gamma0=0.5,
        readout_std=1,
    )  # fmt: skip
    found = lines(model)
    assert found[0] == "sp, width 4 = 0.0625 x base, gamma 0.5, residual branches x 0.4082"
    assert found[2] == "0.conv1.weight input 18 1 as the layer 0.25 0.5"
    assert found[-2:] == [
        "1.weight readout 4 2 as the layer 0.25 0.5", "1.bias offset - 1 as the layer 0.25 0.5",
    ]  # fmt: skip
    scaled = richness.parametrize(
        nn.Sequential(nets.residual((2, 8, 8), width=4), nn.Linear(4, 3)), readout_std=1
    )
    assert lines(scaled)[0].endswith("residual branches x 0.4082")
    assert lines(scaled)[-2].startswith("1.weight readout 4 2 N(0,1)")
