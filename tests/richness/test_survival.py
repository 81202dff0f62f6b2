"""What a parametrized model goes through unharmed."""

import copy
import inspect
import warnings
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_model, save_model
from survivors import SURVIVORS, Survivor
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from holdfast import richness
from holdfast.nets import GrowingHead, Learner, SharedHead, TaskHeads

CASES = pytest.mark.parametrize("case", SURVIVORS, ids=str)


def gradients(model: nn.Module, *inputs: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    model(*inputs).square().sum().backward()
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def agree(model: nn.Module, other: nn.Module, *inputs: Tensor) -> None:
    """One function, one gradient, one set of rates."""
    torch.testing.assert_close(model(*inputs), other(*inputs), rtol=0, atol=0)
    mine, theirs = gradients(model, *inputs), gradients(other, *inputs)
    assert mine.keys() == theirs.keys()
    for name, g in mine.items():
        torch.testing.assert_close(theirs[name], g, rtol=0, atol=0)
    for optimizer in ("sgd", "adam"):
        assert richness.rates(model, optimizer) == richness.rates(other, optimizer)
    assert richness.describe(model) == richness.describe(other)


@CASES
def test_deepcopy(case: Survivor) -> None:
    model = case.model()
    again = copy.deepcopy(model)
    agree(model, again, *case.inputs())
    before = model(*case.inputs())
    with torch.no_grad():
        for parameter in again.parameters():
            parameter.zero_()
    assert torch.equal(model(*case.inputs()), before)


@CASES
def test_state_dict_into_a_fresh_model(case: Survivor) -> None:
    model, other = case.model(), case.model(seed=1)
    assert not torch.equal(model(*case.inputs()), other(*case.inputs()))
    other.load_state_dict(model.state_dict())
    agree(model, other, *case.inputs())
    # It holds what the plain model's holds, by the same names, and nothing else.
    plain = case.plain().state_dict()
    assert {n: v.shape for n, v in plain.items()} == {
        n: v.shape for n, v in model.state_dict().items()
    }


@CASES
def test_safetensors(case: Survivor, tmp_path: Path) -> None:
    model, other = case.model(), case.model(seed=1)
    save_model(model, str(tmp_path / "model.safetensors"))
    load_model(other, tmp_path / "model.safetensors")
    agree(model, other, *case.inputs())


@CASES
def test_functional_call(case: Survivor) -> None:
    model, other = case.model(), case.model(seed=1)
    state = {n: p.detach() for n, p in model.named_parameters()}
    outputs = functional_call(other, state, case.inputs())
    assert torch.equal(outputs, model(*case.inputs()))


@CASES
def test_gradients_of_samples(case: Survivor) -> None:
    """vmap of grad, against one sample after the other."""
    model = case.model().double()
    x, *task = case.inputs(3, torch.float64)
    state = {n: p.detach() for n, p in model.named_parameters()}

    def loss(state: dict[str, Tensor], x: Tensor) -> Tensor:
        return functional_call(model, state, (x.unsqueeze(0), *task)).square().sum()

    with warnings.catch_warnings():
        # Of attention, which vmap runs as a loop.
        warnings.filterwarnings("ignore", message="There is a performance drop")
        found = vmap(grad(loss), in_dims=(None, 0))(state, x)
    for i in range(len(x)):
        for name, g in gradients(model, x[i : i + 1], *task).items():
            torch.testing.assert_close(found[name][i], g, rtol=1e-9, atol=1e-11)


@CASES
def test_export(case: Survivor) -> None:
    """With any number of samples, not that of the example."""
    model = case.model().eval()
    x, *task = case.inputs()
    shapes = ({0: torch.export.Dim("n", min=2)}, *(None for _ in task))
    program = torch.export.export(model, (x, *task), dynamic_shapes=shapes)
    torch.testing.assert_close(program.module()(x, *task), model(x, *task))
    more = torch.cat([x, x, x.flip(0)])
    torch.testing.assert_close(program.module()(more, *task), model(more, *task))


@pytest.mark.parametrize(
    "case",
    [c for c in SURVIVORS if c.name in ("mlp", "residual", "hooks", "text", "task head")],
    ids=str,
)
def test_compile(case: Survivor, monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in (Learner, GrowingHead, SharedHead, TaskHeads):
        for name in ("forward", "features"):
            if name in vars(kind):  # the checks of types in tests cannot be compiled
                monkeypatch.setattr(kind, name, inspect.unwrap(getattr(kind, name)))
    torch.compiler.reset()
    model = case.model()
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(*case.inputs()), model(*case.inputs()))
    expected = gradients(model, *case.inputs())
    compiled(*case.inputs()).square().sum().backward()
    for name, parameter in model.named_parameters():
        if name in expected:
            torch.testing.assert_close(parameter.grad, 2 * expected[name])
    renamed = {f"_orig_mod.{name}": factor for name, factor in richness.rates(model).items()}
    assert richness.rates(compiled) == renamed


@CASES
def test_dtype(case: Survivor) -> None:
    model = case.model()
    outputs = model(*case.inputs())
    multipliers = [m.multiplier for m in model.modules() if hasattr(m, "multiplier")]
    model.double()
    double = model(*case.inputs(dtype=torch.float64))
    assert double.dtype == torch.float64
    torch.testing.assert_close(double.float(), outputs, rtol=1e-4, atol=1e-5)
    assert [m.multiplier for m in model.modules() if hasattr(m, "multiplier")] == multipliers
    assert all(type(multiplier) is float for multiplier in multipliers)


@CASES
def test_device(case: Survivor) -> None:
    model = case.model().to("meta")
    x, *task = case.inputs()
    assert model(x.to("meta"), *task).device.type == "meta"


@CASES
def test_autocast(case: Survivor) -> None:
    model = case.model()
    full = model(*case.inputs())
    with torch.autocast("cpu", torch.bfloat16):
        half = model(*case.inputs())
    assert half.dtype == torch.bfloat16
    scale = float(full.detach().abs().max())
    torch.testing.assert_close(half.float(), full, rtol=0, atol=0.05 * scale)
    half.float().square().sum().backward()
    assert all(p.grad is None or p.grad.dtype == torch.float32 for p in model.parameters())


@CASES
def test_evaluation_is_training_without_gradients(case: Survivor) -> None:
    """Fused forms of torch for evaluation know of the multipliers, or are not taken."""
    model = case.model()
    expected = model(*case.inputs())
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(*case.inputs()), expected)


@pytest.fixture
def process_group(tmp_path: Path):
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path / 'group'}", rank=0, world_size=1
    )
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("case", [c for c in SURVIVORS if c.name != "task head"], ids=str)
def test_distributed(case: Survivor, process_group: None) -> None:
    """Wrapped, a step is the step of the model itself; the groups are those of the wrapped one."""
    model, alone = case.model(), case.model()
    wrapped = nn.parallel.DistributedDataParallel(model)
    renamed = {f"module.{name}": factor for name, factor in richness.rates(alone).items()}
    assert richness.rates(wrapped) == renamed
    for net in (wrapped, alone):
        used = torch.optim.SGD(richness.param_groups(net, lr=0.1))
        for _ in range(2):
            used.zero_grad()
            net(*case.inputs()).square().mean().backward()
            used.step()
    for mine, theirs in zip(model.parameters(), alone.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs)
