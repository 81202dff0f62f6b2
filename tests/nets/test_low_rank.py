"""Low-rank changes are W + (alpha / rank) B A, and nothing but A and B learns."""

import copy
import sys
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from holdfast.nets import GrowingHead, Learner, LowRank, lora, mlp
from holdfast.nets.redraw import redraw
from holdfast.seeds import seeded


class Net(nn.Module):
    """A convolution, a block of attention and linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3)
        self.block = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, batch_first=True)
        self.inner = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.conv(x).flatten(2).transpose(1, 2)
        return self.inner(self.block(tokens).mean(1))


def net() -> Net:
    with seeded(0, "test"):
        return Net().double()


def x() -> Tensor:
    return torch.randn(5, 2, 6, 6, generator=torch.Generator().manual_seed(1)).double()


def learned(adapted: LowRank) -> LowRank:
    """With an A and a B as they may be after training."""
    draws = torch.Generator().manual_seed(2)
    for p in adapted.parameters():
        if p.requires_grad:
            p.data = torch.randn(p.shape, generator=draws).to(p) * 0.3
    return adapted


@pytest.mark.parametrize("training", [True, False])
def test_equals_dense_changes(training: bool) -> None:
    """In evaluation too, where blocks of attention have a path that calls no layer of theirs."""
    dense, alpha, rank = net(), 3.0, 2
    adapted = learned(lora(net(), rank, alpha))
    state = adapted.state_dict()
    assert adapted.adapted == [
        "conv", "block.linear1", "block.linear2", "inner.0", "inner.2",
    ]  # fmt: skip
    for name in adapted.adapted:
        a = state[f"model.{name}.lora_A.default.weight"]
        b = state[f"model.{name}.lora_B.default.weight"]
        change = alpha / rank * b.flatten(1) @ a.flatten(1)
        layer = dense.get_submodule(name)
        layer.weight.data += change.view_as(layer.weight)  # type: ignore[union-attr,operator,arg-type]
    dense.train(training)
    adapted.train(training)
    with torch.no_grad():
        assert torch.allclose(adapted(x()), dense(x()), rtol=1e-10, atol=1e-12)


def test_nothing_changes_at_first_and_only_adapters_learn() -> None:
    state = torch.get_rng_state()
    adapted, again = lora(net(), seed=3), lora(net(), seed=3)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.allclose(adapted(x()), net()(x()), rtol=1e-12, atol=1e-14)
    assert {n.split(".")[-3] for n, p in adapted.named_parameters() if p.requires_grad} == {
        "lora_A", "lora_B",
    }  # fmt: skip
    assert not any(p.requires_grad for n, p in adapted.named_parameters() if "lora" not in n)
    pairs = zip(adapted.parameters(), again.parameters(), strict=True)
    assert all(torch.equal(p, q) for p, q in pairs)
    other = lora(net(), seed=4)
    assert not torch.equal(other.state_dict()["model.inner.0.lora_A.default.weight"],
                           adapted.state_dict()["model.inner.0.lora_A.default.weight"])  # fmt: skip


def test_merging_keeps_the_function() -> None:
    adapted = learned(lora(net(), 2))
    before = adapted(x())
    adapted.merge()
    assert torch.allclose(adapted(x()), before, rtol=1e-10, atol=1e-12)
    ups = [p for n, p in adapted.named_parameters() if "lora_B" in n]
    assert all(p.requires_grad and not p.any() for p in ups)


def test_drawing_anew_begins_from_the_frozen_weights() -> None:
    adapted = learned(lora(net(), 2))
    redraw(adapted, 0, "fresh")
    assert torch.allclose(adapted(x()), net()(x()), rtol=1e-12, atol=1e-14)
    a = adapted.state_dict()["model.inner.0.lora_A.default.weight"]
    assert a.abs().max() > 0


def test_targets() -> None:
    assert lora(net(), targets=["inner.0"]).adapted == ["inner.0"]
    assert lora(net(), targets=["linear2", "conv"]).adapted == ["conv", "block.linear2"]
    assert lora(nn.Linear(3, 2)).adapted == [""]
    assert lora(nn.Sequential(nn.Linear(3, 2))).adapted == ["0"]


def test_copies_and_states_are_its_own() -> None:
    adapted = learned(lora(mlp((4,), [5, 5])))
    learner = Learner(copy.deepcopy(adapted), GrowingHead(5))
    fresh = Learner(lora(mlp((4,), [5, 5], seed=1)), GrowingHead(5))
    fresh.load_state_dict(learner.state_dict())
    inputs = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(fresh.backbone(inputs), adapted(inputs))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rank": 0}, "rank must be"),
        ({"alpha": 0.0}, "alpha must be a positive number"),
        ({"dropout": 1.0}, "dropout must lie"),
        ({"targets": ["query"]}, r"'query', which names no layer of the backbone; it has conv"),
        ({"targets": []}, "at least one layer"),
        ({"targets": ["inner.1"]}, "not supported"),
    ],
)
def test_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        lora(net(), **options)


def test_nothing_to_adapt_is_refused() -> None:
    with pytest.raises(ValueError, match=r"no torch\.nn\.Linear or Conv2d to adapt"):
        lora(nn.Sequential(nn.LayerNorm(3)))


def test_peft_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ImportError, match=r"pip install \"holdfast\[lora\]\""):
        lora(net())
