import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from holdfast.methods.halrp import Shape, adapt, quantise, rank_bytes
from holdfast.methods.halrp.int8 import quantised
from holdfast.methods.halrp.storage import check_storage, low_rank_matrices, rounded

SEEDS = st.integers(0, 2**31)


def matrix(seed: int, rows: int = 6, columns: int = 4, dtype=torch.float32) -> torch.Tensor:
    """Entries over many orders of magnitude."""
    draws = torch.Generator().manual_seed(seed)
    size = 10 ** (8 * torch.rand(rows, columns, generator=draws) - 6)
    return (size * torch.randn(rows, columns, generator=draws)).to(dtype)


def bfloat16_of(x: float) -> float:
    """Rounded to 8 bits, by hand."""
    exponent = np.floor(np.log2(x))
    return float(np.round(x / 2**exponent * 128) / 128 * 2**exponent)


@given(SEEDS, st.sampled_from([0, 1]))
def test_int8_against_a_loop(seed, axis):
    m = matrix(seed)
    found = quantised(m, axis)
    for k in range(m.shape[axis]):
        entries = m.select(axis, k).double().numpy()
        scale = bfloat16_of(np.abs(entries).max() / 127)
        assert found.scale[k].item() == scale
        levels = np.clip(np.round(entries / scale), -127, 127)
        assert found.levels.select(axis, k).tolist() == levels.tolist()


@given(SEEDS, st.sampled_from([0, 1]), st.sampled_from([torch.float32, torch.float64]))
def test_int8_moves_an_entry_by_half_a_scale_at_most_and_once(seed, axis, dtype):
    m = matrix(seed, dtype=dtype)
    found, snapped = quantised(m, axis), rounded(m, "int8", axis)
    scale = found.scale.double()
    scale = scale[:, None] if axis == 0 else scale
    assert ((snapped - m).abs() <= scale / 2 * (1 + 1e-12)).all()
    assert (found.levels.abs().amax(1 - axis) == 127).all()
    again = quantised(snapped, axis)
    assert torch.equal(again.levels, found.levels)
    assert torch.equal(again.scale, found.scale)
    assert torch.equal(rounded(snapped, "int8", axis), snapped)


@pytest.mark.parametrize("storage", ["float32", "bfloat16", "int8"])
@pytest.mark.parametrize("shape", [(3, 0), (0, 3)])
def test_rank_0_and_zeros_stay(storage, shape):
    axis = 1 if shape[1] == 0 else 0
    assert rounded(torch.zeros(shape), storage, axis).shape == shape
    zeros = torch.zeros(4, 3)
    assert torch.equal(rounded(zeros, storage, axis), zeros)
    # A rank of numbers too small for a scale of their size.
    assert torch.equal(rounded(zeros + 1e-38, "int8", axis), zeros)


def test_other_storages_are_casts():
    m = matrix(0, dtype=torch.float64)
    assert torch.equal(rounded(m, "bfloat16", 0), m.bfloat16().double())
    assert torch.equal(rounded(m, "float32", 0), m.float().double())
    assert torch.equal(rounded(m.float(), "float32", 0), m.float())


def test_quantise_changes_one_task():
    model = adapt(nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3)))
    for task in (0, 1):
        model.add(task, ranks=2)
        for _, m, _ in low_rank_matrices(model, str(task)):
            m.data.normal_(generator=torch.Generator().manual_seed(task))
    before = {n: p.clone() for n, p in model.named_parameters()}
    quantise(model, 1, "int8")
    changed = {n for n, p in model.named_parameters() if not torch.equal(p, before[n])}
    assert changed == {f"model.{i}.tasks.1.{m}" for i in (0, 2) for m in "UV"}
    with pytest.raises(ValueError, match="task 5 is unknown"):
        quantise(model, 5, "int8")
    with pytest.raises(ValueError, match="storage must be one of float32, bfloat16, int8"):
        check_storage("int4", model)
    with pytest.raises(ValueError, match=r"needs parameters of float32 or float64.*bfloat16"):
        quantise(model.bfloat16(), 1, "int8")


@pytest.mark.parametrize(("storage", "wanted"), [("float32", 36), ("bfloat16", 18), ("int8", 13)])
def test_bytes_of_a_rank(storage, wanted):
    assert rank_bytes(Shape(4, 5, (1, 1), 1, "flat"), storage) == wanted
