import copy

import pytest
import torch
from perturbed_cases import CONV, LINEAR, Case, build, shake
from torch import nn
from torch.nn import functional
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear

from holdfast.methods.halrp.kinds import Shape, raw_weight
from holdfast.methods.halrp.layers import PerTask, Perturbed
from holdfast.nets import scaled

MODES = ("constant", "flat", "separable")
PADDED = [c for c in CONV if c.layer.padding_mode == "zeros" and c.layer.padding != "same"]


def dense(layer: Perturbed) -> nn.Module:
    """The plain layer with the weight written out entry by entry."""
    own, shape = layer.tasks["a"], layer.shape
    plain = copy.deepcopy(layer.base)
    each = shape.out // shape.groups
    low = shape.weight(own.U @ own.V, layer.base_weight)
    with torch.no_grad():
        for o in range(shape.out):
            for i in range(shape.into):
                s = own.s[(o // each) * shape.into + i]
                plain.weight[o, i] = own.r[o] * layer.base.weight[o, i] * s + low[o, i]
        if own.bias is not None:
            plain.bias.copy_(own.bias)
    return plain


@pytest.mark.parametrize("conv", MODES)
@pytest.mark.parametrize("case", [*LINEAR, *CONV], ids=str)
def test_a_task_is_the_layer_with_its_weight(case: Case, conv):
    layer, x = case.perturbed(conv), case.x()
    expected = dense(layer)(x)
    assert not torch.allclose(expected, layer.base(x))
    assert torch.allclose(layer(x), expected, rtol=0, atol=1e-12)
    assert torch.allclose(layer.merged("a")(x), expected, rtol=0, atol=1e-12)
    layer.fold("a")
    assert torch.allclose(layer(x), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("case", [c for c in PADDED if c.layer.groups == 1], ids=str)
def test_constant_mode_is_the_published_branches(case: Case):
    """conv(x s; W0) r, and 1 x 1 V, a box sum with the layer's stride and padding, 1 x 1 U."""
    layer, x = case.perturbed("constant"), case.x()
    own, base = layer.tasks["a"], layer.base
    dims = len(base.kernel_size)
    conv = functional.conv1d if dims == 1 else functional.conv2d
    ones = [1] * dims
    how = {"stride": base.stride, "padding": base.padding, "dilation": base.dilation}
    first = conv(x * own.s.view(1, -1, *ones), base.weight, **how) * own.r.view(1, -1, *ones)
    mixed = conv(x, own.V.view(*own.V.shape, *ones))
    box = mixed.new_ones(len(own.V), 1, *base.kernel_size)
    summed = conv(mixed, box, groups=len(own.V), **how)
    if dims == 2 and base.dilation == (1, 1):
        pooled = functional.avg_pool2d(mixed, base.kernel_size, base.stride, base.padding)
        pooled = pooled * base.kernel_size[0] * base.kernel_size[1]
        assert torch.allclose(pooled, summed, rtol=0, atol=1e-12)
    expected = first + conv(summed, own.U.view(*own.U.shape, *ones))
    if own.bias is not None:
        expected = expected + own.bias.view(1, -1, *ones)
    assert torch.allclose(layer(x), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("case", [c for c in PADDED if c.layer.groups == 1], ids=str)
def test_flat_mode_is_two_convolutions(case: Case):
    layer, x = case.perturbed("flat"), case.x()
    own, base = layer.tasks["a"], layer.base
    ones = [1] * len(base.kernel_size)
    conv = functional.conv1d if len(ones) == 1 else functional.conv2d
    how = {"stride": base.stride, "padding": base.padding, "dilation": base.dilation}
    low = conv(x, own.V.view(-1, *base.weight.shape[1:]), **how)
    low = conv(low, own.U.view(*own.U.shape, *ones))
    scaled_ = conv(x * own.s.view(1, -1, *ones), base.weight, own.bias, **how)
    bias = 0 if own.bias is None else own.bias.view(1, -1, *ones)
    expected = (scaled_ - bias) * own.r.view(1, -1, *ones) + bias + low
    assert torch.allclose(layer(x), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("case", list(CONV[:3]), ids=str)
def test_separable_mode_is_a_row_and_a_column_convolution(case: Case):
    """W[o, i, a, b] = sum_k U[(o, a), k] V[k, (i, b)]: along the width, then along the height."""
    layer, x = case.perturbed("separable"), case.x()
    own, base, (kh, kw) = layer.tasks["a"], layer.base, layer.shape.kernel
    with torch.no_grad():
        own.r.zero_()
    across = own.V.view(-1, layer.shape.into, 1, kw)
    down = own.U.view(layer.shape.out, kh, -1).permute(0, 2, 1).unsqueeze(3)
    stride, padding = base.stride, base.padding
    y = functional.conv2d(x, across, stride=(1, stride[1]), padding=(0, padding[1]))
    y = functional.conv2d(y, down, own.bias, (stride[0], 1), (padding[0], 0))
    assert torch.allclose(layer(x), y, rtol=0, atol=1e-12)


@pytest.mark.parametrize("case", [*LINEAR, CONV[0], CONV[4], CONV[-1]], ids=str)
def test_gradients_are_those_of_the_written_out_weight(case: Case):
    layer, x = case.perturbed("flat"), case.x().requires_grad_()
    own = dict(layer.tasks["a"].named_parameters())

    def outputs(*values):
        made = torch.func.functional_call(
            layer, {f"tasks.a.{n}": v for n, v in zip(own, values[1:], strict=True)}, (values[0],)
        )
        return made

    assert torch.autograd.gradcheck(outputs, (x, *own.values()))


def test_a_new_perturbation_changes_nothing():
    for case in (*LINEAR, *CONV):
        layer = Perturbed(case.layer.double())
        layer.perturb("b", 1)
        layer.active = "b"
        assert torch.allclose(layer(case.x()), layer.base(case.x()), rtol=0, atol=1e-14)


@pytest.mark.parametrize("kind", ["linear", "conv", "projection"])
def test_layers_of_a_parametrization_keep_their_multiplier(kind):
    plain, becomes = {
        "linear": (nn.Linear, scaled.ScaledLinear),
        "conv": (lambda i, o: nn.Conv2d(i, o, 3), scaled.ScaledConv2d),
        "projection": (NonDynamicallyQuantizableLinear, scaled.ScaledProjection),
    }[kind]
    layer = build(plain, 3, 4).double()
    layer.__class__ = becomes
    layer.multiplier = 0.3
    shape = (2, 3, 6, 6) if kind == "conv" else (2, 3)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1)).double()
    perturbed = Perturbed(layer)
    shake(perturbed.perturb("a", 2))
    perturbed.active = "a"
    plain = copy.deepcopy(layer)
    raw_weight(plain).data.copy_(perturbed.raw())
    plain.bias.data.copy_(perturbed.bias)
    for other in (perturbed, perturbed.merged("a")):
        assert torch.allclose(other(x), plain(x), rtol=0, atol=1e-13)
    # As it is read by others, who multiply by nothing themselves.
    assert torch.allclose(perturbed.weight, plain.weight, rtol=0, atol=1e-13)
    perturbed.free("f", "a")
    perturbed.active = "f"
    assert torch.allclose(perturbed(x), plain(x), rtol=0, atol=1e-13)


def test_transposed_layers_of_transformers():
    pytorch_utils = pytest.importorskip("transformers.pytorch_utils")
    with torch.random.fork_rng(devices=[]):
        layer = pytorch_utils.Conv1D(4, 5).double()  # 5 inputs, 4 outputs
    perturbed = Perturbed(layer)
    assert (perturbed.shape.out, perturbed.shape.into) == (4, 5)
    own = perturbed.perturb("a", 2)
    shake(own)
    perturbed.active = "a"
    x = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0)).double()
    weight = torch.diag(own.r) @ layer.weight.T @ torch.diag(own.s) + own.U @ own.V
    expected = x @ weight.T + own.bias
    merged = perturbed.merged("a")
    assert type(merged) is type(layer)
    assert torch.allclose(perturbed(x), expected, rtol=0, atol=1e-12)
    assert torch.allclose(merged(x), expected, rtol=0, atol=1e-12)
    assert torch.allclose(perturbed.weight, weight.T, rtol=0, atol=1e-12)


def test_what_else_is_asked_is_asked_of_the_base():
    layer, norm = Perturbed(nn.Conv2d(3, 4, 5)), PerTask(nn.LayerNorm(4, eps=0.5))
    assert (layer.in_channels, layer.kernel_size, norm.eps) == (3, (5, 5), 0.5)
    with pytest.raises(AttributeError, match="colour"):
        _ = layer.colour


def test_ranks_beyond_the_matrix_are_refused():
    layer = Perturbed(nn.Linear(5, 4))
    with pytest.raises(
        ValueError, match=r"rank must be from 0 to 4 \(the matrix is 4 x 5\), got 5"
    ):
        layer.perturb("a", 5)
    with pytest.raises(ValueError, match="got -1"):
        layer.perturb("a", -1)


def test_costs_of_ranks_of_known_layers():
    """The published count: (out + in) a rank of a convolution, as of a linear layer."""
    shapes = [Shape.of(m, "constant") for m in (
        nn.Conv2d(3, 20, 5), nn.Conv2d(20, 50, 5), nn.Linear(3200, 800), nn.Linear(800, 500)
    )]  # fmt: skip
    assert [s.cost_of_rank for s in shapes] == [23, 70, 4000, 1300]
    assert [s.largest_rank for s in shapes] == [3, 20, 800, 500]
