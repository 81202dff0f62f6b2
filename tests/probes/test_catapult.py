import math
import warnings
from typing import Any

import pytest
import torch
from tangent_cases import dense_kernel, drawn, heads, learner
from torch import nn

from holdfast.nets.learner import Learner
from holdfast.probes import (
    CatapultWarning,
    Phase,
    TangentKernel,
    kernel_alignment,
    tangent_top_eigenvalue,
)
from holdfast.seeds import generator
from holdfast.streams.batches import Batch


def rates_of(model: nn.Module, rate: float = 1e-3) -> dict[str, float]:
    return {name: rate * (1 + i) for i, (name, _) in enumerate(model.named_parameters())}


def move(model: nn.Module, seed: int, by: float = 0.1) -> None:
    draws = torch.Generator().manual_seed(seed)
    for p in model.parameters():
        p.data += by * torch.randn(p.shape, generator=draws, dtype=p.dtype)


def seen(model: Learner, task: int, **phase: Any) -> tuple[TangentKernel, Batch]:
    probe = TangentKernel()
    shape = (3, 6) if model.heads.width == 5 else (3, 2, 6, 6)
    batch = Batch(drawn(5, *shape), torch.zeros(3, dtype=torch.int64), task)
    probe.before(model, batch, Phase(task, rates_of(model), **phase))
    return probe, batch


@pytest.mark.parametrize("net", ["mlp", "noisy"])
@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
def test_values_are_those_of_dense_kernels(net: str, loss: str) -> None:
    model, _ = learner(net, "per_task")
    probe, batch = seen(model, 1, loss=loss)
    rates, named = rates_of(model), dict(model.named_parameters())
    top = tangent_top_eigenvalue(model(batch.x, 1), named, rates, loss)
    start = dense_kernel(model, batch.x, 1, rates)
    move(model, 1)
    values = probe.measure(model, batch)
    now = dense_kernel(model, batch.x, 1, rates)
    assert values["lr_top_eigenvalue"] == pytest.approx(top)
    assert values["lr_top_eigenvalue_after"] == pytest.approx(
        tangent_top_eigenvalue(model(batch.x, 1), named, rates, loss)
    )
    # nine outputs: the directions are a whole basis
    assert values["change"] == pytest.approx(1 - kernel_alignment(start, now), rel=1e-6)


def test_many_outputs_are_sketched() -> None:
    """The change of a kernel of 80 rows from 16 directions: near, and nothing for no movement."""
    model, _ = learner("mlp", "growing")
    batch = Batch(drawn(5, 16, 6), torch.zeros(16, dtype=torch.int64), 1)
    probe, rates = TangentKernel(), rates_of(model)
    probe.before(model, batch, Phase(1, rates))
    assert probe.measure(model, batch)["change"] == 0
    start = dense_kernel(model, batch.x, 1, rates)
    move(model, 1)
    wanted = 1 - kernel_alignment(start, dense_kernel(model, batch.x, 1, rates))
    assert probe.measure(model, batch)["change"] == pytest.approx(wanted, rel=0.3)


def test_a_grown_head_is_compared_where_it_was() -> None:
    model = Learner(nn.Sequential(nn.Linear(6, 5), nn.Tanh()), heads("shared", 5)).double()
    growing = heads("growing", 5)
    model.heads = growing.double()
    probe, batch = seen(model, 0)
    start = dense_kernel(model, batch.x, 0, rates_of(model))
    growing.accommodate(2, [8, 9], generator(0, "c"))
    assert probe.measure(model, batch)["change"] == pytest.approx(0, abs=1e-12)
    move(model, 1)
    now = dense_kernel(model, batch.x, 0, rates_of(model)).view(3, 7, 3, 7)[:, :5, :, :5]
    wanted = 1 - kernel_alignment(start, now.reshape(15, 15))
    assert probe.measure(model, batch)["change"] == pytest.approx(wanted)


def test_eigenvalues_are_of_the_current_task_and_what_is_frozen_counts() -> None:
    model, _ = learner("mlp", "per_task")
    probe, first = seen(model, 0)
    model.requires_grad_(False)
    values = probe.measure(model, first)
    assert values["change"] == 0
    assert values["lr_top_eigenvalue_after"] == values["lr_top_eigenvalue"] > 0
    assert not any(p.requires_grad for p in model.parameters())
    model.heads.requires_grad_(True)
    trained = {name: 0.1 for name, p in model.named_parameters() if p.requires_grad}
    second = Batch(first.x, first.y, 1)
    probe.before(model, first, Phase(1, trained))
    probe.before(model, second, Phase(1, trained))
    assert set(probe.measure(model, first)) == {"change"}
    named = {name: p for name, p in model.named_parameters() if name in trained}
    assert probe.measure(model, second)["lr_top_eigenvalue"] == pytest.approx(
        tangent_top_eigenvalue(model(first.x, 1), named, trained, "cross_entropy")
    )


def test_adam_has_no_such_limit() -> None:
    model, _ = learner("mlp", "per_task")
    probe, batch = seen(model, 1, optimizer="adam")
    start = dense_kernel(model, batch.x, 1)
    move(model, 1)
    values = probe.measure(model, batch)
    assert math.isnan(values["lr_top_eigenvalue"])
    assert math.isnan(values["lr_top_eigenvalue_after"])
    wanted = 1 - kernel_alignment(start, dense_kernel(model, batch.x, 1))
    assert values["change"] == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize(
    ("loss", "momentum", "until"),
    [
        ("cross_entropy", 0.0, "softmax is flat"),
        ("cross_entropy", 0.5, "softmax is flat"),
        ("mse", 0.0, "above about 4, for good"),
    ],
)
def test_a_rate_that_is_too_large_is_warned_of_once(loss: str, momentum: float, until: str) -> None:
    model, _ = learner("mlp", "per_task")
    batch = Batch(drawn(5, 3, 6), torch.zeros(3, dtype=torch.int64), 1)
    named = dict(model.named_parameters())
    top = tangent_top_eigenvalue(model(batch.x, 1), named, None, loss)

    def phase(product: float) -> Phase:
        rates = dict.fromkeys(named, product * (1 + momentum) / top)
        return Phase(1, rates, momentum=momentum, loss=loss)

    probe = TangentKernel()
    probe.before(model, batch, phase(1.99))
    with pytest.warns(
        CatapultWarning, match=rf"before task 1 .*{until}.*multiply training\.lr by 0\.5;"
    ):
        probe.before(model, batch, phase(4.0))
    probe.before(model, batch, phase(4.0))
    kept = probe.state_dict()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        resumed = TangentKernel()
        resumed.load_state_dict(kept)
        resumed.before(model, batch, phase(4.0))


def test_without_before_there_is_nothing_to_compare_with() -> None:
    model, x = learner("mlp", "per_task")
    values = TangentKernel().measure(model, Batch(x, torch.zeros(5, dtype=torch.int64), 0))
    assert list(values) == ["change"]
    assert math.isnan(values["change"])


def test_another_run_starts_anew() -> None:
    model, _ = learner("mlp", "per_task")
    probe, batch = seen(model, 1)
    probe.before(model, Batch(batch.x, batch.y, 0), Phase(0, rates_of(model)))
    assert math.isnan(probe.measure(model, batch)["change"])


def test_wrong_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="samples must be 1 or more, got 0"):
        TangentKernel(samples=0)
    with pytest.raises(ValueError, match="kernel_samples must be 1 or more, got -1"):
        TangentKernel(kernel_samples=-1)
