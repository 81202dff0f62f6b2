import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.estimator.labels import Labels

WORDS = st.lists(st.lists(st.sampled_from("abcdefgh"), min_size=1), min_size=1, max_size=4)


@given(WORDS)
def test_codes_never_move(chunks):
    labels, first_codes = Labels(), {}
    for chunk in chunks:
        labels = labels.joined_by(np.array(chunk))
        codes = labels.codes(np.array(chunk))
        for word, code in zip(chunk, codes.tolist(), strict=True):
            assert first_codes.setdefault(word, code) == code
        assert labels.ascending.tolist() == sorted(first_codes)
        assert labels.arrived[codes].tolist() == chunk
        assert (labels.arrived[labels.order] == labels.ascending).all()
    assert sorted(first_codes.values()) == list(range(len(labels)))


@pytest.mark.parametrize(
    "values",
    [[3, -1], [True, False], ["b", "longer"], [2.0, 7.0], np.array(["x", "y"], dtype=object)],
    ids=str,
)
def test_labels_survive_json(values):
    labels = Labels().joined_by(np.array(values))
    back = Labels.restored(json.loads(json.dumps(labels.state_dict())))
    assert back.arrived.tolist() == labels.arrived.tolist()
    assert back.arrived.dtype == labels.arrived.dtype


def test_whole_floats_are_the_integers_known():
    labels = Labels().joined_by(np.array([1, 2])).joined_by(np.array([2.0, 3.0]))
    assert labels.arrived.tolist() == [1, 2, 3]
    assert labels.arrived.dtype == np.int64


def test_longer_words_are_not_cut():
    labels = Labels().joined_by(np.array(["a"])).joined_by(np.array(["abc"]))
    assert labels.arrived.tolist() == ["a", "abc"]
    assert labels.codes(np.array(["abc"])).tolist() == [1]


def test_strangers_are_refused():
    with pytest.raises(ValueError, match=r"y holds labels \[9\] that are neither known"):
        Labels(np.array([1, 2])).codes(np.array([1, 9]))
    with pytest.raises(ValueError, match=r"y holds strings .* known are numbers"):
        Labels(np.array([1, 2])).joined_by(np.array(["1"]))
