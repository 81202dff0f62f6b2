import math
import warnings

import pytest
import torch
from torch import nn

from holdfast.nets.heads import SharedHead
from holdfast.nets.learner import Learner
from holdfast.probes import (
    Phase,
    RankBoundWarning,
    UnitRule,
    Units,
    activations,
    diagnose,
    feature_ranks,
    weight_norms,
)
from holdfast.streams.batches import Batch


def model() -> nn.Sequential:
    """Of four ReLUs one dead, one linearised, one that fires on one of four samples; three tanhs
    of which one is at its bounds.
    """
    made = nn.Sequential(nn.Linear(1, 4), nn.ReLU(), nn.Linear(4, 3), nn.Tanh())
    with torch.no_grad():
        made[0].weight.copy_(torch.tensor([[0.0], [1.0], [1.0], [1.0]]))
        made[0].bias.copy_(torch.tensor([-1.0, 3.0, -1.5, 0.5]))
        made[2].weight.copy_(torch.tensor([[0.0, 9.0, 0.0, 0.0], [0.0] * 4, [0, 0, 0, 0.1]]))
        made[2].bias.zero_()
    return made


X = torch.tensor([[-2.0], [-1.0], [1.0], [2.0]])


def test_tells_each_layer_and_all_together() -> None:
    made = model()
    found = diagnose(made, X)
    first, second = found.layers
    assert (first.name, first.kind, first.units, second.kind) == ("1", "relu", 4, "tanh")
    # sizes 0, 3, 1/8, 1: mean 33/32, so only the dead one is below 1/40 of it
    assert (first.shares.dormant, first.shares.dead, first.shares.linearised) == (0.25, 0.25, 0.25)
    assert math.isnan(first.shares.saturated)
    assert (second.shares.dormant, second.shares.dead) == (1 / 3, 1 / 3)
    assert second.shares.saturated == pytest.approx(1 / 3)
    assert math.isnan(second.shares.linearised)
    assert found.shares.dormant == pytest.approx(2 / 7)
    assert (found.shares.linearised, found.shares.saturated) == pytest.approx((1 / 4, 1 / 3))
    with torch.no_grad():
        assert first.ranks == feature_ranks(made[:2](X))
    assert found.weights == weight_norms(made) or math.isnan(found.weights.distance)
    assert (found.samples, found.mode) == (4, "eval")


def test_rules_move_the_lines() -> None:
    rule = UnitRule(threshold=0.2, dead_share=0.25, linear_share=0.5, eps=0.5)
    first, second = diagnose(model(), X, rule=rule).layers
    assert (first.shares.dormant, first.shares.dead, first.shares.linearised) == (0.5, 0.5, 0.5)
    assert second.shares.saturated == pytest.approx(1 / 3)
    assert "not 0 on at most 0.25 of" in str(diagnose(model(), X, rule=rule))


def test_probe_is_what_diagnose_says() -> None:
    learner = Learner(model(), SharedHead(3, 2))
    batch = Batch(X, torch.zeros(4, 2), 0)
    values, found = Units().measure(learner, batch), diagnose(learner, batch).shares
    assert values == {key: getattr(found, key) for key in values}
    few = Units(threshold=0.2, samples=2).measure(learner, batch)  # -2 and 2
    seen = activations(learner, Batch(X[[0, 3]], batch.y[:2], 0))
    assert few["dormant"] == UnitRule(threshold=0.2).shares(seen).dormant


def test_change_and_distance_on_request() -> None:
    made = model()
    start = {name: value.clone() for name, value in made.state_dict().items()}
    before = diagnose(made, X, start=start)
    assert before.weights.distance == 0
    assert before.layers[0].change is None
    made[0].bias.data += 1
    after = diagnose(made, X, start=start, before=before.seen)
    assert after.weights.distance == pytest.approx(2)
    assert after.layers[0].change.gram > 0
    assert after.layers[0].change.pattern == pytest.approx(2 / 16)
    assert {"gram", "pattern", "dead", "srank"} <= set(after.rows()[0])
    assert "gram" not in before.rows()[0]


def test_text_has_the_table_the_mode_and_the_traps() -> None:
    text = str(diagnose(model(), X, mode="train", outputs=["2"]))
    lines = text.splitlines()
    assert lines[0] == "4 samples, train mode"
    assert lines[1].split() == [
        "layer", "kind", "units", "dormant", "dead", "linear", "satur.", "erank", "srank",
        "stable", "bound",
    ]  # fmt: skip
    assert lines[2].split()[:7] == ["1", "relu", "4", "25.0%", "25.0%", "25.0%", "-"]
    assert lines[3].split()[:2] == ["2", "output"]
    for trap in ("weights: norm", "three different ranks", "miss it", "train mode: batch norm"):
        assert trap in text
    still = nn.Sequential(nn.BatchNorm1d(1, track_running_stats=False), nn.ReLU())
    assert "by this batch in eval mode too" in str(diagnose(still, X))


def test_modules_without_parameters_are_looked_at() -> None:
    found = diagnose(nn.ReLU(), torch.eye(3))
    assert found.weights is None
    assert "weights" not in str(found)


def test_outputs_asked_for_do_not_count_among_units() -> None:
    alone, more = diagnose(model(), X), diagnose(model(), X, outputs=["0", "2"])
    assert len(more.layers) == 4
    assert more.shares == alone.shares
    found = diagnose(nn.Linear(1, 2), X, outputs=[""])
    assert math.isnan(found.shares.dead)


def test_too_few_samples() -> None:
    with pytest.raises(ValueError, match=r"2 or more samples for a rank, got 1: rank <= min\(n, d"):
        diagnose(model(), X[:1])
    with pytest.warns(RankBoundWarning, match=r"layer '1': 3 samples for 4 units, so rank <= min"):
        text = str(diagnose(model(), X[:3]))
    assert "ranks of 1 are bounded by the batch: rank <= min(n, d) = 3" in text
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        diagnose(model(), X)


def test_wrong_rules_are_refused() -> None:
    for wrong, said in (
        ({"threshold": -1.0}, "threshold must be 0 or more, got -1"),
        ({"dead_share": 1.0}, r"dead unit must lie in \[0, 1\)"),
        ({"linear_share": 0.0}, r"linearised unit must lie in \(0, 1\]"),
        ({"eps": 0.0}, "eps must lie between 0 and 1"),
    ):
        with pytest.raises(ValueError, match=said):
            UnitRule(**wrong)
        with pytest.raises(ValueError, match=said):
            Units(**wrong)
    with pytest.raises(ValueError, match="samples must be 1 or more, got 0"):
        Units(samples=0)
    with pytest.raises(ValueError, match="start shares no parameter with the model"):
        diagnose(model(), X, start={"w": X})
    with pytest.raises(ValueError, match="in the same layers"):
        diagnose(model(), X, before=activations(nn.ReLU(), X))


def test_probe_refuses_before_training_what_it_cannot_see() -> None:
    learner, batch = Learner(nn.Linear(1, 3), SharedHead(3, 2)), Batch(X, torch.zeros(4, 2), 0)
    with pytest.raises(ValueError, match="no nonlinearity was seen in Learner"):
        Units().before(learner, batch, Phase(0, {}))


def test_shares_of_what_is_not_finite_are_unknown() -> None:
    seen = activations(model(), torch.tensor([[math.nan], [1.0]]))
    assert all(map(math.isnan, vars(UnitRule().shares(seen)).values()))
