import inspect
import math

import pytest
import torch
from hessian_cases import (
    by_batch,
    dense_hessian,
    difference_hessian,
    reference_loss,
    untouched,
)
from tangent_cases import NETS, drawn, learner
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from holdfast.probes import (
    curvature_shift,
    hessian_product,
    hessian_rank,
    hessian_trace,
    sharpness,
    top_curvature,
)
from holdfast.probes.lanczos import Eigenpairs
from holdfast.seeds import generator
from holdfast.streams.batches import Batch

Y = torch.tensor([0, 2, 1, 2, 0])


def dense(net: str, loss: str) -> tuple[nn.Module, Batch, Tensor]:
    model, x = learner(net, "per_task")
    with sdpa_kernel(SDPBackend.MATH):
        found = dense_hessian(model, x, lambda f: reference_loss(f, Y, loss), 1)
    return model, Batch(x, Y, 1), found


def signs(size: int, purpose: str, draws: int) -> list[Tensor]:
    drawn = (torch.randint(0, 2, (size,), generator=generator(0, purpose, i)) for i in range(draws))
    return [2.0 * v.double() - 1 for v in drawn]


def step(matrix: Tensor, bound: float) -> Tensor:
    """The projection on the eigenvectors above a bound."""
    values, vectors = torch.linalg.eigh(matrix)
    return vectors @ torch.diag((values > bound).double()) @ vectors.T


@pytest.mark.parametrize("loss", ["cross_entropy", "mse"])
@pytest.mark.parametrize("net", NETS)
def test_all_are_those_of_the_dense_hessian(net: str, loss: str) -> None:
    model, batch, wanted = dense(net, loss)
    size, values = len(wanted), torch.linalg.eigvalsh(wanted)
    top = values[-1].item()
    assert sharpness(model, batch, loss=loss, tolerance=1e-9, most=size) == pytest.approx(
        top, rel=1e-8
    )
    assert sharpness(model, batch, loss=loss) == pytest.approx(top, rel=1e-3)

    found = hessian_trace(model, batch, loss=loss, draws=10)
    each = torch.stack([v @ wanted @ v for v in signs(size, "trace", 10)])
    assert found.value == pytest.approx(each.mean().item(), rel=1e-8)
    assert found.standard_error == pytest.approx((each.std() / math.sqrt(10)).item(), rel=1e-8)
    assert abs(found.value - values.sum().item()) < 5 * found.standard_error

    share = hessian_rank(model, batch, loss=loss, epsilon=0.01, draws=3, steps=size)
    above, below = step(wanted, 0.01 * top), step(-wanted, 0.01 * top)
    counts = torch.stack([v @ above @ v for v in signs(size, "rank", 3)]) / size
    negative = sum(float(v @ below @ v) for v in signs(size, "rank", 3)) / size / 3
    assert share.top == pytest.approx(top, rel=1e-8)
    assert share.share == pytest.approx(counts.mean().item(), rel=1e-6)
    assert share.standard_error == pytest.approx((counts.std() / math.sqrt(3)).item(), rel=1e-5)
    assert share.negative == pytest.approx(negative, rel=1e-6)
    assert share.rank == pytest.approx(size * (counts.mean().item() + negative), rel=1e-6)

    pairs = top_curvature(model, batch, 4, loss=loss, tolerance=1e-9, most=size)
    vectors = torch.linalg.eigh(wanted).eigenvectors[:, -4:]
    torch.testing.assert_close(pairs.values, values[-4:].flip(0), rtol=1e-7, atol=1e-12)
    torch.testing.assert_close(
        pairs.vectors.T @ pairs.vectors, vectors @ vectors.T, rtol=1e-6, atol=1e-6
    )


@pytest.mark.parametrize("net", NETS)
def test_the_dense_hessian_is_the_limit_of_differences(net: str) -> None:
    model, batch, found = dense(net, "cross_entropy")
    with sdpa_kernel(SDPBackend.MATH):
        wanted = difference_hessian(
            model, batch.x, lambda f: reference_loss(f, Y, "cross_entropy"), 1
        )
    torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-7)


def test_products_are_those_of_the_dense_hessian() -> None:
    model, batch, wanted = dense("noisy", "cross_entropy")
    named = dict(model.named_parameters())
    product = hessian_product(nn.functional.cross_entropy(model(batch.x, 1), Y), named)
    for i in range(2):
        v = drawn(i, len(wanted))
        torch.testing.assert_close(product(v), wanted @ v, rtol=1e-9, atol=1e-12)


def test_the_rank_is_right_on_average() -> None:
    model, batch, wanted = dense("mlp", "cross_entropy")
    values = torch.linalg.eigvalsh(wanted)
    share = (values > 0.01 * values[-1]).double().mean().item()
    found = hessian_rank(model, batch, epsilon=0.01, draws=60, steps=40)
    assert abs(found.share - share) < 4 * found.standard_error
    assert 0 < found.standard_error < 0.05


def linear(*lengths: float) -> tuple[nn.Module, tuple[Tensor, Tensor]]:
    """With the Hessian diag(lengths^2) / n for each of two outputs, whatever the weights."""
    model = nn.Linear(len(lengths), 2, bias=False).double()
    x = torch.diag(torch.tensor(lengths, dtype=torch.float64))
    return model, (x, drawn(0, len(lengths), 2))


def test_closed_forms() -> None:
    model, samples = linear(4.0, 2.0, 1.0, 0.01)
    assert sharpness(model, samples, tolerance=1e-9) == pytest.approx(16 / 4)
    trace = hessian_trace(model, samples, draws=2)
    assert trace.value == pytest.approx(2 * 21.0001 / 4)
    assert trace.standard_error == pytest.approx(0, abs=1e-12)
    found = hessian_rank(model, samples, epsilon=0.1, draws=2)
    assert (found.share, found.standard_error) == (pytest.approx(0.5), pytest.approx(0, abs=1e-12))
    assert found.rank == pytest.approx(4)
    for of in ("labels", "perturbation"):
        pairs = top_curvature(model, samples, 2, of=of, tolerance=1e-12)
        assert pairs.values.tolist() == pytest.approx([4.0, 1.0])


def test_a_perturbation_of_the_outputs_is_that_of_its_definition() -> None:
    model, x = learner("noisy", "shared")
    draws = torch.randn(5, 3, generator=generator(0, "perturbation")).double()
    fixed = model(x, 0).detach()
    wanted = dense_hessian(model, x, lambda f: 0.5 * ((f - fixed + draws) ** 2).sum() / 5, 0)
    found = top_curvature(model, Batch(x, Y, 0), 3, of="perturbation", tolerance=1e-9)
    expected = torch.linalg.eigvalsh(wanted)[-3:].flip(0)
    torch.testing.assert_close(found.values, expected, rtol=1e-7, atol=0.0)
    other = top_curvature(model, Batch(x, Y - Y, 0), 3, of="perturbation", tolerance=1e-9)
    assert torch.equal(found.values, other.values)


def test_in_training_mode_batch_norm_is_that_of_the_batch() -> None:
    model = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 3)).double()
    x = 2 * drawn(0, 5, 4) + 1
    for mode, same in (("eval", model.eval()), ("train", by_batch(model))):
        wanted = difference_hessian(same, x, lambda f: reference_loss(f, Y, "cross_entropy"))
        wanted = (wanted + wanted.T) / 2
        top = torch.linalg.eigvalsh(wanted)[-1].item()
        assert sharpness(model, (x, Y), mode=mode, tolerance=1e-9) == pytest.approx(top, rel=1e-6)


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_the_model_is_left_as_it_was(mode: str) -> None:
    model, x = learner("noisy", "shared")
    model.backbone[1].train()
    next(model.parameters()).requires_grad_(False)
    model.heads.linear.bias.grad = torch.ones(3).double()
    batch = Batch(x, Y, 0)
    with untouched(model), torch.no_grad():
        found = [
            (sharpness(model, batch, mode=mode), hessian_trace(model, batch, mode=mode, draws=2))
            for _ in range(2)
        ]
        hessian_rank(model, batch, mode=mode, draws=2, steps=4)
        top_curvature(model, batch, 2, mode=mode, of="perturbation")
        with pytest.raises(ValueError, match="labels"):
            sharpness(model, Batch(x, Y + 3, 0), mode=mode)
    assert found[0] == found[1]  # the same masks of dropout


def test_no_curvature_and_no_numbers() -> None:
    model = nn.Linear(3, 2)
    x, y = torch.ones(4, 3), torch.zeros(4, dtype=torch.long)
    flat = {"loss": lambda f, y: f.mean()}
    assert sharpness(model, (x, y), **flat) == 0
    assert hessian_trace(model, (x, y), **flat) == (0, 0)
    assert math.isnan(hessian_rank(model, (x, y), **flat).share)
    model.weight.data.fill_(math.nan)
    assert math.isnan(sharpness(model, (x, y)))
    assert math.isnan(hessian_rank(model, (x, y)).rank)
    assert top_curvature(model, (x, y), 2).values.isnan().all()


def test_shifts_of_subspaces() -> None:
    axes = torch.linalg.qr(drawn(0, 6, 6)).Q
    values = torch.tensor([3.0, 2.0]).double()
    one = Eigenpairs(values, axes[:2])
    turn = torch.linalg.qr(drawn(1, 2, 2)).Q
    same = curvature_shift(one, Eigenpairs(values, turn @ axes[:2]))
    assert same == (0, pytest.approx(1))
    assert curvature_shift(one, Eigenpairs(2 * values, axes[2:4])) == (
        pytest.approx(1),
        pytest.approx(0, abs=1e-12),
    )
    other = curvature_shift(one, Eigenpairs(values, torch.eye(9).double()[:2]))
    assert other.relative == 0
    assert math.isnan(other.overlap)
    with pytest.raises(ValueError, match="as many eigenvalues, got 2 and 1"):
        curvature_shift(one, Eigenpairs(values[:1], axes[:1]))


def test_errors() -> None:
    model, samples = linear(1.0, 2.0)
    with pytest.raises(ValueError, match="mode must be one of eval, train; got 'test'"):
        inspect.unwrap(sharpness)(model, samples, mode="test")
    with pytest.raises(ValueError, match=r"loss must be cross_entropy, mse .* got 'l1'"):
        inspect.unwrap(sharpness)(model, samples, loss="l1")
    with pytest.raises(ValueError, match=r"loss must give .* one number; got shape \(2, 2\)"):
        sharpness(model, samples, loss=lambda f, y: f - y)
    with pytest.raises(ValueError, match=r"outputs of shape \(2, outputs\)"):
        sharpness(nn.Sequential(model, nn.Flatten(0)), samples)
    with pytest.raises(ValueError, match="draws must be 2 or more"):
        hessian_trace(model, samples, draws=1)
    with pytest.raises(ValueError, match="draws must be 2 or more"):
        hessian_rank(model, samples, draws=1)
    with pytest.raises(ValueError, match="steps must be 1 or more"):
        hessian_rank(model, samples, steps=0)
    with pytest.raises(ValueError, match="epsilon must lie between 0 and 1"):
        hessian_rank(model, samples, epsilon=1.0)
    with pytest.raises(ValueError, match="count must be 1 or more"):
        top_curvature(model, samples, 0)
    with pytest.raises(ValueError, match="of must be labels or perturbation, got 'noise'"):
        inspect.unwrap(top_curvature)(model, samples, of="noise")
    with pytest.raises(ValueError, match="model must have a parameter that requires a gradient"):
        sharpness(model.requires_grad_(False), samples)
