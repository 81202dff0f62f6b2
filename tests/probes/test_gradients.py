import inspect
import math
from collections.abc import Sequence

import pytest
import torch
from hessian_cases import by_batch, reference_loss, untouched
from hypothesis import given, settings
from hypothesis import strategies as st
from tangent_cases import NETS, dense_kernel, drawn, learner
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from holdfast.probes import (
    effective_learning_rate,
    effective_rank,
    gradient_interference,
    gradient_noise,
    gradient_ratio,
    gradient_size,
    tangent_rank,
)
from holdfast.probes import gradient_gram as gram_module
from holdfast.streams.batches import Batch

Y = torch.tensor([0, 2, 1, 2, 0])


def naive_gradient(model: nn.Module, x: Tensor, y: Tensor, task: int, loss: str) -> Tensor:
    """Of the mean loss, of those that require it, by a backward pass of its own."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    value = reference_loss(model(x, task), y, loss)
    found = torch.autograd.grad(value, parameters, allow_unused=True, materialize_grads=True)
    return torch.cat([part.flatten() for part in found])


@pytest.mark.parametrize("loss", ["cross_entropy", "mse"])
@pytest.mark.parametrize("net", NETS)
def test_size_and_ratio_are_those_of_the_gradient(net: str, loss: str) -> None:
    model, x = learner(net, "per_task")
    next(model.parameters()).requires_grad_(False)
    g = naive_gradient(model, x, Y, 1, loss)
    found = gradient_size(model, Batch(x, Y, 1), loss=loss)
    assert found.norm == pytest.approx(g.square().sum().sqrt().item(), rel=1e-10)
    # The head of the other task; what rounding leaves of a key's bias, which attention does not
    # see, may be 0 in one and not in the other.
    assert len(g) * found.zeros == pytest.approx(
        (g == 0).sum().item(), abs=4 * (net == "attention")
    )
    assert found.zeros > 0
    old = naive_gradient(model, x[:2], Y[:2], 1, loss).norm().item()
    ratio = gradient_ratio(model, Batch(x, Y, 1), Batch(x[:2], Y[:2], 1), loss=loss)
    assert ratio == pytest.approx(found.norm / old, rel=1e-10)


def test_a_ratio_to_no_gradient_is_infinite() -> None:
    model = nn.Linear(2, 2)
    zero, one = (torch.zeros(3, 2), torch.zeros(3, 2)), (torch.ones(3, 2), torch.zeros(3, 2))
    nn.init.zeros_(model.bias)
    assert gradient_ratio(model, one, zero) == math.inf
    assert gradient_size(model, zero) == (0, 1)


def test_effective_learning_rates_are_free_of_scale() -> None:
    """Of a function of the direction alone, steps of gradient descent and of their signs."""
    for optimizer, factor in (("sgd", 9.0), ("adam", 3.0)):
        one = effective_learning_rate(0.1, 2.0, optimizer)
        assert effective_learning_rate(0.1 * factor, 6.0, optimizer) == pytest.approx(one)

    def turned(w: Tensor, lr: float, optimizer: str) -> Tensor:
        w = w.clone().requires_grad_()
        (g,) = torch.autograd.grad((w / w.norm())[0] ** 3, w)
        moved = w - lr * (g if optimizer == "sgd" else g.sign())
        return (moved / moved.norm()).detach()

    w = drawn(0, 5)
    for optimizer, factor in (("sgd", 9.0), ("adam", 3.0)):
        torch.testing.assert_close(
            turned(w, 0.1, optimizer), turned(3 * w, 0.1 * factor, optimizer)
        )
    assert effective_learning_rate(0.1, 0.0) == math.inf


def parts(x: Tensor, task: int, sizes: int) -> list[Batch]:
    y = torch.arange(len(x)) % 3
    return [Batch(a, b, task) for a, b in zip(x.split(sizes), y.split(sizes), strict=True)]


@pytest.mark.parametrize("net", NETS)
def test_noise_is_that_of_a_loop(net: str) -> None:
    model, _ = learner(net, "per_task")
    batches = parts(drawn(3, 12, *NETS[net][1]), 1, 3)
    found = gradient_noise(model, batches)
    each = [naive_gradient(model, b.x, b.y, 1, "cross_entropy") for b in batches]
    mean = sum(each, torch.zeros(())) / 4
    trace = sum(float(((g - mean) ** 2).sum()) for g in each) / 3
    length = float((mean**2).sum())
    assert found.trace == pytest.approx(trace, rel=1e-10)
    assert found.squared_norm == pytest.approx(length - trace / 4, rel=1e-8)
    assert found.plug_in == pytest.approx(trace / length, rel=1e-10)
    wanted = trace / (length - trace / 4) if length > trace / 4 else math.inf
    assert found.scale == pytest.approx(wanted, rel=1e-8)


class Slope(nn.Module):
    """Outputs w x, of which the mean has the gradient mean(x)."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.ones(1, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return self.w * x


def noise_of(gradients: Sequence[float], factor: float = 1.0) -> tuple[float, ...]:
    batches = [(torch.full((2, 1), g).double(), torch.zeros(2).long()) for g in gradients]
    return gradient_noise(Slope(), batches, loss=lambda f, y: factor * f.mean())


def test_noise_of_known_gradients() -> None:
    assert noise_of([3.0, 3.0, 3.0]) == (0, 9, 0, 0)
    assert noise_of([1.0, 3.0]) == pytest.approx((2, 3, 2 / 3, 1 / 2))
    trace, squared, scale, plug_in = noise_of([-1.0, 1.0])
    assert (trace, squared, scale, plug_in) == (2, -1, math.inf, math.inf)


@settings(max_examples=20)
@given(st.floats(1e-3, 1e3))
def test_noise_scale_is_free_of_the_scale_of_the_loss(factor: float) -> None:
    assert noise_of([1.0, 2.0, 4.0], factor)[2:] == pytest.approx(noise_of([1.0, 2.0, 4.0])[2:])


def test_noise_in_training_mode_has_batch_statistics() -> None:
    model, _ = learner("noisy", "shared")
    model.backbone[5].p = 0.0
    batches = parts(drawn(3, 12, 2, 6, 6), 0, 3)
    train, eval_ = (gradient_noise(model, batches, mode=mode) for mode in ("train", "eval"))
    assert train.trace == pytest.approx(gradient_noise(by_batch(model), batches).trace, rel=1e-9)
    assert train.trace != pytest.approx(eval_.trace, rel=0.01)


@pytest.mark.parametrize("loss", ["cross_entropy", "mse"])
@pytest.mark.parametrize("net", NETS)
def test_interference_is_that_of_a_loop(
    net: str, loss: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, x = learner(net, "per_task")
    g = [naive_gradient(model, x[i : i + 1], Y[i : i + 1], 1, loss) for i in range(5)]
    wanted = torch.stack([torch.stack([a @ b / (a.norm() * b.norm()) for b in g]) for a in g])
    pairs = [float(wanted[i, j]) for i in range(5) for j in range(i)]
    for entries in (gram_module._ENTRIES, 1):  # all parameters at once, one at a time
        monkeypatch.setattr(gram_module, "_ENTRIES", entries)
        found = gradient_interference(model, Batch(x, Y, 1), loss=loss)
        torch.testing.assert_close(found.cosines, wanted, rtol=1e-9, atol=1e-12)
        assert found.negative == sum(c < 0 for c in pairs) / 10
        assert found.mean == pytest.approx(sum(pairs) / 10, rel=1e-9)
        assert found.rank == pytest.approx(effective_rank(wanted), rel=1e-9)
        assert found.zeros == 0
    own = gradient_interference(model, Batch(x, Y, 1), loss=lambda f, y: reference_loss(f, y, loss))
    torch.testing.assert_close(own.cosines, wanted, rtol=1e-9, atol=1e-12)


def test_interference_of_known_gradients() -> None:
    """1/2 (w x)^2 summed over outputs has the gradient w x x^T: a row of x, times its length."""
    model = nn.Linear(3, 1, bias=False).double()
    nn.init.ones_(model.weight)
    x = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [-1, 0, 0], [0, 0, 0]]).double()
    y = torch.zeros(5, 1).double()
    found = gradient_interference(model, (x, y))
    # (w . x) x is the same for x and -x; the last sample has no gradient
    assert found.zeros == pytest.approx(1 / 5)
    assert found.cosines[0, 3] == 1
    assert found.cosines[4].isnan().all()
    assert found.negative == 0
    assert found.mean == pytest.approx(1 / 6)
    p = torch.tensor([2.0, 1, 1]) / 4
    assert found.rank == pytest.approx(torch.special.entr(p).sum().exp().item())
    y[3] = -2.0  # now the error of that sample is +1, its gradient -x
    opposed = gradient_interference(model, (x, y))
    assert opposed.cosines[0, 3] == -1
    assert opposed.negative == pytest.approx(1 / 6)
    assert math.isnan(gradient_interference(model, (x[3:], torch.zeros(2, 1).double())).rank)


@pytest.mark.parametrize("kind", ["shared", "growing", "per_task"])
@pytest.mark.parametrize("net", NETS)
def test_tangent_rank_is_that_of_the_dense_kernel(net: str, kind: str) -> None:
    model, x = learner(net, kind)
    with sdpa_kernel(SDPBackend.MATH):
        kernel = dense_kernel(model, x, 1)
    values = torch.linalg.eigvalsh(kernel).clamp(min=0)
    found = tangent_rank(model, x, 1)
    p = values / values.sum()
    assert found.rank == pytest.approx(torch.special.entr(p).sum().exp().item(), rel=1e-8)
    assert found.top_share == pytest.approx(p[-1].item(), rel=1e-9)
    assert found.trace == pytest.approx(kernel.trace().item(), rel=1e-9)
    assert found.bound == min(len(kernel), sum(p.numel() for p in model.parameters()))


def test_tangent_ranks_in_closed_form() -> None:
    model = nn.Linear(4, 2, bias=False).double()
    found = tangent_rank(model, 3 * torch.eye(4).double())
    assert found == (pytest.approx(8), pytest.approx(1 / 8), pytest.approx(72), 8)
    same = tangent_rank(model, torch.ones(3, 4).double())
    assert (same.rank, same.top_share) == (pytest.approx(2), pytest.approx(1 / 2))
    assert math.isnan(tangent_rank(model, torch.zeros(2, 4).double()).rank)


def test_models_that_cannot_be_vectorised_are_looked_at_one_by_one() -> None:
    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Linear(4, 3).double(), nn.Linear(4, 3).double()

        def forward(self, x: Tensor) -> Tensor:
            return self.one(x) if x[0, 0].item() > 0 else self.two(x)

    model, x = Branches(), drawn(0, 4, 4)
    x[:, 0] = torch.tensor([1.0, 2, -1, -2])
    found = gradient_interference(model, (x, Y[:4]))
    assert found.cosines[:2, 2:].abs().max() == 0
    plain = gradient_interference(model.one, (x[:2], Y[:2]))
    assert found.cosines[0, 1] == pytest.approx(plain.cosines[0, 1].item())


def test_the_model_is_left_as_it_was() -> None:
    model, x = learner("noisy", "shared")
    model.backbone[1].train()
    next(model.parameters()).requires_grad_(False)
    model.heads.linear.bias.grad = torch.ones(3).double()
    batch = Batch(x, Y, 0)
    with untouched(model), torch.no_grad():
        for mode in ("eval", "train"):
            found = [gradient_size(model, batch, mode=mode) for _ in range(2)]
            assert found[0] == found[1]  # the same masks of dropout
            gradient_noise(model, [batch, batch], mode=mode)
        gradient_interference(model, batch)
        tangent_rank(model, x, 0)
        with pytest.raises(ValueError, match="labels must lie in"):
            gradient_interference(model, Batch(x, Y + 3, 0))


def test_errors() -> None:
    model, x = learner("mlp", "shared")
    batch = Batch(x, Y, 0)
    with pytest.raises(ValueError, match=r"two or more of one size.*got 1 of sizes \[5\]"):
        gradient_noise(model, [batch])
    with pytest.raises(ValueError, match=r"two or more of one size.*got 2 of sizes \[2, 5\]"):
        gradient_noise(model, [batch, Batch(x[:2], Y[:2], 0)])
    with pytest.raises(ValueError, match="samples must be 2 or more, whose gradients are compared"):
        gradient_interference(model, Batch(x[:1], Y[:1], 0))
    with pytest.raises(ValueError, match="the rank is at most samples times outputs; got 1"):
        tangent_rank(model, x[:1], 0)
    with pytest.raises(ValueError, match="mode must be one of eval, train"):
        inspect.unwrap(gradient_size)(model, batch, mode="test")
    coupled = nn.Sequential(nn.BatchNorm1d(6, track_running_stats=False), nn.Linear(6, 3)).double()
    for call in (
        lambda: gradient_interference(coupled, (x, Y)),
        lambda: tangent_rank(coupled, x),
    ):
        with pytest.raises(ValueError, match="batch norm without running statistics"):
            call()
    with pytest.raises(ValueError, match="model must have a parameter that requires a gradient"):
        tangent_rank(model.requires_grad_(False), x, 0)


class Wrapped(nn.Linear):
    """Gives its outputs in a mapping, as models of language do."""

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"logits": super().forward(x)}


def test_outputs_that_are_no_tensor_are_refused() -> None:
    model, x = Wrapped(4, 3), torch.ones(5, 4)
    for call in (
        lambda: gradient_size(model, (x, Y)),
        lambda: gradient_noise(model, [(x, Y), (x, Y)]),
        lambda: gradient_interference(model, (x, Y)),
        lambda: tangent_rank(model, x),
    ):
        with pytest.raises(TypeError, match=r"tensor of outputs \(5, outputs\), got a dict"):
            call()
    # A loss of one's own takes whatever the model gives.
    found = gradient_size(model, (x, Y), loss=lambda out, y: out["logits"].sum() / len(y))
    assert found.norm == pytest.approx(math.sqrt(3 * 4 + 3))


def test_an_empty_batch_is_refused() -> None:
    model, x = learner("mlp", "shared")
    with pytest.raises(ValueError, match="samples must be one or more, got an empty batch"):
        gradient_size(model, Batch(x[:0], Y[:0], 0))


def test_labels_of_any_integer_type_serve() -> None:
    model, x = learner("mlp", "shared")
    wanted = gradient_size(model, Batch(x, Y, 0))
    assert gradient_size(model, Batch(x, Y.int(), 0)) == wanted


def test_what_is_not_finite_gives_nan() -> None:
    model, x = learner("mlp", "shared")
    x[0] = math.nan
    batch = Batch(x, Y, 0)
    assert all(map(math.isnan, gradient_noise(model, [batch, batch])))
    assert all(map(math.isnan, gradient_interference(model, batch)[1:]))
    assert all(map(math.isnan, tangent_rank(model, x, 0)[:3]))
