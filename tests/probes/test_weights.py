import math

import pytest
import torch
from torch import Tensor, nn

from holdfast.nets.heads import GrowingHead
from holdfast.nets.learner import Learner
from holdfast.probes import Phase, Weights, layer_weight_norms, weight_norms
from holdfast.streams.batches import Batch

BATCHES = [Batch(torch.zeros(2, 3), torch.zeros(2, dtype=torch.int64), task) for task in range(2)]


def copied(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def naive(model: nn.Module, start: dict[str, Tensor]) -> list[float]:
    squares, sizes, moved, began, count = 0.0, 0.0, 0.0, 0.0, 0
    for name, parameter in model.named_parameters():
        pairs = zip(parameter.flatten().tolist(), start[name].flatten().tolist(), strict=True)
        for now, then in pairs:
            squares, sizes, count = squares + now**2, sizes + abs(now), count + 1
            moved, began = moved + (now - then) ** 2, began + then**2
    return [squares**0.5, sizes / count, moved**0.5, (moved / began) ** 0.5]


def test_match_their_sums() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)).double()
    start = copied(model)
    assert weight_norms(model, start).distance == weight_norms(model, start).relative == 0
    for parameter in model.parameters():
        parameter.data.add_(torch.randn_like(parameter))
    found = weight_norms(model, start)
    wanted = naive(model, start)
    assert [found.norm, found.mean_abs, found.distance, found.relative] == pytest.approx(
        wanted, rel=1e-12
    )
    layers = layer_weight_norms(model, start)
    assert list(layers) == [name for name, _ in model.named_parameters()]
    for key in ("norm", "distance"):
        squares = sum(getattr(layer, key) ** 2 for layer in layers.values())
        assert squares**0.5 == pytest.approx(getattr(found, key))
    unknown = weight_norms(model)
    assert unknown.norm == found.norm
    assert math.isnan(unknown.distance)


def test_zero_starts() -> None:
    model = nn.Linear(2, 1, bias=False)
    start = {"weight": torch.zeros(1, 2)}
    model.weight.data.copy_(torch.tensor([[3.0, -4.0]]))
    found = weight_norms(model, start)
    assert (found.norm, found.mean_abs, found.distance, found.relative) == (5, 3.5, 5, math.inf)
    model.weight.data.zero_()
    assert weight_norms(model, start).relative == 0


def test_what_grew_counts_in_the_norm_alone() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    start = copied(model)
    kept = model[1].weight
    model[1] = nn.Linear(4, 5)
    model[0].weight.data[0, 0] += 2
    found = weight_norms(model, start)
    assert found.distance == pytest.approx(2)
    assert found.norm > weight_norms(model[0]).norm
    assert math.isnan(layer_weight_norms(model, start)["1.weight"].distance)
    assert kept.shape == (2, 4)


def test_models_and_starts_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="model must have parameters, ReLU has none"):
        weight_norms(nn.ReLU())
    with pytest.raises(ValueError, match=r"it has w \(2,\); the model has weight \(1, 2\), bias"):
        weight_norms(nn.Linear(2, 1), {"w": torch.ones(2)})


def test_probe_measures_from_before_the_first_task() -> None:
    learner, probe = Learner(nn.Linear(3, 4), GrowingHead(4)), Weights()
    assert math.isnan(probe.measure(learner, BATCHES[0])["distance"])
    learner.heads.accommodate(0, [0, 1])
    probe.before(learner, BATCHES[0], Phase(0, {}))
    learner.backbone.bias.data += 1
    values = probe.measure(learner, BATCHES[0])
    assert values["distance"] == pytest.approx(2)
    learner.heads.accommodate(1, [2])
    second = Weights()
    for batch in BATCHES:
        probe.before(learner, batch, Phase(1, {}))
    second.load_state_dict(probe.state_dict())
    learner.backbone.bias.data += 1
    for one in (probe, second):
        found = [one.measure(learner, batch) for batch in BATCHES]
        assert found[0] == found[1]
        assert found[0]["distance"] == pytest.approx(4)
    assert set(values) == {c for c in Weights.columns if "." not in c}
