import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from holdfast.methods.halrp.packing import pack, unpack
from holdfast.methods.halrp.storage import Storage, rounded

SIZE = {"int8": 1, "bfloat16": 2, "float32": 4, "float64": 8, "float16": 2}


def sparse(
    seed: int, rows: int, columns: int, density: float, storage: Storage, axis: int
) -> torch.Tensor:
    draws = torch.Generator().manual_seed(seed)
    m = torch.randn(rows, columns, generator=draws)
    m = rounded(m, storage, axis)
    keep = torch.rand(rows, columns, generator=draws) < density
    keep |= m.abs() == m.abs().amax(1 - axis, keepdim=True)  # pruning takes the smallest
    return m * keep


@given(
    st.integers(0, 2**31),
    st.integers(1, 40),
    st.integers(1, 40),
    st.sampled_from([0.0, 0.02, 0.1, 0.3, 1.0]),
    st.sampled_from(["int8", "bfloat16", "float32"]),
    st.sampled_from([0, 1]),
)
def test_gives_the_matrix_back_in_the_fewest_bytes(seed, rows, columns, density, storage, axis):
    m = sparse(seed, rows, columns, density, storage, axis)
    packed = pack(m, axis)
    assert torch.equal(unpack(packed, (rows, columns), m.dtype, axis), m)
    size = SIZE[packed.kind]
    there = m.flatten().nonzero().flatten().tolist()
    gaps = [b - a for a, b in zip([-1, *there], there, strict=False)]
    width = 1 if not gaps or max(gaps) < 256 else 2
    lengths = {
        "dense": m.numel() * size,
        "mask": math.ceil(m.numel() / 8) + len(there) * size,
        "gaps": len(there) * (width + size),
    }
    scales = 2 * m.shape[axis] if packed.kind == "int8" else 0
    assert len(packed.data) == min(lengths.values()) + scales
    assert SIZE[packed.kind] <= SIZE[storage]


@pytest.mark.parametrize(("at", "width"), [([3, 254], 1), ([3, 259], 2), ([70_000], 4)])
def test_gaps_take_as_many_bytes_as_they_need(at, width):
    m = torch.zeros(1, 80_000)
    m[0, at] = math.pi
    packed = pack(m, 1)
    assert (packed.layout, packed.width, packed.kept) == ("gaps", width, len(at))
    assert torch.equal(unpack(packed, (1, 80_000), m.dtype, 1), m)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (torch.full((2, 2), 127 / 256, dtype=torch.float64), "int8"),
        (torch.tensor([[1.0, 0.3]]), "float32"),
        (torch.tensor([[1.0, 0.3]], dtype=torch.float64), "float64"),
        (torch.tensor([[1.0, 0.3]]).bfloat16(), "bfloat16"),
        (torch.tensor([[1.0, 0.3]]).half(), "float16"),
        (torch.tensor([[1.0, 0.3]]).bfloat16().double(), "bfloat16"),
        (torch.tensor([[1.0, math.nan]]), "float32"),
        (torch.tensor([[1.0, math.inf]]), "bfloat16"),
    ],
    ids=str,
)
def test_kind_is_the_narrowest_that_loses_nothing(values, kind):
    packed = pack(values, 0)
    assert packed.kind == kind
    found = unpack(packed, tuple(values.shape), values.dtype, 0)
    assert torch.equal(found.nan_to_num(7.0), values.nan_to_num(7.0))
    assert found.dtype == values.dtype


def test_a_matrix_of_rank_0_takes_nothing():
    for shape, axis in (((4, 0), 1), ((0, 4), 0)):
        packed = pack(torch.zeros(shape), axis)
        assert packed.data == b""
        assert unpack(packed, shape, torch.float32, axis).shape == shape
