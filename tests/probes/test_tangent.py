import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tangent_cases import NETS, dense_kernel, drawn, jacobian, learner
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from holdfast import richness
from holdfast.probes import tangent_kernel, tangent_product, tangent_top_eigenvalue

KINDS = ("shared", "growing", "per_task")


def some_rates(model: nn.Module) -> dict[str, float]:
    return {name: 0.5 + i for i, (name, _) in enumerate(model.named_parameters())}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("weighted", [False, True])
def test_kernel_is_that_of_dense_jacobians(net: str, kind: str, weighted: bool) -> None:
    model, x = learner(net, kind)
    rates = some_rates(model) if weighted else None
    with sdpa_kernel(SDPBackend.MATH):
        wanted = dense_kernel(model, x, 1, rates)
        outputs = model(x, 1)
        found = tangent_kernel(outputs, dict(model.named_parameters()), rates)
    assert found.shape == (outputs.numel(), outputs.numel())
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-12)
    v = drawn(3, *outputs.shape)
    product = tangent_product(outputs, dict(model.named_parameters()), rates)
    torch.testing.assert_close(product(v).flatten(), wanted @ v.flatten())
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
@pytest.mark.parametrize("kind", KINDS)
def test_top_eigenvalue_is_that_of_the_gauss_newton_matrix(loss: str, kind: str) -> None:
    """In the space of parameters: sum_i J_i^T H_i J_i / n, each side times sqrt(rate)."""
    model, x = learner("noisy", kind)
    rates, outputs = some_rates(model), model(x, 1)
    scaled = [math.sqrt(rates[name]) * j for name, j in jacobian(model, x, 1).items()]
    j = torch.cat(scaled, dim=1).view(*outputs.shape, -1)
    p = outputs.softmax(dim=1).detach()
    matrix = torch.zeros(j.shape[2], j.shape[2], dtype=torch.float64)
    for i in range(len(x)):
        hessian = torch.eye(outputs.shape[1], dtype=torch.float64)
        if loss == "cross_entropy":
            hessian = torch.diag(p[i]) - torch.outer(p[i], p[i])
        matrix += j[i].T @ hessian @ j[i] / len(x)
    wanted = torch.linalg.eigvalsh(matrix)[-1].item()
    found = tangent_top_eigenvalue(outputs, dict(model.named_parameters()), rates, loss, 1e-9)
    assert found == pytest.approx(wanted, rel=1e-8)
    rough = tangent_top_eigenvalue(outputs, dict(model.named_parameters()), rates, loss)
    assert rough == pytest.approx(wanted, rel=1e-3)


@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
def test_gradient_descent_turns_unstable_at_two(loss: str) -> None:
    """On a linear model, whose Gauss-Newton matrix is the Hessian."""
    x, weight = drawn(0, 20, 4), nn.Parameter(torch.zeros(4, 3, dtype=torch.float64))
    y = torch.arange(20) % 3
    top = tangent_top_eigenvalue(x @ weight, {"w": weight}, None, loss, 1e-9)

    def loss_of(w: Tensor) -> Tensor:
        if loss == "cross_entropy":
            return nn.functional.cross_entropy(x @ w, y)
        return (x @ w - nn.functional.one_hot(y, 3)).square().sum(dim=1).mean() / 2

    flat = torch.autograd.functional.hessian(loss_of, weight.detach()).reshape(12, 12)
    assert top == pytest.approx(torch.linalg.eigvalsh(flat)[-1].item(), rel=1e-8)
    if loss == "mse":
        for product, grows in ((1.98, False), (2.02, True)):
            w = nn.Parameter(weight.detach().clone())
            losses = []
            for _ in range(400):
                loss_now = loss_of(w)
                losses.append(loss_now.item())
                w.data -= product / top * torch.autograd.grad(loss_now, w)[0]
            assert (losses[-1] > losses[0]) == grows


@settings(max_examples=10)
@given(st.floats(1e-4, 1e4))
def test_eigenvalue_is_linear_in_the_rates(factor: float) -> None:
    model, x = learner("mlp", "shared")
    named, rates = dict(model.named_parameters()), some_rates(model)
    scaled = {name: factor * rate for name, rate in rates.items()}
    one = tangent_top_eigenvalue(model(x, 0), named, rates, "cross_entropy")
    other = tangent_top_eigenvalue(model(x, 0), named, scaled, "cross_entropy")
    assert other == pytest.approx(factor * one, rel=1e-6)


def test_richness_leaves_the_eigenvalue_alone() -> None:
    """Rates gamma^2 and outputs divided by gamma: what is learned per step is free of gamma."""
    found = []
    for gamma0 in (0.01, 1.0, 3.0):
        model, x = learner("mlp", "shared")
        richness.parametrize(model, "mup", gamma0=gamma0, base_width=5, readout_std=1)
        model.heads.linear.bias = None
        named, rates = dict(model.named_parameters()), richness.rates(model)
        found.append(tangent_top_eigenvalue(model(x, 0), named, rates))
    assert found[1:] == pytest.approx([found[0]] * 2, rel=1e-9)


def test_only_what_requires_a_gradient_counts() -> None:
    model, x = learner("mlp", "per_task")
    model.backbone.requires_grad_(False)
    features = torch.cat([model.features(x), torch.ones(5, 1, dtype=torch.float64)], dim=1)
    named = dict(model.named_parameters())
    found = tangent_kernel(model(x, 1), named)
    torch.testing.assert_close(
        found, torch.kron(features @ features.T, torch.eye(3, dtype=torch.float64))
    )
    # rates of what is frozen are not asked for
    own = {name: 1.0 for name in named if name.startswith("heads")}
    torch.testing.assert_close(tangent_kernel(model(x, 1), named, own), found)
    model.requires_grad_(False)
    assert torch.equal(tangent_kernel(model(x, 1), named), torch.zeros(15, 15).double())
    assert tangent_top_eigenvalue(model(x, 1), named) == 0


def test_impossible_outputs_count_nothing() -> None:
    model, x = learner("mlp", "per_task")
    tasks = torch.tensor([0, 1, 0, 1, 1])
    named = dict(model.named_parameters())
    outputs = model(x, tasks)
    assert outputs.isneginf().any()
    for loss in ("mse", "cross_entropy"):
        assert 0 < tangent_top_eigenvalue(outputs, named, None, loss) < math.inf


def test_rates_must_be_of_all_parameters() -> None:
    model, x = learner("mlp", "shared")
    named = dict(model.named_parameters())
    with pytest.raises(
        ValueError, match=r"rates must name every parameter; it lacks backbone\.0\.w"
    ):
        tangent_product(model(x, 0), named, {"weight": 1.0})
