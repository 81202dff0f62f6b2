import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from shards import samples, streamed, weighted

from holdfast.starts import FeatureStatistics

FLOATS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


@pytest.mark.parametrize("per_class", [False, True])
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_sums_are_those_of_single_samples_in_float64(dtype, per_class):
    x, y = samples(90, 5, 4)
    x = x.to(dtype)
    found = streamed(x, y, per_class=per_class)
    assert found.classes == tuple(dict.fromkeys(y.tolist()))
    assert found.total == 90
    assert found.batches == 3
    assert found.width == 5
    assert found.counts.tolist() == [(y == c).sum().item() for c in found.classes]
    sums = torch.stack([x[y == c].double().sum(0) for c in found.classes])
    torch.testing.assert_close(found.sums, sums, rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(found.means, sums / found.counts.unsqueeze(1), rtol=1e-13, atol=0)
    gram, _ = weighted(x, y, found.classes, torch.ones(90))
    torch.testing.assert_close(found.gram, gram, rtol=1e-13, atol=1e-12)
    assert torch.equal(found.gram, found.gram.mT)


def test_large_half_precision_sums_do_not_overflow_or_stagnate():
    x = torch.full((5000, 3), 300.0, dtype=torch.float16)  # 300^2 is beyond float16
    found = FeatureStatistics(3).update(x, torch.zeros(5000, dtype=torch.int64))
    assert torch.equal(found.gram[:3, :3], torch.full((3, 3), 5000 * 9e4, dtype=torch.float64))
    assert torch.equal(found.sums, torch.full((1, 3), 1.5e6, dtype=torch.float64))


def test_widths_beyond_a_block_and_batches_beyond_a_chunk():
    x, y = samples(1300, 300, 3)
    found = FeatureStatistics(300).update(x, y)
    long = torch.cat([x.double(), torch.ones(1300, 1)], 1)
    torch.testing.assert_close(found.gram, long.T @ long, rtol=1e-12, atol=1e-9)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=20), st.integers(1, 7))
def test_classes_come_in_the_order_of_their_first_samples(labels, size):
    y = torch.tensor(labels)
    found = streamed(torch.ones(len(y), 2), y, size)
    assert found.classes == tuple(dict.fromkeys(labels))
    assert found.counts.tolist() == [labels.count(c) for c in found.classes]


def test_many_classes_one_by_one_and_labels_of_any_integer_type():
    found = FeatureStatistics(1)
    for c in reversed(range(60)):
        found.update(torch.full((1, 1), float(c)), torch.tensor([c], dtype=torch.uint8))
    assert found.classes == tuple(reversed(range(60)))
    assert found.means.flatten().tolist() == list(found.classes)
    assert "60 classes, 60 samples" in repr(found)


def test_features_with_gradients_and_empty_statistics():
    found = FeatureStatistics(2, per_class=True)
    assert found.classes == ()
    assert found.total == 0
    assert found.class_grams is None
    assert torch.equal(found.gram, torch.zeros(3, 3, dtype=torch.float64))
    found.update(torch.ones(1, 2, requires_grad=True), torch.tensor([0]))
    assert not found.gram.requires_grad


def test_what_is_given_out_is_a_copy():
    found = streamed(*samples(40, 3, 2))
    before = found.gram
    for given_out in (found.sums, found.counts, found.gram, found.moments().gram):
        given_out.zero_()
    assert torch.equal(found.gram, before)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_features_that_are_not_finite_are_refused_with_their_place(bad):
    x, y = samples(20, 3, 2)
    found = streamed(x, y, 10)
    state = found.state_dict()
    x[7, 2] = bad
    with pytest.raises(ValueError, match=r"batch 2 hold -?(nan|inf) at row 7, column 2"):
        found.update(x, y + 5)
    assert found.classes == tuple(state["classes"])
    assert torch.equal(found.sums, state["sums"])
    assert torch.equal(found.gram[:3, :3].triu(), state["pool"])


def test_features_whose_squares_overflow_are_refused():
    with pytest.raises(ValueError, match=r"hold -1e\+200 at row 0, column 1.*within 1e\+150"):
        FeatureStatistics(2).update(
            torch.tensor([[1.0, -1e200]], dtype=torch.float64), torch.tensor([0])
        )


@pytest.mark.parametrize(
    ("features", "labels", "error", "match"),
    [
        (torch.ones(2, 4), torch.tensor([0, 1]), ValueError, r"shape \(n, 3\), got \(2, 4\)"),
        (torch.ones(3), torch.tensor([0, 1, 1]), ValueError, r"shape \(n, 3\), got \(3,\)"),
        (torch.ones(2, 3), torch.tensor([0]), ValueError, r"shape \(2,\).*got \(1,\)"),
        (torch.ones(2, 3), torch.tensor([[0], [1]]), ValueError, r"shape \(2,\)"),
        (torch.ones(0, 3), torch.zeros(0, dtype=torch.int64), ValueError, "no samples"),
        (torch.ones(2, 3), torch.tensor([0, -100]), ValueError, r"got -100 at row 1"),
        (torch.ones(2, 3), torch.tensor([0.0, 1.0]), TypeError, "integers.*float32"),
        (torch.ones(2, 3), torch.tensor([True, False]), TypeError, "integers.*bool"),
        (torch.ones(2, 3).long(), torch.tensor([0, 1]), TypeError, "float16.*got torch.int64"),
    ],
)
def test_bad_batches_are_refused_and_change_nothing(features, labels, error, match):
    found = FeatureStatistics(3)
    with pytest.raises(error, match=match):
        found.update(features, labels)
    assert found.classes == ()
    assert found.batches == 0


def test_bad_width():
    with pytest.raises(ValueError, match="width must be at least 1, got 0"):
        FeatureStatistics(0)
