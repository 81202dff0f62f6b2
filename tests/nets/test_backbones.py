"""Sizes, shapes and conduct of the backbones."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from holdfast.nets import alexnet, cnn, lenet, mlp, residual, resnet18
from holdfast.nets.layers import ACTIVATIONS, CReLU
from holdfast.nets.residual import Branch


@dataclass(frozen=True)
class Net:
    """A backbone, small, and the width of its features."""

    make: Callable[..., nn.Sequential]
    input_shape: tuple[int, ...]
    width: int
    options: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return "-".join([self.make.__name__, *map(str, self.options.values())])

    def __call__(self, **options: Any) -> nn.Sequential:
        return self.make(self.input_shape, **(self.options | options))


NETS = [
    Net(mlp, (1, 4, 3), 100),
    Net(mlp, (6,), 5, {"hidden": (7, 5), "norm": "layer", "activation": "gelu", "bias": False}),
    Net(mlp, (6,), 5, {"hidden": (5,), "norm": "batch", "dropout": 0.5}),
    Net(mlp, (2, 3), 6, {"hidden": ()}),
    Net(lenet, (1, 9, 8), 10, {"channels": (3, 4), "hidden": (10,)}),
    Net(lenet, (1, 9, 8), 16, {"channels": (3, 4), "hidden": ()}),
    Net(alexnet, (1, 19, 22), 2048),
    Net(resnet18, (1, 16, 17), 8, {"width": 1}),
    Net(resnet18, (2, 3, 5), 16, {"width": 2, "pool": None, "bias": False}),
    Net(residual, (1, 8, 17), 8, {"width": 4}),
    Net(residual, (1, 8, 8), 4, {"width": 4, "depth": 3, "norm": "batch", "branch_scale": False}),
    Net(residual, (1, 8, 8), 4, {"width": 4, "depth": 3, "norm": "layer", "bias": True}),
    Net(cnn, (3, 8, 8), 9, {"channels": (4, 6), "hidden": (9,), "dropout": 0.1, "norm": "batch"}),
    Net(cnn, (3, 9, 8), 24, {"channels": (4, 6), "hidden": (), "norm": "layer"}),
    Net(mlp, (6,), 4, {"width": 4, "hidden": (7, 9, 5)}),
    Net(cnn, (1, 4, 4), 5, {"width": 5}),
    Net(mlp, (6,), 10, {"hidden": (7, 5), "activation": "crelu", "norm": "layer"}),
    Net(cnn, (3, 8, 8), 18, {"channels": (4, 6), "hidden": (9,), "activation": "crelu"}),
    Net(lenet, (1, 9, 8), 10, {"channels": (3, 4), "hidden": (10,), "norm": "layer"}),
    Net(
        lenet,
        (1, 9, 8),
        20,
        {"channels": (3, 4), "hidden": (10,), "norm": None, "activation": "crelu"},
    ),
    Net(resnet18, (1, 16, 17), 8, {"width": 1, "norm": "layer"}),
    Net(residual, (1, 8, 8), 4, {"width": 4, "depth": 3, "norm": "layer", "activation": "crelu"}),
    Net(
        cnn, (3, 9, 8), 48, {"channels": (8, 8, 8), "width": 8, "strides": (2, 2, 1), "hidden": ()}
    ),
]


def with_head(net: nn.Sequential, width: int, classes: int = 10) -> int:
    return sum(p.numel() for p in net.parameters()) + (width + 1) * classes


@pytest.mark.parametrize(
    ("make", "side", "width", "parameters"),
    [
        (lenet, 32, 500, 2_995_620),
        (alexnet, 32, 2048, 6_533_450),
        (alexnet, 64, 2048, 23_310_666),
        (lambda shape: resnet18(shape, width=32), 32, 1024, 2_807_690),
        (lambda shape: resnet18(shape, width=32), 64, 4096, 2_838_410),
    ],
    ids=["lenet 32", "alexnet 32", "alexnet 64", "resnet18 32", "resnet18 64"],
)
def test_published_parameter_counts(
    make: Callable[[Sequence[int]], nn.Sequential], side: int, width: int, parameters: int
) -> None:
    net = make((3, side, side)).eval()
    assert net(torch.zeros(1, 3, side, side)).shape == (1, width)
    assert with_head(net, width) == parameters


def test_resnet18_has_twenty_convolutions() -> None:
    convolutions = [m for m in resnet18((3, 32, 32), width=4).modules() if isinstance(m, nn.Conv2d)]
    assert len(convolutions) == 20
    assert all(c.bias is not None for c in convolutions)


@pytest.mark.parametrize("net", NETS, ids=str)
def test_features_have_the_width(net: Net) -> None:
    backbone = net()
    x = torch.randn(3, *net.input_shape)
    for _ in range(2):
        features = backbone(x)
        assert features.shape == (3, net.width)
        assert features.isfinite().all()
        backbone.eval()
    # In evaluation mode a prediction does not depend on the other samples of its batch.
    torch.testing.assert_close(backbone(x[:1]), features[:1])


@pytest.mark.parametrize("net", NETS, ids=str)
def test_nets_survive_copying_loading_calling_and_export(net: Net) -> None:
    backbone, x = net().eval(), torch.randn(3, *net.input_shape)
    expected = backbone(x).detach()
    assert torch.equal(copy.deepcopy(backbone)(x), expected)
    fresh = net(seed=1)
    fresh.load_state_dict(backbone.state_dict())
    assert torch.equal(fresh.eval()(x), expected)
    state = {name: p.detach() for name, p in backbone.named_parameters()}
    other = net(seed=1).eval()
    assert torch.equal(torch.func.functional_call(other, state, (x,)), expected)
    if state:
        torch.testing.assert_close(torch.export.export(backbone, (x,)).module()(x), expected)


@pytest.mark.parametrize("net", NETS, ids=str)
def test_seed_decides_the_weights_alone(net: Net) -> None:
    before = torch.random.get_rng_state()
    first, again, other = net(seed=3), net(seed=3), net(seed=4)
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(map(torch.equal, first.parameters(), again.parameters()))
    assert not list(first.parameters()) or any(
        not torch.equal(p, q) for p, q in zip(first.parameters(), other.parameters(), strict=True)
    )


def test_untracked_alexnet_depends_on_the_batch() -> None:
    net = alexnet((1, 19, 19), track_running_stats=False).eval()
    x = torch.randn(4, 1, 19, 19)
    assert not torch.allclose(net(x)[:2], net(x[:2]))
    assert not list(net.buffers())


def test_mlp_is_the_composition_it_names() -> None:
    net = mlp((3,), hidden=(4, 2), activation="tanh").double()
    x = torch.randn(5, 3, dtype=torch.float64)
    first, second = net.get_submodule("linear1"), net.get_submodule("linear2")
    hidden = torch.tanh(x @ first.weight.T + first.bias)
    torch.testing.assert_close(net(x), torch.tanh(hidden @ second.weight.T + second.bias))


@pytest.mark.parametrize("make", [mlp, cnn, residual, resnet18])
def test_width_is_an_option_of_nets_that_are_scaled(make: Callable[..., nn.Sequential]) -> None:
    for width in (1, 3):
        layers = [
            m.weight for m in make((1, 9, 9), width=width).modules()
            if isinstance(m, (nn.Linear, nn.Conv2d))
        ]  # fmt: skip
        assert len(layers) == len([p for p in make((1, 9, 9)).parameters() if p.ndim > 1])
        assert {len(weight) // width for weight in layers} <= {1, 2, 4, 8}
        assert all(len(weight) % width == 0 for weight in layers)


def test_width_stands_for_the_numbers_of_layers() -> None:
    wide, spelled = mlp((3,), (9, 5), width=4), mlp((3,), (4, 4))
    assert all(map(torch.equal, wide.parameters(), spelled.parameters()))
    wide = cnn((3, 8, 8), (9, 5), (6,), width=4)
    spelled = cnn((3, 8, 8), (4, 4), (4,))
    assert all(map(torch.equal, wide.parameters(), spelled.parameters()))


@pytest.mark.parametrize("strides", [(2, 2, 1), (1, 3, 2), (5, 1, 4)])
def test_strides_take_the_place_of_pooling(strides: tuple[int, ...]) -> None:
    net = cnn((2, 7, 10), width=3, channels=(1, 1, 1), hidden=(), strides=strides).double()
    x = torch.randn(2, 2, 7, 10, dtype=torch.float64)
    weights = [m for m in net.modules() if isinstance(m, nn.Conv2d)]
    out = x
    for layer, stride in zip(weights, strides, strict=True):
        # Of a convolution of stride 1, every stride-th row and column.
        whole = nn.functional.conv2d(out, layer.weight, layer.bias, padding=1)
        out = whole[:, :, ::stride, ::stride].relu()
    torch.testing.assert_close(net(x), out.flatten(1))
    assert not [m for m in net.modules() if isinstance(m, nn.MaxPool2d)]


@pytest.mark.parametrize("shape", [(4, 3), (2, 5, 3, 2)], ids=str)
def test_crelu_splits_by_sign_and_loses_nothing(shape: tuple[int, ...]) -> None:
    x = torch.randn(*shape, dtype=torch.float64, requires_grad=True)
    out = CReLU()(x)
    positive, negative = out.chunk(2, dim=1)
    assert torch.equal(positive - negative, x)
    assert torch.equal(positive + negative, x.abs())
    torch.testing.assert_close(out.square().sum(), x.square().sum())
    (out.sum()).backward()  # every pre-activation gets a gradient, of one of its two units
    assert x.grad is not None
    assert torch.equal(x.grad, x.detach().sign())
    assert torch.equal(CReLU()(-x), torch.cat([negative, positive], dim=1))


def test_crelu_doubles_what_the_next_layer_takes() -> None:
    net = mlp((3,), hidden=(4, 2), activation="crelu").double()
    x = torch.randn(5, 3, dtype=torch.float64)
    first, second = net.get_submodule("linear1"), net.get_submodule("linear2")
    assert (second.weight.shape, net(x).shape) == ((2, 8), (5, 4))
    a = x @ first.weight.T + first.bias
    b = a.clamp(min=0) @ second.weight[:, :4].T - a.clamp(max=0) @ second.weight[:, 4:].T
    b = b + second.bias
    torch.testing.assert_close(net(x), torch.cat([b.clamp(min=0), -b.clamp(max=0)], dim=1))


@pytest.mark.parametrize(
    ("net", "image_norms", "norms"),
    [
        (resnet18((1, 16, 16), width=1, norm=None), 0, 0),
        (lenet((1, 9, 8), (3, 4), (10,), norm="layer"), 2, 1),
        (resnet18((1, 16, 16), width=2, norm="layer"), 20, 0),
        (cnn((1, 8, 8), norm="layer"), 2, 1),
        (mlp((3,), norm="layer"), 0, 2),
        (residual((1, 8, 8), 2, 3, norm="layer"), 3, 0),
    ],
    ids=["resnet18 without", "lenet", "resnet18", "cnn", "mlp", "residual"],
)
def test_layer_norm_looks_at_one_sample_alone(net: nn.Module, image_norms: int, norms: int) -> None:
    kinds = [type(m) for m in net.modules()]
    assert (kinds.count(nn.GroupNorm), kinds.count(nn.LayerNorm)) == (image_norms, norms)
    assert not list(net.buffers())


def test_any_image_is_large_enough_for_strides() -> None:
    net = cnn((1, 1, 1), channels=(2, 2), hidden=(), strides=(3, 2))
    assert net(torch.ones(3, 1, 1, 1)).shape == (3, 2)


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 4), st.booleans())
def test_residual_stream_is_the_sum_of_its_branches(third: int, scaled: bool) -> None:
    net = residual((1, 8, 8), width=2, depth=3 * third, branch_scale=scaled)
    branches = [m for m in net.modules() if isinstance(m, Branch)]
    assert len(branches) == 3 * third
    x = torch.randn(1, 2, 8, 8)
    out = branches[0](x)
    expected = nn.functional.conv2d(x.relu(), branches[0].conv.weight, padding=1)
    factor = (3 * third) ** -0.5 if scaled else 1.0
    torch.testing.assert_close(out - x, factor * expected)
    for branch in branches:
        nn.init.zeros_(branch.conv.weight)
    for stage in (1, 2, 3):
        stem = net.get_submodule(f"stage{stage}")
        assert torch.equal(stem(x), x)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_is_differentiable(name: str) -> None:
    x = torch.randn(2, 3, requires_grad=True)
    mlp((3,), hidden=(4,), activation=name)(x).sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()


@pytest.mark.parametrize(
    ("make", "smallest"), [(lenet, 4), (alexnet, 19), (resnet18, 9), (residual, 8), (cnn, 4)]
)
def test_too_small_images_are_refused(make: Callable[..., nn.Sequential], smallest: int) -> None:
    x = torch.zeros(1, 1, smallest, smallest)
    assert make(x.shape[1:]).eval()(x).shape[1] > 0
    with pytest.raises(ValueError, match=f"{make.__name__}.*at least {smallest} x {smallest}"):
        make((1, smallest - 1, 100))


@pytest.mark.parametrize("make", [lenet, alexnet, resnet18, residual, cnn])
def test_inputs_that_are_no_images_are_refused(make: Callable[..., nn.Sequential]) -> None:
    with pytest.raises(ValueError, match=r"\(channels, height, width\).*got \(784,\)"):
        make((784,))
    with pytest.raises(ValueError, match=r"input_shape\[1\] must be positive, got 0"):
        make((1, 0, 32))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: mlp((-3,)), r"input_shape\[0\] must be positive, got -3"),
        (lambda: mlp((3,), hidden=(5, 0)), r"hidden\[1\] must be positive, got 0"),
        (lambda: mlp((3,), activation="swoosh"), r"activation must be one of relu.*'swoosh'"),
        (lambda: mlp((3,), hidden=(), activation="swoosh"), r"activation must be one of relu"),
        (lambda: mlp((3,), norm="instance"), r"norm must be 'layer', 'batch' or None.*'instance'"),
        (lambda: mlp((3,), dropout=1.0), r"dropout must lie in \[0, 1\), got 1.0"),
        (lambda: lenet((3, 32, 32), channels=()), r"channels is empty"),
        (lambda: lenet((3, 32, 32), hidden=(-1,)), r"hidden\[0\] must be positive, got -1"),
        (lambda: resnet18((3, 32, 32), width=0), r"width must be positive, got 0"),
        (lambda: resnet18((3, 32, 32), pool=-2), r"pool must be positive, got -2"),
        (lambda: residual((3, 32, 32), depth=4), r"depth must be a multiple of 3, got 4"),
        (lambda: residual((3, 32, 32), width=-64), r"width must be positive, got -64"),
        (lambda: residual((3, 32, 32), norm="group"), r"norm must be"),
        (lambda: lenet((3, 32, 32), norm="group"), r"norm must be"),
        (lambda: resnet18((3, 32, 32), norm="group"), r"norm must be"),
        (lambda: cnn((3, 32, 32), channels=(0,)), r"channels\[0\] must be positive, got 0"),
        (lambda: cnn((3, 32, 32), channels=()), r"channels is empty"),
        (lambda: cnn((3, 32, 32), activation="x"), r"activation must be one of"),
        (lambda: cnn((3, 9, 9), strides=(2,)), r"strides must .* 2 convolutions .*got \[2\]"),
        (lambda: cnn((3, 9, 9), strides=(2, 0)), r"strides\[1\] must be positive, got 0"),
        (lambda: cnn((3, 9, 9), width=0), r"width must be positive, got 0"),
        (lambda: mlp((3,), width=-1), r"width must be positive, got -1"),
        (lambda: mlp((3,), hidden=(), width=8), r"width is 8, but hidden is empty"),
        (lambda: mlp((3,), seed=-1), r"seed must be a non-negative integer"),
    ],
)
def test_bad_arguments_are_named(build: Callable[[], nn.Module], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()
