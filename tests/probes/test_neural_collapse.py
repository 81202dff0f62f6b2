import inspect
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from holdfast.nets.heads import GrowingHead, SharedHead, TaskHeads
from holdfast.nets.learner import Learner
from holdfast.nets.scaled import Readout
from holdfast.probes import (
    ClassicalNeuralCollapse,
    NeuralCollapse,
    Phase,
    classical_neural_collapse,
    neural_collapse,
)
from holdfast.streams.batches import Batch

BOTH = (neural_collapse, classical_neural_collapse)


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def case(seed: int, classes: int = 4, width: int = 6) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Features of unequal classes, their labels, a head."""
    labels = torch.cat([torch.full((3 + c,), c) for c in range(classes)])
    features = drawn(seed, len(labels), width) + 2 * drawn(seed + 1, classes, width)[labels]
    return features, labels, drawn(seed + 2, classes, width), drawn(seed + 3, classes)


def naive(h: Tensor, y: Tensor, w: Tensor, b: Tensor) -> tuple[dict[str, float], dict[str, float]]:
    """Both forms from their definitions, with the matrices in full."""
    x, labels, rows, offsets = (t.numpy() for t in (h, y, w, b))
    count, width = rows.shape
    means = np.array([x[labels == c].mean(axis=0) for c in range(count)])
    centre = means.mean(axis=0)
    m = (means - centre).T
    within = np.mean(
        [np.cov(x[labels == c].T, bias=True) for c in range(count)], axis=0
    )  # (d, d), a class as much as another
    between = sum(np.outer(m[:, c], m[:, c]) for c in range(count)) / count
    t = (np.eye(count) - np.ones((count, count)) / count) / np.sqrt(count - 1)
    gram, cross = rows @ rows.T, rows @ m
    nc1 = np.trace(within @ np.linalg.pinv(between, rcond=1e-9)) / count
    ours = {
        "nc1": nc1,
        "nc2": np.linalg.norm(gram / np.linalg.norm(gram) - t),
        "nc3": np.linalg.norm(cross / np.linalg.norm(cross) - t),
        "nc4": np.linalg.norm(rows @ centre + offsets),
    }
    classical = {"within_to_between": nc1}
    for name, vectors in (("means", m.T), ("rows", rows)):
        lengths = [np.sqrt(v @ v) for v in vectors]
        cosines = [
            vectors[i] @ vectors[j] / lengths[i] / lengths[j]
            for i in range(count)
            for j in range(count)
            if i != j
        ]
        classical[f"equinorm_{name}"] = np.std(lengths) / np.mean(lengths)
        classical[f"equiangular_{name}"] = np.std(cosines)
        classical[f"max_angle_{name}"] = np.mean([abs(c + 1 / (count - 1)) for c in cosines])
    classical["self_duality"] = np.linalg.norm(
        rows.T / np.linalg.norm(rows) - m / np.linalg.norm(m)
    )
    differ = [
        np.argmax(rows @ v + offsets) != np.argmin([(v - mu) @ (v - mu) for mu in means]) for v in x
    ]
    classical["disagreement"] = np.mean(differ)
    assert width == len(centre)
    return ours, classical


def simplex(classes: int, width: int) -> Tensor:
    """Rows of a simplex, turned into a wider space."""
    rows = torch.eye(classes, dtype=torch.float64) - 1 / classes
    turn = torch.linalg.qr(drawn(7, width, classes)).Q.T
    return rows @ turn


@pytest.mark.parametrize(("classes", "width"), [(4, 6), (5, 3), (2, 4), (7, 20)])
def test_both_forms_are_their_definitions(classes: int, width: int) -> None:
    features, labels, weight, bias = case(classes, classes, width)
    ours, classical = naive(features, labels, weight, bias)
    assert neural_collapse(features, labels, weight, bias) == pytest.approx(ours, rel=1e-9)
    found = classical_neural_collapse(features, labels, weight, bias)
    assert found == pytest.approx(classical, rel=1e-9, abs=1e-12)
    assert list(found) == list(classical_neural_collapse(*case(0)))


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_a_simplex_is_full_collapse(classes: int) -> None:
    means = simplex(classes, classes + 3) + drawn(1, classes + 3)
    weight = 5 * simplex(classes, classes + 3)
    bias = -weight @ means.mean(dim=0)
    labels = torch.arange(classes).repeat(3)
    for measure in BOTH:
        found = measure(means[labels], labels, weight, bias)
        assert found == pytest.approx(dict.fromkeys(found, 0.0), abs=1e-12)


def test_each_number_sees_its_own_departure() -> None:
    """A simplex with one thing wrong at a time."""
    rows = simplex(3, 4)
    labels = torch.arange(3).repeat(2)
    spread = torch.tensor([1.0, -1.0]).repeat_interleave(3)[:, None] * drawn(2, 4)
    noisy = neural_collapse(rows[labels] + 0.1 * spread, labels, rows)
    assert noisy["nc1"] > 1e-3
    assert [noisy[k] for k in ("nc2", "nc3", "nc4")] == pytest.approx([0, 0, 0], abs=1e-12)
    shifted = neural_collapse(rows[labels], labels, rows, torch.tensor([3.0, 0.0, 4.0]))
    assert shifted == pytest.approx({"nc1": 0, "nc2": 0, "nc3": 0, "nc4": 5}, abs=1e-12)
    long = rows * torch.tensor([[1.0], [1.0], [2.0]], dtype=torch.float64)
    found = classical_neural_collapse(rows[labels], labels, long)
    assert found["equinorm_rows"] == pytest.approx(np.std([1, 1, 2]) / np.mean([1, 1, 2]))
    assert found["equiangular_rows"] == pytest.approx(0, abs=1e-12)
    # Every logit belongs to the class before it.
    turned = classical_neural_collapse(rows[labels], labels, rows.roll(1, 0))
    assert turned["disagreement"] == 1.0
    assert turned["self_duality"] > 1


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.floats(1e-3, 1e3), st.floats(1e-3, 1e3))
def test_scale_rotation_order_and_shift(seed: int, of_features: float, of_head: float) -> None:
    features, labels, weight, bias = case(seed)
    turn = torch.linalg.qr(drawn(seed + 4, 6, 6)).Q
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    names = torch.randperm(4, generator=torch.Generator().manual_seed(seed + 1))
    renamed = torch.empty_like(names)
    renamed[names] = torch.arange(4)  # row i of weight[names] is the old row names[i]
    shift = drawn(seed + 5, 6)
    for measure in BOTH:
        base = measure(features, labels, weight, bias)
        moved = measure(
            features[order] @ turn, renamed[labels[order]], (weight @ turn)[names], bias[names]
        )
        assert moved == pytest.approx(base, rel=1e-7, abs=1e-10)
        # The head undoes a shift of the features, and the scale where the bias goes with it.
        shifted = measure(features + shift, labels, weight, bias - weight @ shift)
        assert shifted == pytest.approx(base, rel=1e-7, abs=1e-10)
        scaled = measure(
            of_features * features, labels, of_head * weight, of_head * of_features * bias
        )
        if "nc4" in base:
            base["nc4"] *= of_head * of_features
        assert scaled == pytest.approx(base, rel=1e-7, abs=1e-10)


def test_low_precision_is_counted_in_double() -> None:
    features, labels, weight, bias = case(3)
    for measure in BOTH:
        exact = measure(*(t.float() if t.is_floating_point() else t for t in case(3)))
        assert exact == pytest.approx(measure(features, labels, weight, bias), rel=1e-4)
    # Means that lie close together far from 0, where single precision has none left.
    rows = simplex(3, 5)
    found = neural_collapse(1e6 + rows, torch.arange(3), rows, -1e6 * rows.sum(dim=1))
    assert found == pytest.approx(dict.fromkeys(found, 0.0), abs=1e-6)


def test_what_cannot_be_measured_is_unknown() -> None:
    features, labels, weight, bias = case(0)
    for measure in BOTH:
        assert all(map(math.isnan, measure(features * math.nan, labels, weight, bias).values()))
        infinite = weight.clone()
        infinite[0, 0] = math.inf
        assert all(map(math.isnan, measure(features, labels, infinite).values()))
        same = torch.ones(8, 6, dtype=torch.float64)
        found = measure(same, torch.arange(4).repeat(2), weight, bias)
        assert all(map(math.isnan, found.values()))


def test_wrong_arguments() -> None:
    features, labels, weight, bias = case(0)
    # Unwrapped: the type checker of the tests would refuse some of these first.
    for measure in map(inspect.unwrap, BOTH):
        with pytest.raises(ValueError, match=r"rows \[3\] of weight have no features"):
            measure(features[labels < 3], labels[labels < 3], weight, bias)
        with pytest.raises(ValueError, match=r"labels must be rows of weight, 0 to 2; got \[3\]"):
            measure(features, labels, weight[:3])
        with pytest.raises(ValueError, match="a row for each of two classes or more, got 1"):
            measure(features, labels, weight[:1])
        with pytest.raises(ValueError, match=r"got \(18, 6\), \(18,\) and \(4, 5\)"):
            measure(features, labels, weight[:, :5])
        with pytest.raises(ValueError, match="bias must have 4 entries, as weight has rows; got 3"):
            measure(features, labels, weight, bias[:3])


def phase(index: int) -> Phase:
    return Phase(index, {})


def batches(seed: int) -> list[Batch]:
    """Two tasks of two classes, their columns those of a common head."""
    features, labels, _, _ = case(seed)
    chosen = [labels < 2, labels >= 2]
    return [Batch(features[rows].float(), labels[rows], i) for i, rows in enumerate(chosen)]


def growing(classes: list[int]) -> Learner:
    head = GrowingHead(6)
    head.accommodate(0, classes, torch.Generator().manual_seed(0))
    return Learner(nn.Identity(), head)


@pytest.mark.parametrize("multiplier", [1.0, 0.25])
def test_classes_of_a_common_head_are_measured_together(multiplier: float) -> None:
    probe, learner = NeuralCollapse(), growing([0, 1, 2, 3, 9])
    head = learner.heads
    assert isinstance(head, GrowingHead)
    head.readout = Readout(multiplier=multiplier)
    first, second = batches(0)
    for batch in (first, second):
        probe.before(learner, batch, phase(1))
    assert probe.measure(learner, first) == {}
    found = probe.measure(learner, second)
    weight = multiplier * head.weight.data[:4]
    assert head.bias is not None
    expected = neural_collapse(
        torch.cat([first.x, second.x]), torch.cat([first.y, second.y]), weight, head.bias.data[:4]
    )
    assert found == pytest.approx(expected, rel=1e-4)
    # The next round begins anew, after a kill too.
    resumed = NeuralCollapse()
    resumed.load_state_dict(probe.state_dict())
    resumed.measure(learner, first)
    assert resumed.measure(learner, second) == found


def test_without_a_current_task_a_batch_is_measured_by_itself() -> None:
    learner, (first, _) = growing([0, 1]), batches(0)
    found = ClassicalNeuralCollapse().measure(learner, first)
    head = learner.heads
    assert isinstance(head, GrowingHead)
    assert head.bias is not None
    expected = classical_neural_collapse(first.x, first.y, head.weight.data, head.bias.data)
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-6)
    one = Batch(first.x[first.y == 0], first.y[first.y == 0], 0)
    assert all(map(math.isnan, ClassicalNeuralCollapse().measure(learner, one).values()))


def test_heads_of_tasks_are_measured_by_themselves() -> None:
    head = TaskHeads(6)
    for i in range(2):
        head.accommodate(i, [2 * i, 2 * i + 1], torch.Generator().manual_seed(i))
    learner, probe = Learner(nn.Identity(), head), NeuralCollapse()
    shown = [Batch(b.x, b.y - 2 * i, i) for i, b in enumerate(batches(0))]
    probe.before(learner, shown[0], phase(1))
    for batch in shown:
        own = head.heads[str(batch.task)].linear
        assert isinstance(own, nn.Linear)
        expected = neural_collapse(batch.x, batch.y, own.weight.data, own.bias.data)
        assert probe.measure(learner, batch) == pytest.approx(expected, rel=1e-4)


def test_columns_are_what_is_measured() -> None:
    learner, (first, _) = growing([0, 1]), batches(0)
    for probe in (NeuralCollapse(), ClassicalNeuralCollapse()):
        names = tuple(probe.measure(learner, first))
        assert probe.columns == (*names, *(f"{name}.own" for name in names))


def test_regression_has_no_classes() -> None:
    learner = Learner(nn.Identity(), SharedHead(6, 2))
    batch = Batch(torch.zeros(4, 6), torch.zeros(4, 2), 0)
    with pytest.raises(ValueError, match="of classes; the stream has regression targets"):
        NeuralCollapse().before(learner, batch, phase(0))
