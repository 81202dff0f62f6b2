"""The diagonal Fisher information against the per-sample loop and closed forms."""

import inspect

import pytest
import torch
from curvature_cases import CASES, Case, assert_close, loop, mlp
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from holdfast.curvature import diagonal_fisher, fisher, per_sample
from holdfast.nets import alexnet
from holdfast.streams.batches import Batch

Samples = tuple[Tensor, Tensor]


def batch(x: Tensor, y: Tensor, task: int | Tensor | None) -> Batch | Samples:
    return (x, y) if task is None else Batch(x, y, task)


@pytest.fixture
def regression() -> tuple[nn.Module, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    model = nn.Linear(3, 4, dtype=torch.float64)
    for p in model.parameters():
        p.data.normal_(generator=generator)
    x = torch.randn(8, 3, dtype=torch.float64, generator=generator)
    return model, x, torch.randint(0, 4, (8,), generator=generator)


@pytest.mark.parametrize(
    ("dtype", "relative"), [(torch.float32, 1e-5), (torch.float64, 1e-10)], ids=["f32", "f64"]
)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_empirical_matches_the_loop(case: Case, dtype: torch.dtype, relative: float) -> None:
    model, x, y, task = case.make(dtype)
    found = diagonal_fisher(model, [batch(x, y, task)])
    assert_close(found, loop(model, x, y, task), relative)


@pytest.mark.parametrize("kind", ["true", "weighted"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_other_kinds_match_the_loop(case: Case, kind: fisher.FisherKind) -> None:
    model, x, y, task = case.make(torch.float64)
    found = diagonal_fisher(model, [batch(x, y, task)], kind=kind)
    assert_close(found, loop(model, x, y, task, kind), 1e-10)


@pytest.mark.parametrize("case", [c for c in CASES if c.closed], ids=str)
def test_rules_cover_what_they_claim(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    model, x, y, task = case.make(torch.float32)
    monkeypatch.setattr(fisher, "per_sample_squares", _refuse)
    for kind in ("empirical", "true"):
        diagonal_fisher(model, [batch(x, y, task)], kind=kind)


@pytest.mark.parametrize("name", ["one task", "mixed tasks"])
def test_rules_cover_task_heads(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (case,) = (c for c in CASES if c.name == name)
    model, x, y, task = case.make(torch.float32)
    heads = [n for n, _ in model.named_parameters() if n.startswith("heads")]
    monkeypatch.setattr(fisher, "per_sample_squares", _refuse)
    diagonal_fisher(model, [batch(x, y, task)], parameters=heads)


def _refuse(*_: object) -> None:
    raise AssertionError("a parameter went without a rule")


def test_vmap_serves_all_but_control_flow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(per_sample, "_one_by_one", _refuse)
    for case in CASES:
        if case.closed or case.name == "control flow":
            continue
        model, x, y, task = case.make(torch.float32)
        diagonal_fisher(model, [batch(x, y, task)])


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(1, 5), min_size=1, max_size=6), st.sampled_from(["empirical", "true"]))
def test_batches_and_order_do_not_matter(sizes: list[int], kind: fisher.FisherKind) -> None:
    case = CASES[0]
    model, x, y, _ = case.make(torch.float64)
    rows = torch.randperm(sum(sizes), generator=torch.Generator().manual_seed(sum(sizes))) % len(x)
    x, y = x[rows], y[rows]
    parts = zip(x.split(sizes), y.split(sizes), strict=True)
    together = diagonal_fisher(model, [(x.flip(0), y.flip(0))], kind=kind)
    assert_close(diagonal_fisher(model, parts, kind=kind), together, 1e-12)


def test_two_sets_merge_to_their_mean() -> None:
    model, x, y, _ = CASES[3].make(torch.float64)
    first = diagonal_fisher(model, [(x[:2], y[:2])])
    second = diagonal_fisher(model, [(x[2:], y[2:])])
    merged = {n: (2 * first[n] + (len(x) - 2) * second[n]) / len(x) for n in first}
    assert_close(diagonal_fisher(model, [(x, y)]), merged, 1e-12)


@pytest.mark.parametrize("name", ["groups", "attention", "text", "sequence", "mlp"])
def test_memory_limits_do_not_matter(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (case,) = (c for c in CASES if c.name == name)
    model, x, y, _ = case.make(torch.float64)
    expected = diagonal_fisher(model, [(x, y)], kind="true")
    for module in ("closed", "per_sample", "rules.linear"):
        monkeypatch.setattr(f"holdfast.curvature.{module}._ELEMENTS", 1)
    assert_close(diagonal_fisher(model, [(x, y)], kind="true"), expected, 1e-12)


def test_true_is_the_gauss_newton_diagonal(regression: tuple[nn.Module, Tensor, Tensor]) -> None:
    model, x, y = regression
    p = model(x).softmax(dim=1).detach()
    found = diagonal_fisher(model, [(x, y)], kind="true")
    # For softmax regression: E x_i^2 p_o (1 - p_o).
    assert_close(
        found, {"weight": (p * (1 - p)).T @ x**2 / 8, "bias": (p * (1 - p)).mean(dim=0)}, 1e-12
    )


def test_true_is_the_hessian_of_a_linear_model(
    regression: tuple[nn.Module, Tensor, Tensor],
) -> None:
    model, x, y = regression

    def loss(weight: Tensor) -> Tensor:
        return nn.functional.cross_entropy(x @ weight.T + model.bias, y)

    hessian = torch.autograd.functional.hessian(loss, model.weight.detach()).reshape(12, 12)
    found = diagonal_fisher(model, [(x, y)], kind="true")["weight"]
    torch.testing.assert_close(found.flatten(), hessian.diagonal().detach())


def test_gaussian_kinds(regression: tuple[nn.Module, Tensor, Tensor]) -> None:
    model, x, y = regression
    targets = torch.randn(8, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    error = (model(x) - targets).detach()
    assert_close(
        diagonal_fisher(model, [(x, targets)]),
        {"weight": (error**2).T @ x**2 / 8, "bias": (error**2).mean(dim=0)},
        1e-12,
    )
    # The true one does not look at the targets, so it is the same for labels.
    moment = {"weight": (x**2).mean(dim=0).expand(4, 3), "bias": torch.ones(4).double()}
    assert_close(diagonal_fisher(model, [(x, targets)], kind="true"), moment, 1e-12)
    assert_close(
        diagonal_fisher(model, [(x, y)], kind="true", likelihood="gaussian"), moment, 1e-12
    )
    one_hot = nn.functional.one_hot(y, 4).double()
    assert_close(
        diagonal_fisher(model, [(x, y)], likelihood="gaussian"),
        diagonal_fisher(model, [(x, one_hot)]),
        1e-12,
    )


@pytest.mark.parametrize("likelihood", ["categorical", "gaussian"])
def test_sampled_tends_to_the_true_one(
    regression: tuple[nn.Module, Tensor, Tensor], likelihood: fisher.Likelihood
) -> None:
    model, x, y = regression
    many = [(x.repeat(1000, 1), y.repeat(1000))]
    draw = torch.Generator().manual_seed(0)
    before = torch.random.get_rng_state()
    found = diagonal_fisher(model, many, kind="sampled", likelihood=likelihood, generator=draw)
    assert torch.equal(before, torch.random.get_rng_state())
    expected = diagonal_fisher(model, [(x, y)], kind="true", likelihood=likelihood)
    # 8,000 draws: 5 % is more than four standard errors of the worst entry.
    assert_close(found, expected, 0.05)
    again = diagonal_fisher(
        model, many, kind="sampled", likelihood=likelihood, generator=draw.manual_seed(0)
    )
    assert_close(again, found, 0.0)


def test_batch_forms(regression: tuple[nn.Module, Tensor, Tensor]) -> None:
    model, x, y = regression
    expected = torch.zeros_like(model.weight)
    scaled = torch.zeros_like(model.weight)
    sizes = [3, 5]
    for part, labels in zip(x.split(sizes), y.split(sizes), strict=True):
        loss = nn.functional.cross_entropy(model(part), labels)
        (g,) = torch.autograd.grad(loss, [model.weight])
        expected += g**2 / 2
        scaled += len(part) * g**2 / 2
    parts = list(zip(x.split(sizes), y.split(sizes), strict=True))
    assert_close(
        {"w": diagonal_fisher(model, parts, kind="batch_mean")["weight"]}, {"w": expected}, 1e-12
    )
    assert_close(
        {"w": diagonal_fisher(model, parts, kind="batch_mean_scaled")["weight"]},
        {"w": scaled},
        1e-12,
    )


def test_batch_of_one_makes_the_forms_one(regression: tuple[nn.Module, Tensor, Tensor]) -> None:
    model, x, y = regression
    parts = list(zip(x.split(1), y.split(1), strict=True))
    expected = diagonal_fisher(model, [(x, y)])
    for kind in ("empirical", "batch_mean", "batch_mean_scaled"):
        assert_close(diagonal_fisher(model, parts, kind=kind), expected, 1e-12)


def test_model_is_left_as_found() -> None:
    model = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Dropout(), nn.Linear(4, 3))
    model[2].eval()
    model[0].weight.requires_grad_(False)
    x, y = torch.randn(6, 5), torch.tensor([0, 1, 2, 0, 1, 2])
    model[3].weight.grad = torch.ones(3, 4)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    found = diagonal_fisher(model, [(x, y)], parameters=["0.weight", "3.bias"])
    assert list(found) == ["0.weight", "3.bias"]
    assert float(found["0.weight"].sum()) > 0
    assert [m.training for m in model] == [True, True, False, True]
    assert [p.requires_grad for p in model[0].parameters()] == [False, True]
    assert all(p.grad is None for n, p in model.named_parameters() if n != "3.weight")
    assert torch.equal(model[3].weight.grad, torch.ones(3, 4))
    assert not any(m._forward_hooks for m in model.modules())
    for name, value in model.state_dict().items():
        assert torch.equal(value, state[name])
    with pytest.raises(ValueError, match="labels"):
        diagonal_fisher(model, [(x, y + 3)])
    assert model.training
    assert not any(m._forward_hooks for m in model.modules())


def test_works_without_grad_and_with_unused_parameters() -> None:
    model = mlp()
    model.register_parameter("idle", nn.Parameter(torch.ones(2)))
    x, y = torch.randn(4, 5), torch.tensor([0, 1, 2, 3])
    with torch.no_grad():
        found = diagonal_fisher(model, [(x, y)])
    assert not found["idle"].any()
    assert found["0.weight"].any()
    only = diagonal_fisher(model, [(x, y)], parameters=["idle"], kind="batch_mean")
    assert not only["idle"].any()


def test_users_hooks_do_not_mislead_the_rules() -> None:
    model, x, y, _ = CASES[0].make(torch.float64)
    model.get_submodule("0").register_forward_hook(lambda m, a, out: out * 2)
    model.get_submodule("2").register_forward_pre_hook(lambda m, a: (a[0] + 1,))
    assert_close(diagonal_fisher(model, [(x, y)]), loop(model, x, y), 1e-10)


def test_tied_names_give_the_same() -> None:
    (case,) = (c for c in CASES if c.name == "tied layers")
    model, x, y, _ = case.make(torch.float64)
    found = diagonal_fisher(model, [(x, y)], parameters=["0.weight", "2.weight"])
    assert torch.equal(found["0.weight"], found["2.weight"])
    assert_close(
        {"0.weight": found["2.weight"]}, {"0.weight": loop(model, x, y)["0.weight"]}, 1e-10
    )


def test_module_with_two_names_is_left_whole() -> None:
    layer = nn.Linear(5, 5)
    model = nn.Sequential(layer, nn.Tanh(), layer, nn.Linear(5, 4))
    x, y = torch.randn(3, 5), torch.tensor([0, 1, 2])
    found = diagonal_fisher(model, [(x, y)])
    assert all(isinstance(p, nn.Parameter) for p in (layer.weight, layer.bias))
    assert_close(found, loop(model, x, y), 1e-5)


def test_forward_chooses_the_outputs() -> None:
    model, x, y, _ = CASES[0].make(torch.float64)
    found = diagonal_fisher(model, [(x, y % 2)], forward=lambda x, task: model(x)[:, :2])
    assert not found["2.weight"][2:].any()
    assert found["2.weight"][:2].all()


def test_impossible_outputs_get_nothing() -> None:
    model, x, y, _ = CASES[0].make(torch.float64)

    def masked(x: Tensor, task: object) -> Tensor:
        return model(x).masked_fill(torch.tensor([False, False, True, True]), -torch.inf)

    expected = diagonal_fisher(
        model, [(x, y % 2)], kind="true", forward=lambda x, task: model(x)[:, :2]
    )
    assert_close(diagonal_fisher(model, [(x, y % 2)], kind="true", forward=masked), expected, 1e-12)


def test_errors(regression: tuple[nn.Module, Tensor, Tensor]) -> None:
    model, x, y = regression
    unchecked = inspect.unwrap(diagonal_fisher)
    with pytest.raises(ValueError, match="kind must be one of empirical, true"):
        unchecked(model, [(x, y)], kind="exact")
    with pytest.raises(ValueError, match="likelihood must be categorical or gaussian"):
        unchecked(model, [(x, y)], likelihood="poisson")
    with pytest.raises(ValueError, match="generator must be given"):
        diagonal_fisher(model, [(x, y)], kind="sampled")
    with pytest.raises(ValueError, match=r"weighted.*class probabilities, not targets"):
        diagonal_fisher(model, [(x, y)], kind="weighted", likelihood="gaussian")
    with pytest.raises(ValueError, match=r"weighted.*class probabilities, not targets"):
        diagonal_fisher(model, [(x, model(x).detach())], kind="weighted")
    with pytest.raises(ValueError, match=r"'weigth'.*did you mean 'weight'"):
        diagonal_fisher(model, [(x, y)], parameters=["weigth"])
    with pytest.raises(ValueError, match="batches is empty"):
        diagonal_fisher(model, [])
    with pytest.raises(ValueError, match=r"labels must lie in 0..3.*got 0..7"):
        diagonal_fisher(model, [(x, torch.arange(8))])
    with pytest.raises(ValueError, match=r"labels must be \(8,\) integers"):
        diagonal_fisher(model, [(x, y[:3])])
    with pytest.raises(ValueError, match="8 samples have an output of -inf"):
        diagonal_fisher(model, [(x, y)], forward=lambda x, task: model(x) - torch.inf)
    with pytest.raises(ValueError, match="shape of the outputs"):
        diagonal_fisher(model, [(x, x)])
    with pytest.raises(ValueError, match=r"3 parts"):
        diagonal_fisher(model, [(x, y, y)])
    with pytest.raises(ValueError, match=r"outputs of shape \(8, outputs\).*forward="):
        diagonal_fisher(model, [(x, y)], forward=lambda x, task: model(x).sum(dim=1))
    with pytest.raises(ValueError, match="requires a gradient"):
        diagonal_fisher(model.requires_grad_(False), [(x, y)])


def test_coupled_samples_are_refused() -> None:
    model = alexnet((3, 32, 32), track_running_stats=False)
    x, y = torch.randn(2, 3, 32, 32), torch.tensor([0, 1])
    with pytest.raises(ValueError, match="'conv1_norm' is a batch norm without running statistics"):
        diagonal_fisher(model, [(x, y)])
    found = diagonal_fisher(model, [(x, y)], kind="batch_mean", parameters=["conv1.weight"])
    assert bool(found["conv1.weight"].any())
