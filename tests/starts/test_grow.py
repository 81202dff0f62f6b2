"""Heads grow in place, report what they do before the first step, and change nothing on failure."""

import copy
from typing import Any

import pytest
import torch
from growing import CENTRES, NEW, OLD, WIDTH, samples, statistics, trained
from torch import Tensor, nn
from torch.nn import functional

import holdfast
from holdfast.nets.heads import GrowingHead, SharedHead
from holdfast.nets.learner import Learner
from holdfast.nets.scaled import Readout
from holdfast.starts import (
    STARTS,
    FeatureStatistics,
    collect,
    fingerprint,
    grow_head,
    new_rows,
)


@pytest.mark.parametrize("start", STARTS)
def test_rows_are_those_of_the_start_and_old_ones_keep_their_bits(start: str) -> None:
    layer = trained()
    weight, bias = (p.detach().clone() for p in layer.parameters())
    old = torch.cat([weight, bias.unsqueeze(1)], 1).double()
    report = grow_head(layer, samples(), NEW, start=start)
    assert report.asked == report.start == start
    assert report.columns == {c: c for c in OLD + NEW}
    now = torch.cat([layer.weight, layer.bias.unsqueeze(1)], 1).double()
    expected = new_rows(statistics(per_class=True), old, OLD, NEW, start=start, features=samples())
    if start != "random":
        torch.testing.assert_close(now[4:], expected.new, rtol=1e-5, atol=1e-6)
    if start == "least_squares_all_rows":
        torch.testing.assert_close(now[:4], expected.old, rtol=1e-5, atol=1e-6)
    else:
        assert torch.equal(layer.weight[:4], weight)
        assert torch.equal(layer.bias[:4], bias)
    for name in ("scale", "ridge", "condition"):
        value = getattr(expected, name)
        assert getattr(report, name) == (value and pytest.approx(value, rel=1e-6)), name


@pytest.mark.parametrize("loss", ["cross_entropy", "mse"])
def test_the_report_says_what_the_head_does(loss: str) -> None:
    layer, (h, y) = trained(), samples(seed=1)
    before, is_old = layer(h), y < 4
    report = grow_head(layer, statistics(), NEW, test=(h, y), sample=samples(OLD), loss=loss)
    after = layer(h)
    drawn = trained()
    grow_head(drawn, None, NEW, start="random")

    def expected(logits: Tensor, which: Tensor) -> tuple[float, float, int]:
        logits, labels = logits[which].double(), y[which]
        if loss == "mse":
            hot = functional.one_hot(labels, logits.shape[1])
            value = (logits - hot).square().sum(1).mean().item() / 2
        else:
            value = functional.cross_entropy(logits, labels).item()
        hits = (logits.argmax(1) == labels).double().mean().item()
        return pytest.approx(value, rel=1e-5), pytest.approx(hits), int(which.sum())

    def found(score: Any) -> tuple[float, float, int]:
        return score.loss, score.accuracy, score.samples

    assert found(report.before.old) == expected(before, is_old)
    assert report.before.new is report.before.all is None
    for scores, logits in ((report.after, after), (report.random, drawn(h))):
        assert found(scores.old) == expected(logits, is_old)
        assert found(scores.new) == expected(logits, ~is_old)
        assert found(scores.all) == expected(logits, y >= 0)


def test_calibrated_rows_start_far_below_random_ones() -> None:
    report = grow_head(trained(), samples(), NEW, tolerance=100.0)
    assert report.after.all is not None
    assert report.random.all is not None
    assert report.after.all.loss < 0.5 * report.random.all.loss
    assert report.scale is not None
    assert report.scale > 1
    text = report.text()
    assert text.startswith(f"start: calibrated, scale {report.scale:.3g}, ridge ")
    assert "by auto, condition" in text
    cells = text.splitlines()[4].split()
    assert cells[:2] == ["this", "start"]
    assert float(cells[-2]) == pytest.approx(report.after.all.loss, abs=6e-4)


def test_without_samples_nothing_is_scored() -> None:
    report = grow_head(trained(), statistics(), NEW, ridge=0.01)
    assert report.after.all is report.before.old is report.random.new is None
    assert report.text().splitlines()[0].endswith(f"condition {report.condition:.2g}")
    assert "ridge 0.01," in report.text()
    assert "this start" not in report.text()
    assert "not scored: no samples were given (test= or sample=)" in report.text()


def test_a_report_is_shown_without_its_parameters() -> None:
    assert "Parameter" not in repr(grow_head(trained(), samples(), NEW))


def test_squared_error_replaces_all_rows() -> None:
    layer = trained()
    report = grow_head(layer, samples(), NEW, loss="mse")
    assert (report.asked, report.start) == ("calibrated", "least_squares_all_rows")
    assert "start: least_squares_all_rows, not calibrated" in report.text()
    assert any("squared error" in note for note in report.notes)
    assert report.replacements[0].fresh == tuple(range(7))


def test_class_means_as_rows_are_warned_of() -> None:
    report = grow_head(trained(), samples(), NEW, start="class_mean")
    assert any("old accuracy falls by" in note for note in report.notes)
    report = grow_head(trained(), samples(), NEW, start="class_mean", tolerance=100.0)
    assert not any("old accuracy falls by" in note for note in report.notes)


def test_multipliers_change_the_raw_rows_and_not_the_function() -> None:
    h, _ = samples()
    plain = trained()
    head = GrowingHead(WIDTH)
    head.readout = Readout(0.125)
    head.accommodate(0, OLD)
    head.weight.data.copy_(plain.weight * 8)
    assert head.bias is not None
    head.bias.data.copy_(plain.bias)
    for module in (plain, head):
        grow_head(module, samples(), NEW)
    torch.testing.assert_close(head(h), plain(h), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(head.weight, plain.weight * 8, rtol=1e-4, atol=1e-4)
    assert head.known.tolist() == list(OLD + NEW)


def test_other_labels_and_spare_rows() -> None:
    """Rows 1 and 4 are spare; labels are 10 times the classes of the plain layer, reordered."""
    plain, spare = trained(), nn.Linear(WIDTH, 6)
    order = {3: 0, 0: 2, 2: 3, 1: 5}
    for c, row in order.items():
        spare.weight.data[row] = plain.weight[c]
        spare.bias.data[row] = plain.bias[c]
    h, y = samples()
    report = grow_head(
        spare, (h, 10 * y), [40, 50, 60], classes=[30, None, 0, 20, -1, 10], tolerance=100.0
    )
    grow_head(plain, (h, y), NEW)
    assert report.columns == {30: 0, 0: 2, 20: 3, 10: 5, 40: 1, 50: 4, 60: 6}
    places = [report.columns[10 * c] for c in OLD + NEW]
    torch.testing.assert_close(spare(h)[:, places], plain(h), rtol=1e-5, atol=1e-5)
    assert spare.out_features == 7


def test_a_head_without_classes_begins() -> None:
    head = GrowingHead(WIDTH)
    report = grow_head(head, samples(OLD), OLD)
    assert report.start == "least_squares"
    assert head.known.tolist() == list(OLD)
    assert report.before.old is report.after.old is None
    assert report.after.new is not None
    assert report.after.new.accuracy > 0.8


def test_a_shared_head_sets_the_rows_it_keeps_for_new_classes() -> None:
    head = SharedHead(WIDTH, OLD + NEW)
    head.linear.weight.data[:4] = trained().weight
    head.linear.bias.data[:4] = trained().bias
    weight = head.linear.weight
    report = grow_head(head, samples(), NEW, classes=[*OLD, None, None, None])
    assert head.linear.weight is weight
    plain = trained()
    assert report.after == grow_head(plain, samples(), NEW).after
    assert torch.equal(head.linear.weight, plain.weight)


def test_float16_features_and_heads() -> None:
    h, y = samples()
    full, half = trained(), trained()
    grow_head(full, (h.half().float(), y), NEW)
    grow_head(half, (h.half(), y), NEW)
    assert torch.equal(full.weight, half.weight)
    small = trained().half()
    report = grow_head(small, (h, y), NEW)
    assert small.weight.dtype == torch.float16
    logits = h.half().double() @ small.weight.double().T + small.bias.double()
    assert report.after.all is not None
    loss = functional.cross_entropy(logits, y).item()
    assert report.after.all.loss == pytest.approx(loss, rel=1e-2)


def test_the_seed_alone_decides_and_global_draws_stay() -> None:
    state = torch.random.get_rng_state()
    rows = []
    for seed in (0, 0, 1):
        layer = trained()
        grow_head(layer, None, NEW, start="random", seed=seed)
        rows.append(layer.weight[4:])
    assert torch.equal(rows[0], rows[1])
    assert not torch.equal(rows[0], rows[2])
    grow_head(trained(), samples(), NEW, ridge="held_out")
    assert torch.equal(torch.random.get_rng_state(), state)


def test_random_rows_are_drawn_as_the_head_draws_them() -> None:
    head = GrowingHead(WIDTH)
    head.readout = Readout(0.5, 3.0)
    grow_head(head, None, range(2000), start="random")
    assert head.weight.std().item() == pytest.approx(3.0, rel=0.05)


@pytest.mark.parametrize("ridge", ["loo", "held_out"])
def test_a_ridge_chosen_by_samples(ridge: Any) -> None:
    direct = grow_head(trained(), samples(), NEW, ridge=ridge)
    seen = statistics(per_class=True)
    beside = grow_head(trained(), seen, NEW, ridge=ridge, sample=samples())
    assert direct.ridge == pytest.approx(beside.ridge, rel=1e-3)
    with pytest.raises(ValueError, match="needs features"):
        grow_head(trained(), seen, NEW, ridge=ridge)


def test_a_learner_knows_its_backbone() -> None:
    learner = Learner(nn.Linear(3, WIDTH), GrowingHead(WIDTH))
    h, y = samples()
    x = h[:, :3]
    with torch.no_grad():
        learner.backbone.weight.copy_(torch.eye(WIDTH)[:, :3])
    learner.heads.accommodate(0, OLD)
    learner.heads.weight.data.copy_(CENTRES[:4])
    seen = collect(learner, x, y)
    grown = copy.deepcopy(learner)
    assert grow_head(grown, seen, NEW).start == "calibrated"
    assert grown(x).shape == (210, 7)
    with torch.no_grad():
        learner.backbone.weight.add_(0.1)
    before = copy.deepcopy(learner.state_dict())
    with pytest.raises(ValueError, match=r"collected with another backbone .* or pass force=True"):
        grow_head(learner, seen, NEW)
    with pytest.raises(ValueError, match="collected with another backbone"):
        grow_head(learner.heads, seen, NEW, backbone=learner.backbone)
    with pytest.raises(ValueError, match="collected with another backbone"):
        grow_head(learner.heads, seen, NEW, backbone=fingerprint(learner.backbone))
    assert all(torch.equal(a, before[k]) for k, a in learner.state_dict().items())
    report = grow_head(learner, seen, NEW, force=True)
    assert "statistics of another backbone were used, as forced" in report.notes


def test_drifted_statistics_are_not_used() -> None:
    moved = samples(OLD, 20, seed=1, shift=9.0)
    layer, drawn = trained(), trained()
    report = grow_head(layer, statistics(), NEW, sample=moved)
    grow_head(drawn, None, NEW, start="random")
    assert (report.asked, report.start) == ("calibrated", "random")
    assert torch.equal(layer.weight, drawn.weight)
    assert any("drifted" in n and "collect again" in n for n in report.notes)
    apart = grow_head(trained(), statistics(per_class=True), NEW, sample=moved)
    assert "old classes count by the 80 samples given" in " ".join(apart.notes)
    alone = grow_head(
        trained(), statistics(per_class=True), NEW, sample=moved, start="least_squares_new"
    )
    assert alone.start == "least_squares_new"
    assert not any("drifted" in note for note in alone.notes)
    elsewhere = grow_head(trained(), statistics(), NEW, test=moved)
    assert elsewhere.start == "calibrated"
    assert elsewhere.after.old is not None
    still = grow_head(trained(), statistics(), NEW, sample=samples(OLD, 20, seed=1))
    assert still.start == "calibrated"


def test_training_goes_on_with_the_grown_optimizer() -> None:
    layer, (h, y) = trained(), samples()
    optimizer = torch.optim.Adam(layer.parameters(), 0.01)
    functional.cross_entropy(layer(h[y < 4]), y[y < 4]).backward()
    optimizer.step()
    report = holdfast.grow_head(layer, (h, y), NEW)
    holdfast.grow_optimizer(optimizer, report.replacements)
    for _ in range(20):
        optimizer.zero_grad()
        loss = functional.cross_entropy(layer(h), y)
        loss.backward()
        optimizer.step()
    assert report.after.all is not None
    assert loss.item() < report.after.all.loss


def test_the_names_are_at_the_top() -> None:
    assert holdfast.grow_head is grow_head
    assert holdfast.FeatureStatistics is FeatureStatistics
    assert {"grow_head", "grow_optimizer", "FeatureStatistics"} <= set(holdfast.__all__)
