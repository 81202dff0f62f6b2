import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from holdfast.nets.heads import SharedHead
from holdfast.nets.learner import Learner
from holdfast.probes import (
    FeatureChange,
    Phase,
    activations,
    feature_change,
    gram_change,
    kernel_alignment,
    pattern_change,
)
from holdfast.streams.batches import Batch


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def naive_gram_change(a: Tensor, b: Tensor) -> float:
    def gram(h: Tensor) -> list[list[float]]:
        rows = h.tolist()
        k = [[math.fsum(x * y for x, y in zip(r, s, strict=True)) for s in rows] for r in rows]
        length = math.sqrt(math.fsum(v * v for row in k for v in row))
        return [[v / length for v in row] for row in k]

    pairs = zip(gram(a), gram(b), strict=True)
    return math.sqrt(math.fsum((x - y) ** 2 for r, s in pairs for x, y in zip(r, s, strict=True)))


def test_gram_change_is_its_sum() -> None:
    a, b = drawn(6, 4), drawn(6, 3, seed=1)
    found = gram_change(a, b)
    assert found == pytest.approx(naive_gram_change(a, b), rel=1e-12)
    assert found**2 / 2 == pytest.approx(1 - kernel_alignment(a @ a.T, b @ b.T))
    apart = torch.tensor([[1.0, 0.0]]).T, torch.tensor([[0.0, 1.0]]).T
    assert gram_change(*apart) == pytest.approx(math.sqrt(2))
    assert math.isnan(gram_change(a, torch.zeros(6, 2)))


@settings(max_examples=20)
@given(st.integers(0, 1000), st.floats(1e-3, 1e3))
def test_gram_change_does_not_feel_rotations_and_scale(seed: int, scale: float) -> None:
    a, b = drawn(6, 4, seed=seed), drawn(6, 4, seed=seed + 1)
    turn = scale * torch.linalg.qr(drawn(4, 4, seed=seed + 2)).Q
    assert gram_change(a, a @ turn) == pytest.approx(0, abs=1e-12)
    assert gram_change(a, b @ turn) == pytest.approx(gram_change(a, b))


def test_pattern_change_is_its_count() -> None:
    a, b = drawn(5, 2, 3) > 0, drawn(5, 2, 3, seed=1) > 0
    flips = [x != y for x, y in zip(a.flatten().tolist(), b.flatten().tolist(), strict=True)]
    assert pattern_change(a, b) == pytest.approx(sum(flips) / 30)
    assert (pattern_change(a, a), pattern_change(a, ~a)) == (0, 1)


def test_other_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="features of the same samples, got 5 and 4"):
        gram_change(drawn(5, 2), drawn(4, 2))
    with pytest.raises(ValueError, match=r"got shapes \(5, 2\) and \(5, 3\)"):
        pattern_change(drawn(5, 2) > 0, drawn(5, 3) > 0)
    x = drawn(5, 3)
    one = activations(nn.Sequential(nn.ReLU(), nn.Tanh()), x)
    other = activations(nn.Sequential(nn.ReLU(), nn.Linear(3, 4).double(), nn.Tanh()), x)
    with pytest.raises(ValueError, match="in the same layers, which is not so of 1, 2"):
        feature_change(one, other)


def turned(seed: int) -> nn.Sequential:
    model = nn.Sequential(
        nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 5), nn.Sigmoid(), nn.Linear(5, 3), nn.Tanh()
    ).double()
    for i, parameter in enumerate(model.parameters()):
        parameter.data.copy_(drawn(*parameter.shape, seed=seed + i))
    return model


def test_changes_are_by_layer() -> None:
    x, a, b = drawn(8, 4), turned(0), turned(20)
    found = feature_change(activations(a, x), activations(b, x))
    assert list(found) == ["1", "3", "5"]
    for name, change in found.items():
        with torch.no_grad():
            h, g = a[: int(name) + 1](x), b[: int(name) + 1](x)
        assert change.gram == pytest.approx(naive_gram_change(h, g), rel=1e-9)
        if name == "3":  # all outputs of a sigmoid are above 0
            assert math.isnan(change.pattern)
        else:
            assert change.pattern == ((h > 0) != (g > 0)).double().mean().item()


def test_probe_measures_since_before_the_task() -> None:
    backbone, x = turned(0), drawn(40, 4)
    learner = Learner(backbone, SharedHead(3, 2).double())
    batch = Batch(x, torch.zeros(40, 2), 0)
    some = x[torch.linspace(0, 39, 8).round().long()]
    probe, second = FeatureChange(samples=8), FeatureChange(samples=8)
    assert all(map(math.isnan, probe.measure(learner, batch).values()))
    before = activations(backbone, some)
    probe.before(learner, batch, Phase(0, {}))
    assert probe.measure(learner, batch) == {"gram": 0, "pattern": 0}
    second.load_state_dict(probe.state_dict())
    backbone.load_state_dict(turned(20).state_dict())
    changes = feature_change(before, activations(backbone, some)).values()
    grams, patterns = [c.gram for c in changes], [c.pattern for c in changes]
    for one in (probe, second):
        values = one.measure(learner, batch)
        assert values["gram"] == pytest.approx(sum(grams) / 3)
        assert values["pattern"] == pytest.approx((patterns[0] + patterns[2]) / 2)
    backbone[0] = nn.Linear(4, 6).double()
    backbone.append(nn.ReLU())  # other layers: nothing to compare with
    assert all(map(math.isnan, probe.measure(learner, batch).values()))
    with pytest.raises(ValueError, match="samples must be 2 or more, got 1"):
        FeatureChange(samples=1)
