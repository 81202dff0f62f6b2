import numpy as np
import pytest
import torch
from perturbed_cases import CONV, LINEAR, Case
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune

from holdfast.methods.halrp.kinds import Shape, check_conv_mode, obstacle, raw_weight
from holdfast.nets import scaled

MODES = ("constant", "flat", "separable")


def naive_matrix(weight: np.ndarray, conv: str) -> np.ndarray:
    out, into, kh, kw = weight.shape
    if conv == "constant":
        return np.array([[weight[o, i].sum() / (kh * kw) for i in range(into)] for o in range(out)])
    if conv == "flat":
        return np.stack([weight[o].ravel() for o in range(out)])
    found = np.zeros((out * kh, into * kw))
    for o, i, a, b in np.ndindex(*weight.shape):
        found[o * kh + a, i * kw + b] = weight[o, i, a, b]
    return found


@pytest.mark.parametrize("conv", MODES)
@pytest.mark.parametrize("case", [*CONV, *LINEAR], ids=str)
def test_matrix_of_a_weight_and_back(case: Case, conv):
    shape = Shape.of(case.layer, conv)
    weight = raw_weight(case.layer).detach().double()
    grid = weight.reshape(*weight.shape[:2], *shape.kernel).numpy()
    matrix = shape.matrix(weight)
    assert matrix.shape == (shape.rows, shape.columns)
    assert np.allclose(matrix.numpy(), naive_matrix(grid, conv), atol=1e-15)
    back = shape.weight(matrix, weight)
    assert torch.allclose(shape.matrix(back), matrix, atol=1e-15)
    if conv != "constant" or shape.kernel == (1, 1):
        assert torch.equal(back, weight)


@pytest.mark.parametrize("conv", MODES)
@pytest.mark.parametrize("case", CONV, ids=str)
def test_the_matrix_is_the_nearest(case: Case, conv):
    """The rest is orthogonal to every weight that a matrix can stand for."""
    shape, weight = Shape.of(case.layer, conv), case.layer.weight.detach().double()
    rest = weight - shape.weight(shape.matrix(weight), weight)
    other = torch.randn(shape.rows, shape.columns, generator=torch.Generator().manual_seed(1))
    other = shape.weight(other.double(), weight)
    assert abs((rest * other).sum()) < 1e-13
    assert other.square().sum() == pytest.approx(
        shape.multiplicity * shape.matrix(other).square().sum().item(), rel=1e-12
    )


@pytest.mark.parametrize("case", [*CONV, *LINEAR], ids=str)
def test_scaled_multiplies_each_entry(case: Case):
    shape, weight = Shape.of(case.layer), case.layer.weight.detach().double()
    draws = torch.Generator().manual_seed(2)
    r = torch.randn(shape.out, generator=draws).double()
    s = torch.randn(shape.into * shape.groups, generator=draws).double()
    found = shape.scaled(weight, r, s)
    each = shape.out // shape.groups
    for o in range(shape.out):
        for i in range(shape.into):
            channel = (o // each) * shape.into + i
            expected = r[o] * weight[o, i] * s[channel]
            assert torch.allclose(found[o, i], expected, rtol=1e-14)


def test_an_unknown_mode_and_kind_are_refused():
    with pytest.raises(ValueError, match=r"conv must be one of .*flat.*, got 'round'"):
        check_conv_mode("round")
    with pytest.raises(ValueError, match=r"layer must be one of Linear.*, got Conv3d"):
        Shape.of(nn.Conv3d(1, 1, 1))


class Doubled(nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x)


def test_why_a_layer_cannot_be_perturbed():
    assert obstacle(nn.Linear(2, 2)) is None
    readable = nn.Linear(2, 2)
    readable.__class__ = scaled.ScaledProjection
    readable.multiplier = 2.0
    assert obstacle(readable) is None
    assert obstacle(nn.MultiheadAttention(4, 2).out_proj) is None
    assert "forward of its own (Doubled)" in obstacle(Doubled(2, 2))
    assert "is lazy" in obstacle(nn.LazyLinear(2))
    normed = parametrizations.weight_norm(nn.Linear(2, 2))
    assert "computes its weight" in obstacle(normed)
    assert parametrize.is_parametrized(normed)
    assert "computes its weight" in obstacle(prune.l1_unstructured(nn.Linear(4, 4), "weight", 2))
    packed = nn.Linear(4, 4)
    packed.weight = nn.Parameter(torch.zeros(8, 1, dtype=torch.uint8), requires_grad=False)
    assert "packed" in obstacle(packed)
