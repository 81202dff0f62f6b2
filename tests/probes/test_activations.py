"""What one pass sees, against activations taken by hand."""

import math
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from holdfast import nets
from holdfast.nets.heads import TaskHeads
from holdfast.nets.learner import Learner
from holdfast.probes import activations, dormancy, saturation
from holdfast.probes.activations import Activations
from holdfast.probes.nonlinearities import nonlinearity
from holdfast.streams.batches import Batch

KINDS: dict[type[nn.Module], str] = {
    nn.ReLU: "relu", nn.LeakyReLU: "leaky_relu", nn.RReLU: "rrelu", nn.PReLU: "prelu",
    nn.Tanh: "tanh", nn.Softsign: "softsign", nn.Hardtanh: "hardtanh", nn.ReLU6: "hardtanh",
    nn.Sigmoid: "sigmoid", nn.Hardsigmoid: "hardsigmoid", nn.Softplus: "softplus",
    nn.LogSigmoid: "logsigmoid", nn.GELU: "gelu", nn.SiLU: "silu", nn.Mish: "mish",
    nn.Hardswish: "hardswish", nn.ELU: "elu", nn.CELU: "celu", nn.SELU: "selu",
}  # fmt: skip


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


class Through(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[..., Any], *parts: nn.Module) -> None:
        super().__init__()
        self.function = function
        self.parts = nn.ModuleList(parts)

    def forward(self, *args: Any, **options: Any) -> Any:
        return self.function(self.parts, *args, **options)


def check(seen: Activations, h: Tensor, rel: float = 1e-12) -> None:
    """Against h (n, positions, units), one number at a time."""
    n, positions, units = h.shape
    table = [[[float(v) for v in p] for p in s] for s in h]
    for i in range(units):
        values = [table[s][p][i] for s in range(n) for p in range(positions)]
        size = math.fsum(map(abs, values)) / len(values)
        assert seen.magnitudes[i].item() == pytest.approx(size, rel=rel)
        assert seen.nonzero[i].item() == pytest.approx(sum(v != 0 for v in values) / len(values))
        for s in range(n):
            mean = math.fsum(table[s][p][i] for p in range(positions)) / positions
            assert seen.features[s, i].item() == pytest.approx(mean, rel=rel, abs=1e-14)
    assert seen.units == units
    torch.testing.assert_close(seen.dormancy, dormancy(h), rtol=rel, atol=0)


@pytest.mark.parametrize("layer", KINDS, ids=lambda layer: layer.__name__)
def test_each_nonlinearity_is_known_by_its_outputs(layer: type[nn.Module]) -> None:
    model = layer()
    model.double()
    (seen,) = activations(model, 4 * drawn(30, 5))
    assert (seen.name, seen.known.kind) == (KINDS[layer], KINDS[layer])
    z = 4 * drawn(30, 5)
    h = model.eval()(z).detach()
    check(seen, h.unsqueeze(1))
    # what the table says of its shape, against slopes
    z = torch.linspace(-9, 9, 1802, dtype=torch.float64, requires_grad=True)
    h = model(z)
    (slope,) = torch.autograd.grad(h.sum(), z)
    assert not seen.known.nonnegative or (h >= 0).all()
    if seen.known.signed:
        assert torch.equal(h > 0, z > 0)
    for low, high in seen.known.linear:
        inside = slope[(h > low) & (h < high)]
        assert inside.std() < 1e-7
        assert inside.abs().min() > 0
    if seen.known.bounds:
        assert (h >= seen.known.bounds[0]).all()
        assert (h <= seen.known.bounds[1]).all()
        assert slope[[0, -1]].abs().max() < 0.02


@pytest.mark.parametrize(
    "function",
    [
        functional.relu, torch.relu, Tensor.relu, lambda x: functional.relu(x, inplace=True),
        lambda x: x.clone().relu_(), lambda x: functional.relu_(x.clone()),
    ],
)  # fmt: skip
def test_functions_are_seen_too(function: Callable[[Tensor], Tensor]) -> None:
    x = drawn(6, 4)
    (seen,) = activations(Through(lambda _, z: function(z) + 1), x.clone())
    assert (seen.name, seen.known.kind) == ("relu", "relu")
    check(seen, x.relu().unsqueeze(1))


def test_convolutions_are_counted_over_space() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU()).double()
    x = drawn(4, 2, 6, 7)
    (seen,) = activations(model, x)
    with torch.no_grad():
        h = model.eval()(x).movedim(1, -1).flatten(1, 2)
    check(seen, h)
    # whether a unit fires, at 16 of the 20 positions
    assert seen.pattern.shape == (4, 16, 3)
    at = [round(i * 19 / 15) for i in range(16)]
    assert torch.equal(seen.pattern, h[:, at] > 0)


def test_units_lie_where_the_last_linear_map_puts_them() -> None:
    x = drawn(4, 6, 5)
    cases: list[tuple[nn.Module, Tensor, Callable[[Tensor], Tensor]]] = [
        (nn.Sequential(nn.Linear(5, 3), nn.GELU()), x, lambda h: h),  # tokens
        (nn.Sequential(nn.Conv1d(6, 3, 2), nn.GELU()), x, lambda h: h.movedim(1, -1)),
        (nn.GELU(), x, lambda h: h),
        (nn.Sequential(nn.LayerNorm(5), nn.Tanh()), x, lambda h: h),
        # channels last, as ConvNeXt has them
        (
            Through(
                lambda parts, z: functional.gelu(parts[1](parts[0](z).movedim(1, -1))),
                nn.Conv2d(2, 3, 1), nn.Linear(3, 7),
            ),
            drawn(4, 2, 3, 3), lambda h: h.flatten(1, 2),
        ),
        # patches made tokens after their convolution
        (
            Through(
                lambda parts, z: parts[0](z).flatten(2).transpose(1, 2).tanh(), nn.Conv2d(2, 3, 1)
            ),
            drawn(4, 2, 3, 3), lambda h: h,
        ),
        # windows folded into the first axis
        (nn.Sequential(nn.Unflatten(1, (3, 2)), nn.Flatten(0, 1), nn.Linear(5, 4), nn.Tanh()),
         drawn(4, 6, 5).flatten(1).view(4, 6, 5), lambda h: h.reshape(4, 6, 4)),
    ]  # fmt: skip
    for model, inputs, laid_out in cases:
        model.double()
        (seen,) = activations(model, inputs)
        with torch.no_grad():
            h = laid_out(model(inputs))
        check(seen, h.reshape(len(inputs), -1, h.shape[-1]))


def test_names_tell_where_and_which_call() -> None:
    act = nn.ReLU()
    block = Through(lambda parts, z: parts[1](parts[0](z)).tanh(), nn.Linear(4, 4), act)
    model = nn.Sequential(nn.Sequential(nn.Linear(4, 4), act), block, nn.ReLU(), block)
    seen = activations(model, torch.randn(3, 4, generator=torch.Generator().manual_seed(0)))
    assert [a.name for a in seen] == [
        "0.1", "0.1#2", "1.tanh", "2", "0.1#3", "1.tanh#2",
    ]  # fmt: skip


def test_outputs_asked_for_are_summed_up_too() -> None:
    model = Through(lambda parts, z: {"a": None, "out": parts[0](z)}, nn.Linear(4, 3)).double()
    whole = nn.Sequential(model)
    x = drawn(5, 4)
    seen = activations(whole, x, outputs=["0", "0.parts.0"])
    assert [(a.name, a.known.kind) for a in seen] == [("0.parts.0", "output"), ("0", "output")]
    for one in seen:
        check(one, model.parts[0](x).detach().unsqueeze(1))


def test_linear_pieces_and_bounds() -> None:
    x = torch.tensor([[1.0, -2.0, 0.5], [2.0, -1.0, -0.5]])
    (relu,) = activations(nn.ReLU(), x)
    assert relu.linear.tolist() == [1, 0, 0.5]
    assert relu.saturated is None
    (leaky,) = activations(nn.LeakyReLU(), x)
    assert leaky.linear.tolist() == [1, 1, 0.5]  # on either side
    (hard,) = activations(nn.Hardtanh(-1.5, 1.5), x)
    assert hard.linear.tolist() == [0.5, 0.5, 1]
    assert hard.saturated.tolist() == [0.5, 0.5, 0]
    (tanh,) = activations(nn.Tanh(), 3 * x, eps=0.05)
    assert tanh.linear is None
    assert tanh.saturated.mean().item() == pytest.approx(saturation((3 * x).tanh(), eps=0.05))


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_the_mode_is_that_asked_for(mode: str) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.4), nn.Tanh())
    model.double()
    model[1].running_mean += 1
    x = drawn(20, 3)
    z = model[0](x).detach()
    centre, spread = torch.ones(8), torch.ones(8)
    if mode == "train":
        centre, spread = z.mean(dim=0), z.var(dim=0, unbiased=False)
    relu, tanh = activations(model, x, mode)
    h = ((z - centre) / (spread + 1e-5).sqrt()).relu()
    check(relu, h.unsqueeze(1), rel=1e-7)  # batch norm itself is no more exact
    # what dropout zeroes is zero only where it is on
    assert (tanh.nonzero.mean() < 0.9 * relu.nonzero.mean()) == (mode == "train")


def test_the_model_is_left_as_it_was() -> None:
    def fails(parts: nn.ModuleList, x: Tensor) -> Tensor:
        parts[0](x).relu()
        raise RuntimeError("in the middle")

    for model in (
        nn.Sequential(nn.BatchNorm1d(3), nn.Dropout(), nn.ReLU()),
        Through(fails, nn.BatchNorm1d(3)),
    ):
        before = {name: value.clone() for name, value in model.state_dict().items()}
        state = torch.get_rng_state()
        fault = pytest.raises(RuntimeError, match="in the middle")
        with fault if isinstance(model, Through) else nullcontext():
            activations(model, torch.ones(4, 3), "train")
        assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
        assert torch.equal(torch.get_rng_state(), state)
        for part in model.modules():
            assert part.training
            assert not part._forward_hooks
            assert not part._forward_pre_hooks
        assert torch.is_grad_enabled()
        assert nn.ReLU()(torch.ones(1, requires_grad=True)).requires_grad  # no mode stays on


def test_batches_of_all_kinds() -> None:
    x = drawn(4, 3)
    linear = nn.Linear(3, 5).double()
    wanted = linear(x).relu().detach().unsqueeze(1)
    plain = nn.Sequential(linear, nn.ReLU())
    options = Through(lambda parts, mask, inputs: parts[0](inputs).relu() * mask, linear)
    learner = Learner(plain, TaskHeads(5).double())
    learner.heads.accommodate(0, [0, 1])
    y = torch.zeros(4, dtype=torch.int64)
    for model, batch in (
        (plain, x),
        (plain, (x, y)),
        (plain, [x, y]),
        (plain, Batch(x, y, 3)),
        (options, {"inputs": x, "mask": torch.ones(4, 1)}),
        (learner, Batch(x, y, 0)),
    ):
        (seen,) = activations(model, batch)
        check(seen, wanted)


def test_what_is_not_one_a_sample_is_left_out() -> None:
    gate = torch.zeros(3, dtype=torch.float64)

    def forward(parts: nn.ModuleList, x: Tensor) -> Tensor:
        return (x * gate.sigmoid()).relu() * x.sum().tanh()

    assert [a.name for a in activations(Through(forward), drawn(5, 3))] == ["relu"]


def test_transformers_are_seen_whole() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 12, batch_first=True)  # has a fused pass of its own
    layer.eval()
    x = torch.randn(6, 5, 8, generator=torch.Generator().manual_seed(0))
    (seen,) = activations(layer, x)
    assert (seen.name, seen.units, seen.pattern.shape) == ("relu", 12, (6, 5, 12))


def test_nets_of_the_library_are_seen() -> None:
    x = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    for net, names in (
        (nets.mlp((1, 8, 8), (6, 5), activation="tanh"), ["act1", "act2"]),
        (nets.cnn((1, 8, 8), (3,), (4,)), ["conv1_act", "linear1_act"]),
        (nets.residual((1, 8, 8), 4, 3), [f"stage{i}.0.act" for i in (1, 2, 3)]),
    ):
        assert [a.name for a in activations(net, x)] == names


def test_what_cannot_be_seen_is_said() -> None:
    x = torch.ones(4, 3)
    with pytest.raises(ValueError, match=r"no nonlinearity was seen in Through.*clamp.*in outputs"):
        activations(Through(lambda _, z: z.clamp(min=0)), x)
    with pytest.raises(ValueError, match=r"outputs holds 'act', which is no module.*it has 0, 1"):
        activations(nn.Sequential(nn.Linear(3, 3), nn.ReLU()), x, outputs=["act"])
    with pytest.raises(ValueError, match="mode must be one of eval, train; got 'test'"):
        activations(nn.ReLU(), x, "test")
    with pytest.raises(ValueError, match="batch is empty"):
        activations(nn.ReLU(), x[:0])
    for batch in ("x", [], {"x": 1}, torch.tensor(1.0)):
        with pytest.raises(TypeError, match="batch must be a tensor, a mapping of tensors"):
            activations(nn.ReLU(), batch)
    assert nonlinearity(torch.add) is None
