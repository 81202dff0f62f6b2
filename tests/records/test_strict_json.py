import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from holdfast.records.strict_json import dumps, loads, numbers, plain


@given(st.lists(st.floats(allow_nan=False)))
def test_floats_come_back_bit_for_bit(values):
    text = dumps(np.array(values))
    back = numbers(loads(text))
    assert [math.copysign(1, v) for v in back] == [math.copysign(1, v) for v in values]
    assert back == values
    json.loads(text, parse_constant=pytest.fail)


def test_what_json_has_no_form_for():
    value = {"a": (np.float32(0.5), np.int64(3), np.bool_(True)), "b": float("nan"), "c": -np.inf}
    assert plain(value) == {"a": [0.5, 3, True], "b": None, "c": "-Infinity"}
    assert type(plain(np.int64(3))) is int
    assert numbers({"c": ["-Infinity", "x"]}) == {"c": [-math.inf, "x"]}


def test_the_place_of_what_it_cannot_hold_is_named():
    with pytest.raises(TypeError, match=r"config.a\[1\] is a Tensor, which JSON cannot hold"):
        plain({"a": [1, torch.zeros(2)]}, "config")
    with pytest.raises(TypeError, match=r"config.a has the key 3; JSON keys must be strings"):
        plain({"a": {3: 1}}, "config")


@pytest.mark.parametrize("text", ["NaN", '{"a": Infinity}', "{", ""])
def test_lax_json_is_refused(text):
    with pytest.raises(ValueError, match=r"is no JSON|Expecting"):
        loads(text)
