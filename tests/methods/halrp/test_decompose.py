import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from perturbed_cases import CONV, LINEAR, Case

from holdfast.methods.halrp.decompose import check_scaling, decompose, scaling_vectors
from holdfast.methods.halrp.kinds import Shape, raw_weight
from holdfast.methods.halrp.layers import Perturbed

CASES = [*CONV, *LINEAR]


def pair(case: Case, spread: float = 0.5) -> tuple[torch.Tensor, torch.Tensor, Shape]:
    """A base, and a weight that is a scaled base and noise."""
    base = raw_weight(case.layer).detach().double()
    shape, draws = Shape.of(case.layer), torch.Generator().manual_seed(4)
    r = 1 + spread * torch.randn(shape.out, generator=draws).double()
    s = 1 + spread * torch.randn(shape.into * shape.groups, generator=draws).double()
    noise = 0.1 * torch.randn(base.shape, generator=draws).double()
    return shape.scaled(base, r, s) + noise, base, shape


def naive_alternation(w, w0, sweeps):
    """(out, in, places) of one group: row after row, then column after column."""
    out, into, _ = w.shape
    r, s = np.ones(out), np.ones(into)
    for _ in range(sweeps):
        for o in range(out):
            row = np.concatenate([w0[o, i] * s[i] for i in range(into)])
            r[o] = np.concatenate(list(w[o])) @ row / (row @ row)
        for i in range(into):
            column = np.concatenate([w0[o, i] * r[o] for o in range(out)])
            s[i] = np.concatenate([w[o, i] for o in range(out)]) @ column / (column @ column)
    return r, s


def grid(weight: torch.Tensor, shape: Shape) -> np.ndarray:
    return weight.reshape(shape.groups, shape.out // shape.groups, shape.into, -1).numpy()


@pytest.mark.parametrize(("method", "sweeps"), [("one_pass", 1), ("alternating", 4)])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_scaling_against_a_loop_over_rows_and_columns(case: Case, method, sweeps):
    free, base, shape = pair(case)
    r, s = scaling_vectors(free, base, shape, method, sweeps)
    parts = [
        naive_alternation(w, w0, sweeps)
        for w, w0 in zip(grid(free, shape), grid(base, shape), strict=True)
    ]
    assert np.allclose(r.numpy(), np.concatenate([p[0] for p in parts]), rtol=1e-10, atol=0)
    assert np.allclose(s.numpy(), np.concatenate([p[1] for p in parts]), rtol=1e-10, atol=0)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_scaling_ends_where_neither_vector_can_gain(case: Case):
    free, base, shape = pair(case)
    r, s = scaling_vectors(free, base, shape, "alternating", sweeps=2000)
    residual = grid(free - shape.scaled(base, r, s), shape)
    w0, r = grid(base, shape), r.numpy().reshape(shape.groups, -1)
    s = s.numpy().reshape(shape.groups, -1)
    # <D[:, i], r W0[:, i]> = 0 exactly, being fitted last; <D[o], W0[o] s> = 0 as it converges.
    assert np.abs(np.einsum("goip,goip,go->gi", residual, w0, r)).max() < 1e-12
    assert np.abs(np.einsum("goip,goip,gi->go", residual, w0, s)).max() < 1e-6


@given(st.floats(0.2, 5), st.floats(-3, 3).filter(lambda x: abs(x) > 0.1))
def test_a_scaled_base_is_found_exactly(by, flip):
    _free, base, shape = pair(LINEAR[0])
    exact = shape.scaled(base, torch.full((4,), by).double(), torch.full((5,), flip).double())
    r, s = scaling_vectors(exact, base, shape)
    assert torch.allclose(shape.scaled(base, r, s), exact, rtol=1e-9, atol=1e-12)


def test_alternation_never_loses_to_one_pass_nor_that_to_none():
    for case in CASES:
        free, base, shape = pair(case, spread=1.0)
        left = [
            (free - shape.scaled(base, *scaling_vectors(free, base, shape, m))).norm().item()
            for m in ("alternating", "one_pass", "none")
        ]
        assert left[0] <= left[1] + 1e-12
        assert left[1] <= left[2] + 1e-12


def literal_official(w, w0):
    """(out, in, ...): s with r as a column against (out, ...) columns, which broadcasts."""
    out, into = w.shape[:2]
    r = np.array([(w[o] * w0[o]).sum() / (w0[o] ** 2).sum() for o in range(out)])
    s = np.zeros(into)
    for i in range(into):
        standing = r.reshape(out, *[1] * (w.ndim - 1))
        product = standing * w0[:, i]  # (out, out, ...) where (out, ...) was meant
        s[i] = (product * w[:, i]).sum() / (product**2).sum()
    return r, s


@pytest.mark.parametrize("case", [LINEAR[0], CONV[0], CONV[2]], ids=str)
def test_the_authors_formula_is_that_of_their_broadcast(case: Case):
    free, base, shape = pair(case)
    r, s = scaling_vectors(free, base, shape, "official")
    theirs = literal_official(free.numpy(), base.numpy())
    assert np.allclose(r.numpy(), theirs[0], rtol=1e-12)
    assert np.allclose(s.numpy(), theirs[1], rtol=1e-12)
    assert not np.allclose(s.numpy(), scaling_vectors(free, base, shape, "one_pass")[1].numpy())


def test_rows_and_columns_of_nothing_are_left():
    base = torch.zeros(4, 5)
    base[1, 2] = 1.0
    r, s = scaling_vectors(2 * torch.ones(4, 5), base, Shape(4, 5, (1, 1), 1, "flat"))
    assert r[[0, 2, 3]].eq(1).all()
    assert s[[0, 1, 3, 4]].eq(1).all()
    assert (r[1] * s[2]).item() == pytest.approx(2)


@pytest.mark.parametrize("conv", ["constant", "flat", "separable"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_full_rank_gives_the_weight_back(case: Case, conv):
    free, base, _ = pair(case)
    layer = Perturbed(case.layer.double(), conv)
    found = decompose(free, base, layer.shape)
    rank = layer.shape.largest_rank
    layer.perturb("a", 0)
    layer.settle("a", found, rank)
    layer.active = "a"
    error = (layer.raw() - free).square().sum().item()
    assert error == pytest.approx(found.lost, rel=1e-9, abs=1e-24)
    if conv != "constant" or layer.shape.kernel == (1, 1):
        assert (layer.raw() - free).abs().max() < 1e-12
    residual = (free - layer.shape.scaled(base, found.r, found.s)).square().sum().item()
    assert residual == pytest.approx(found.lost + layer.shape.multiplicity * found.mass, rel=1e-10)


@pytest.mark.parametrize("rank", [0, 1, 3])
def test_truncation_costs_the_tail(rank):
    """Eckart & Young: no matrix of this rank is nearer, against the library's decomposition."""
    free, base, shape = pair(CONV[0])
    found = decompose(free, base, shape)
    matrix = shape.matrix(free - shape.scaled(base, found.r, found.s))
    exact = torch.linalg.svdvals(matrix)
    assert torch.allclose(found.values, exact, rtol=1e-12, atol=0)
    low = (found.left[:, :rank] * found.values[:rank]) @ found.right[:rank]
    tail = exact[rank:].square().sum().item()
    assert (matrix - low).square().sum().item() == pytest.approx(tail, rel=1e-10)
    assert found.mass == pytest.approx(exact.square().sum().item(), rel=1e-12)


def test_a_matrix_of_low_rank_is_decomposed_to_rounding():
    """Where roots of eigenvalues would have lost half of the digits."""
    draws = torch.Generator().manual_seed(0)
    low = (
        torch.randn(40, 3, generator=draws).double() @ torch.randn(3, 60, generator=draws).double()
    )
    base = torch.randn(40, 60, generator=draws).double()
    found = decompose(base + low, base, Shape(40, 60, (1, 1), 1, "flat"), "none")
    assert found.values[3:].max() < 1e-13 * found.values[0]
    again = (found.left * found.values) @ found.right
    assert (again - low).abs().max() < 1e-12
    assert bool(again.isfinite().all())
    same = decompose(base, base, Shape(40, 60, (1, 1), 1, "flat"))
    assert same.values.max() < 1e-12
    assert bool(same.right.isfinite().all())


def test_the_randomised_decomposition_is_near_the_exact():
    draws = torch.Generator().manual_seed(0)
    n = 1030  # above where it is taken
    left = torch.linalg.qr(torch.randn(n, 60, generator=draws).double()).Q
    right = torch.linalg.qr(torch.randn(n, 60, generator=draws).double()).Q
    values = 0.8 ** torch.arange(60).double()
    free, base = (left * values) @ right.T, torch.zeros(n, n).double()
    shape = Shape(n, n, (1, 1), 1, "flat")
    found = decompose(free, base, shape, "none", most=20, generator=draws)
    assert found.values.shape == (20,)
    assert torch.allclose(found.values, values[:20], rtol=1e-6)
    low = (found.left * found.values) @ found.right
    assert (free - low).norm() < 1.001 * values[20:].norm()
    assert found.mass == pytest.approx(values.square().sum().item(), rel=1e-12)
    with pytest.raises(ValueError, match="generator must be given for the randomised"):
        decompose(free, base, shape, "none", most=20)


def test_bad_input():
    free, base, shape = pair(LINEAR[0])
    with pytest.raises(ValueError, match=r"scaling must be one of .*official.*, got 'quick'"):
        check_scaling("quick")
    with pytest.raises(ValueError, match="must be finite: has the warm-up diverged"):
        decompose(free * torch.nan, base, shape)
    with pytest.raises(ValueError, match="free and base must have one shape"):
        decompose(free[1:], base, shape)
